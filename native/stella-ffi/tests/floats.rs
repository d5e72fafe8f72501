//! The floating-point state of the host changes no bit of weights, tokens or vectors, and every call restores it.
#![cfg(target_arch = "x86_64")]
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, clippy::expect_used)]

#[path = "../../stella-core/tests/common/mod.rs"]
mod common;

use std::arch::asm;
use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::ptr::{null, null_mut};

use serde_json::Value;
use stella_interop::abi::stella_abi_version;
use stella_interop::error::{StellaError, stella_error_code, stella_error_free};
use stella_interop::model::*;
use stella_interop::session::*;
use stella_interop::tokenize::*;

/// The default state: round to nearest, keep denormal numbers, mask all exceptions.
const DEFAULT: u32 = 0x1f80;

/// States that a host may have set: denormal numbers flushed, the three other rounding modes, both, and all exceptions
/// unmasked.
const STATES: [(&str, u32); 6] = [
    ("flush to zero, denormals are zero", DEFAULT | 0x8040),
    ("round down", DEFAULT | 0x2000),
    ("round up", DEFAULT | 0x4000),
    ("round to zero", DEFAULT | 0x6000),
    ("flush and round up", DEFAULT | 0x8040 | 0x4000),
    ("exceptions unmasked", 0),
];

fn state() -> u32 {
    let mut state = 0u32;
    unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut state, options(nostack)) };
    state
}

fn set(state: u32) {
    unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const state, options(nostack)) };
}

/// Makes a call in a state of the host, and checks that the state is the same after the call.
fn under<T>(host: u32, what: &str, call: impl FnOnce() -> T) -> T {
    set(host);
    let result = call();
    let after = state();
    set(DEFAULT);
    assert_eq!(after, host, "{what}: the state of the host is {after:#x} after the call");
    result
}

fn take(error: *mut StellaError) -> i32 {
    unsafe {
        let code = stella_error_code(error);
        stella_error_free(error);
        code
    }
}

const TEXTS: [&str; 3] = ["a river runs", "", "naïve café; 春は早く来る。"];

/// The token ids and the bits of the vectors of all calls.
#[derive(Debug, PartialEq)]
struct Outcome {
    ids: Vec<u32>,
    bits: Vec<u32>,
}

/// Loads, tokenizes and embeds, each call in a state of the host.
fn run_all_calls(path: &str, precision: StellaPrecision, host: u32, what: &str) -> Outcome {
    let size = size_of::<StellaModelOptions>() as u32;
    let options =
        StellaModelOptions { size, precision: precision as u32, dimension: 256, ..Default::default() };
    let (mut model, mut session) = (null_mut(), null_mut());
    let open = || unsafe { stella_model_open(path.as_ptr(), path.len(), &options, null(), &mut model) };
    assert_eq!(take(under(host, what, open)), 0);
    let text = TEXTS.concat();
    let mut offsets = vec![0];
    for text in TEXTS {
        offsets.push(offsets[offsets.len() - 1] + text.len());
    }
    let (mut ids, mut counts, mut length) = (vec![0; 256], vec![StellaTokenCount::default(); TEXTS.len()], 0);
    let tokenize = || unsafe {
        stella_model_tokenize(
            model,
            text.as_ptr(),
            text.len(),
            offsets.as_ptr(),
            TEXTS.len(),
            null(),
            ids.as_mut_ptr(),
            ids.len(),
            counts.as_mut_ptr(),
            &mut length,
        )
    };
    assert_eq!(take(under(host, what, tokenize)), 0);
    ids.truncate(length);
    let mut cu_seqlens = vec![0];
    for count in &counts {
        cu_seqlens.push(cu_seqlens[cu_seqlens.len() - 1] + count.kept);
    }
    let size = size_of::<StellaSessionOptions>() as u32;
    let session_options = StellaSessionOptions { size, threads: 3, max_batch_tokens: 0 };
    let start = || unsafe { stella_session_new(model, &session_options, &mut session) };
    assert_eq!(take(under(host, what, start)), 0);
    let mut bits = Vec::new();
    // The first call with a dimension of 768 loads its head.
    for (dimension, raw) in [(256u32, 0), (256, 1), (768, 0)] {
        let options =
            StellaEmbedOptions { dimensions: &dimension, dimensions_length: 1, raw, ..Default::default() };
        let mut vectors = vec![0.0f32; TEXTS.len() * dimension as usize];
        let embed = || unsafe {
            stella_session_embed(
                session,
                ids.as_ptr(),
                ids.len(),
                cu_seqlens.as_ptr(),
                cu_seqlens.len(),
                &options,
                null(),
                vectors.as_mut_ptr(),
                vectors.len(),
            )
        };
        assert_eq!(take(under(host, what, embed)), 0);
        bits.extend(vectors.iter().map(|x| x.to_bits()));
    }
    under(host, what, || unsafe {
        stella_session_free(session);
        stella_model_free(model);
    });
    Outcome { ids, bits }
}

/// Scales half of the rows of a head so that its vectors have denormal numbers, which some states flush to zero.
fn make_denormal(file: &Path) {
    let mut bytes = fs::read(file).expect("read");
    let header = u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes")) as usize;
    let tensors: Value = serde_json::from_slice(&bytes[8..8 + header]).expect("JSON");
    for name in ["linear.weight", "linear.bias"] {
        assert_eq!(tensors[name]["dtype"], "F32");
        let offset =
            |at: usize| 8 + header + tensors[name]["data_offsets"][at].as_u64().expect("a number") as usize;
        let numbers = &mut bytes[offset(0)..offset(1)];
        let half = numbers.len() / 2;
        for number in numbers[..half].chunks_exact_mut(4) {
            let x = f32::from_le_bytes(number.try_into().expect("4 bytes"));
            number.copy_from_slice(&(x * 1e-39).to_le_bytes());
        }
    }
    fs::write(file, bytes).expect("written");
}

#[test]
fn the_state_of_the_host_changes_no_bit_and_is_restored() {
    let dir = common::copy_of("tiny-new");
    make_denormal(&dir.path().join("2_Dense_256/model.safetensors"));
    let path = dir.path().to_str().expect("UTF-8");
    for precision in [StellaPrecision::F32, StellaPrecision::Bf16, StellaPrecision::Int8] {
        let expected = run_all_calls(path, precision, DEFAULT, "the default");
        let denormal = expected.bits.iter().filter(|&&bits| f32::from_bits(bits).is_subnormal()).count();
        assert!(denormal > 100, "{denormal} denormal numbers are too few for this test");
        for (what, host) in STATES {
            assert!(run_all_calls(path, precision, host, what) == expected, "{precision:?}, {what}");
        }
    }
}

#[test]
fn the_state_of_the_host_is_restored_after_an_error() {
    let divide = || black_box(1.0f32) / black_box(3.0f32);
    let nearest = divide();
    for (what, host) in STATES {
        let code = under(host, what, || {
            take(unsafe { stella_model_open("/none".as_ptr(), 5, null(), null(), null_mut()) })
        });
        assert_ne!(code, 0);
        assert_ne!(under(host, what, || stella_abi_version()), 0);
    }
    // The states have an effect in this test: division rounds down before and after a call.
    set(DEFAULT | 0x2000);
    let (before, _, after) = (divide(), stella_abi_version(), divide());
    set(DEFAULT);
    assert!(before < nearest && after < nearest, "{before} {after} {nearest}");
}
