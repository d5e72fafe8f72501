//! A panic in every stage and behind every export: the caller gets a typed error, the process lives, and what was taken
//! is given back.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeSet;
use std::ffi::c_void;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::ptr::{null, null_mut};
use std::sync::Mutex;
use std::time::Duration;

use stella_core::ErrorCode;
use stella_core::base::fault_injection::{Stage, arm, disarm};
use stella_interop::abi::*;
use stella_interop::counters::*;
use stella_interop::error::*;
use stella_interop::hash::*;
use stella_interop::live::*;
use stella_interop::log::*;
use stella_interop::model::*;
use stella_interop::session::*;
use stella_interop::tokenize::*;
use support::*;

#[test]
fn a_panic_in_any_stage_is_a_typed_error_and_everything_comes_back() {
    let _turn = turn();
    let path = fixture();
    let (sink, size) = (sink(), size_of::<StellaModelOptions>() as u32);
    let modes = [StellaLoadMode::Copied, StellaLoadMode::Mapped].map(|mode| StellaModelOptions {
        size,
        load_mode: mode as u32,
        ..StellaModelOptions::default()
    });
    for options in &modes {
        assert_eq!(whole_life(&path, options, sink), 0);
    }
    let handles = live();
    every_stage(&path, &modes, sink, handles);
    // The first backtraces load the debug information, which stays.
    let bytes = live_bytes();
    every_stage(&path, &modes, sink, handles);
    assert_bytes_come_back(bytes);
    unsafe { stella_log_sink_free(sink) };
}

fn every_stage(path: &str, modes: &[StellaModelOptions], sink: *const StellaLogSink, handles: [usize; 5]) {
    for stage in Stage::ALL {
        for options in modes {
            arm(stage);
            let code = whole_life(path, options, sink);
            let missed = disarm();
            // A copied file is not mapped, and one without a manifest not hashed.
            let elsewhere = match stage {
                Stage::Hash => true,
                Stage::Map => options.load_mode == StellaLoadMode::Copied as u32,
                _ => false,
            };
            let expected = match stage {
                _ if elsewhere => 0,
                // The thread goes on.
                Stage::Thread => 0,
                // The stages inside of the tokenizer library have errors of their own; these are outside of it.
                _ => ErrorCode::Panic as i32,
            };
            assert_eq!((code, missed), (expected, elsewhere), "{stage:?}");
            assert_eq!(live(), handles, "{stage:?}");
            // What failed once is whole the next time.
            assert_eq!(whole_life(path, options, sink), 0, "after {stage:?}");
        }
    }
}

#[test]
fn the_hash_of_a_manifest_may_panic_on_its_thread_in_either_mode() {
    let _turn = turn();
    let folder = tempfile::tempdir().expect("a folder");
    copy(Path::new(&fixture()), folder.path());
    write_manifest(folder.path());
    let path = folder.path().to_str().expect("UTF-8");
    for mode in [StellaLoadMode::Copied, StellaLoadMode::Mapped] {
        let options = StellaModelOptions {
            size: size_of::<StellaModelOptions>() as u32,
            load_mode: mode as u32,
            ..StellaModelOptions::default()
        };
        let handles = live();
        arm(Stage::Hash);
        assert_eq!(
            (whole_life(path, &options, null()), disarm()),
            (ErrorCode::Panic as i32, false),
            "{mode:?}"
        );
        assert_eq!((whole_life(path, &options, null()), live()), (0, handles), "{mode:?}");
    }
}

unsafe extern "C" fn collect(
    seen: *mut c_void,
    level: u32,
    target: *const u8,
    target_length: usize,
    message: *const u8,
    message_length: usize,
) {
    let text = |from, length| String::from_utf8_lossy(unsafe { std::slice::from_raw_parts(from, length) });
    if level == 4 && text(target, target_length) == "stella_interop::panic" {
        let seen = unsafe { &*seen.cast::<Mutex<Vec<String>>>() };
        seen.lock().expect("nobody panics here").push(text(message, message_length).into_owned());
    }
}

#[test]
fn a_panic_on_a_thread_of_the_library_is_told_in_the_log_of_its_model() {
    let _turn = turn();
    let folder = tempfile::tempdir().expect("a folder");
    copy(Path::new(&fixture()), folder.path());
    write_manifest(folder.path());
    let path = folder.path().to_str().expect("UTF-8");
    let seen: Mutex<Vec<String>> = Mutex::default();
    let mut sink = null_mut();
    let user_data = (&raw const seen).cast_mut().cast();
    assert_eq!(take(unsafe { stella_log_sink_new(Some(collect), Some(forget), user_data, 0, &mut sink) }), 0);
    let options =
        StellaModelOptions { size: size_of::<StellaModelOptions>() as u32, ..StellaModelOptions::default() };
    for stage in [Stage::Hash, Stage::Thread, Stage::Forward] {
        arm(stage);
        whole_life(path, &options, sink);
        assert!(!disarm(), "{stage:?}");
        let take = || std::mem::take(&mut *seen.lock().expect("nobody panics here"));
        let mut told = take();
        // A thread that panics at its start may tell it after the call.
        for _ in 0..1000 {
            if !told.is_empty() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
            told = take();
        }
        let says = format!("injected at {stage:?}");
        assert!(told.len() == 1 && told[0].contains(&says), "{stage:?}: {told:?}");
    }
    unsafe { stella_log_sink_free(sink) };
}

#[test]
fn sixty_four_threads_at_a_load_that_panics_all_get_an_error_or_the_model() {
    let _turn = turn();
    let path = fixture();
    let size = size_of::<StellaModelOptions>() as u32;
    let handles = live();
    arm(Stage::Encoder);
    let codes: Vec<i32> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..64)
            .map(|_| {
                scope.spawn(|| whole_life(&path, &StellaModelOptions { size, ..Default::default() }, null()))
            })
            .collect();
        calls.into_iter().map(|call| call.join().expect("no panic crosses")).collect()
    });
    assert!(!disarm());
    assert_eq!(codes.iter().filter(|&&code| code == ErrorCode::Panic as i32).count(), 1, "{codes:?}");
    assert!(codes.iter().all(|&code| code == 0 || code == ErrorCode::Panic as i32), "{codes:?}");
    assert_eq!(live(), handles);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn the_floating_point_state_of_the_host_comes_back_after_a_panic() {
    use std::arch::asm;
    /// Denormal numbers flushed, rounding to zero.
    const HOST: u32 = 0x1f80 | 0x8040 | 0x6000;
    let _turn = turn();
    let path = fixture();
    let (mut state, default) = (0u32, 0x1f80u32);
    for stage in [Stage::Boundary, Stage::Encoder, Stage::Forward] {
        let (code, _) = unsafe {
            arm(stage);
            asm!("ldmxcsr [{}]", in(reg) &HOST, options(nostack));
            let code = whole_life(&path, &StellaModelOptions::default(), null());
            asm!("stmxcsr [{}]", in(reg) &raw mut state, options(nostack));
            asm!("ldmxcsr [{}]", in(reg) &default, options(nostack));
            (code, disarm())
        };
        // The test itself computes nothing that would set a flag.
        assert_eq!((code, state), (ErrorCode::Panic as i32, HOST), "{stage:?}");
    }
}

/// A call of one export with right arguments: gives whether it said that it failed.
type Call<'a> = (&'static str, Box<dyn Fn() -> Outcome + 'a>);

#[derive(Debug, PartialEq)]
enum Outcome {
    /// The code of an error, 0 for none.
    Code(i32),
    /// A number from an export that has no errors; its default stands for nothing.
    Number(i64),
    /// Nothing is given; the call can be made again.
    Nothing,
}

/// The exports of the library as it was built, with the tests.
fn exports() -> BTreeSet<String> {
    let tests = std::env::current_exe().expect("a path");
    let library: PathBuf = tests.with_file_name("libstella_interop.so");
    let symbols = Command::new("nm").args(["-D", "--defined-only"]).arg(&library).output().expect("nm runs");
    assert!(symbols.status.success(), "{}", String::from_utf8_lossy(&symbols.stderr));
    String::from_utf8(symbols.stdout)
        .expect("UTF-8")
        .lines()
        .filter_map(|line| line.split(' ').nth(2))
        // A sanitizer's own begin with an underscore.
        .filter(|name| !name.starts_with('_'))
        .map(str::to_owned)
        .collect()
}

#[test]
fn behind_every_export_of_the_library_a_panic_ends_at_the_boundary() {
    use Outcome::{Code, Nothing, Number};
    let _turn = turn();
    let path = fixture();
    let before = live();
    let sink = sink();
    let (mut model, mut session) = (null_mut(), null_mut());
    unsafe {
        assert_eq!(take(stella_model_open(path.as_ptr(), path.len(), null(), null(), &mut model)), 0);
        assert_eq!(take(stella_session_new(model, null(), &mut session)), 0);
    }
    let mut hasher = null_mut();
    assert_eq!(take(unsafe { stella_hasher_new(&mut hasher) }), 0);
    let error = unsafe { stella_model_open("/".as_ptr(), 1, null(), null(), &mut null_mut()) };
    assert!(!error.is_null());
    let text = "a b";
    let ids = [2u32, 3];
    let ends = [0u32, 2];
    let calls: Vec<Call<'_>> = unsafe {
        vec![
            ("stella_abi_version", Box::new(|| Number(stella_abi_version().into()))),
            ("stella_abi_struct_size", Box::new(|| Number(stella_abi_struct_size(0) as i64))),
            ("stella_live_handles", Box::new(|| Number(stella_live_handles(0) as i64))),
            ("stella_counter", Box::new(|| Number(stella_counter(3) as i64))),
            ("stella_error_code", Box::new(move || Number(stella_error_code(error).into()))),
            // -1 is no text; 0, the default of a panic, is what an error without an index must not say by design.
            ("stella_error_text_index", Box::new(move || Number(stella_error_text_index(error) + 1))),
            ("stella_error_chain_length", Box::new(move || Number(stella_error_chain_length(error) as i64))),
            (
                "stella_error_message",
                Box::new(move || Number(stella_error_message(error, 0, null_mut(), 0) as i64)),
            ),
            (
                "stella_error_free",
                Box::new(|| {
                    stella_error_free(null_mut());
                    Nothing
                }),
            ),
            (
                "stella_hasher_new",
                Box::new(|| {
                    let mut made = null_mut();
                    let code = take(stella_hasher_new(&mut made));
                    stella_hasher_free(made);
                    Code(code)
                }),
            ),
            (
                "stella_hasher_update",
                Box::new(move || Code(take(stella_hasher_update(hasher, text.as_ptr(), text.len())))),
            ),
            (
                "stella_hasher_finish",
                Box::new(move || {
                    let mut hash = [0; STELLA_HASH_BYTES as usize];
                    Code(take(stella_hasher_finish(hasher, hash.as_mut_ptr(), hash.len())))
                }),
            ),
            (
                "stella_hasher_free",
                Box::new(|| {
                    stella_hasher_free(null_mut());
                    Nothing
                }),
            ),
            (
                "stella_log_sink_new",
                Box::new(|| {
                    let mut made = null_mut();
                    let code =
                        take(stella_log_sink_new(Some(ignore), Some(forget), null_mut(), 0, &mut made));
                    stella_log_sink_free(made);
                    Code(code)
                }),
            ),
            (
                "stella_log_sink_free",
                Box::new(|| {
                    stella_log_sink_free(null_mut());
                    Nothing
                }),
            ),
            (
                "stella_model_open",
                Box::new(|| {
                    let mut made = null_mut();
                    let code = take(stella_model_open(path.as_ptr(), path.len(), null(), sink, &mut made));
                    stella_model_free(made);
                    Code(code)
                }),
            ),
            (
                "stella_model_estimate",
                Box::new(|| {
                    let mut estimate = StellaMemoryEstimate {
                        size: size_of::<StellaMemoryEstimate>() as u32,
                        ..Default::default()
                    };
                    Code(take(stella_model_estimate(
                        path.as_ptr(),
                        path.len(),
                        null(),
                        null(),
                        &mut estimate,
                    )))
                }),
            ),
            (
                "stella_model_info",
                Box::new(move || {
                    let mut info =
                        StellaModelInfo { size: size_of::<StellaModelInfo>() as u32, ..Default::default() };
                    Code(take(stella_model_info(model, &mut info)))
                }),
            ),
            (
                "stella_model_dimensions",
                Box::new(move || {
                    let mut count = 0;
                    Code(take(stella_model_dimensions(model, null_mut(), 0, &mut count)))
                }),
            ),
            (
                "stella_model_fingerprint",
                Box::new(move || {
                    let mut fingerprint = [0; STELLA_HASH_BYTES as usize];
                    Code(take(stella_model_fingerprint(
                        model,
                        0,
                        fingerprint.as_mut_ptr(),
                        fingerprint.len(),
                    )))
                }),
            ),
            (
                "stella_model_prompt",
                Box::new(move || {
                    let mut info = StellaPromptInfo::default();
                    Code(take(stella_model_prompt(model, 1, &mut info)))
                }),
            ),
            (
                "stella_model_tokenize",
                Box::new(move || {
                    let (mut ids, mut count, mut length) = ([0; 8], StellaTokenCount::default(), 0);
                    let offsets = [0, text.len()];
                    Code(take(stella_model_tokenize(
                        model,
                        text.as_ptr(),
                        text.len(),
                        offsets.as_ptr(),
                        1,
                        null(),
                        ids.as_mut_ptr(),
                        8,
                        &mut count,
                        &mut length,
                    )))
                }),
            ),
            (
                "stella_model_condense",
                Box::new(move || {
                    let (mut text, mut length, mut is_enough) = (text.as_bytes().to_vec(), 0, 0);
                    Code(take(stella_model_condense(
                        model,
                        text.as_mut_ptr(),
                        text.len(),
                        null_mut(),
                        &mut length,
                        &mut is_enough,
                    )))
                }),
            ),
            (
                "stella_model_tokenize_places",
                Box::new(move || {
                    let (mut ids, mut places, mut count, mut length) =
                        ([0; 8], [StellaPlace::default(); 8], StellaTokenCount::default(), 0);
                    Code(take(stella_model_tokenize_places(
                        model,
                        text.as_ptr(),
                        text.len(),
                        null(),
                        ids.as_mut_ptr(),
                        places.as_mut_ptr(),
                        8,
                        &mut count,
                        &mut length,
                    )))
                }),
            ),
            (
                "stella_model_free",
                Box::new(|| {
                    stella_model_free(null_mut());
                    Nothing
                }),
            ),
            (
                "stella_session_new",
                Box::new(move || {
                    let mut made = null_mut();
                    let code = take(stella_session_new(model, null(), &mut made));
                    stella_session_free(made);
                    Code(code)
                }),
            ),
            (
                "stella_session_embed",
                Box::new(move || {
                    let mut vector = vec![0.0; 1024];
                    Code(take(stella_session_embed(
                        session,
                        ids.as_ptr(),
                        2,
                        ends.as_ptr(),
                        2,
                        null(),
                        null(),
                        vector.as_mut_ptr(),
                        1024,
                    )))
                }),
            ),
            (
                "stella_session_embed_tokens",
                Box::new(move || {
                    let mut hidden = vec![0.0; 2 * 64];
                    Code(take(stella_session_embed_tokens(
                        session,
                        ids.as_ptr(),
                        2,
                        null(),
                        0,
                        null(),
                        null(),
                        hidden.as_mut_ptr(),
                        128,
                        null_mut(),
                        0,
                    )))
                }),
            ),
            (
                "stella_session_free",
                Box::new(|| {
                    stella_session_free(null_mut());
                    Nothing
                }),
            ),
        ]
    };
    let tried: BTreeSet<String> = calls.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(exports(), tried, "every export of the library is called here");

    for (name, call) in &calls {
        let handles = live();
        let good = call();
        arm(Stage::Boundary);
        let failed = call();
        assert!(!disarm(), "{name} has no boundary");
        match failed {
            Code(code) => assert_eq!((code, good), (ErrorCode::Panic as i32, Code(0)), "{name}"),
            Number(number) => {
                assert_eq!(number, i64::from(*name == "stella_error_text_index"), "{name}");
                assert!(good != Number(0) || *name == "stella_error_text_index", "{name}");
            }
            Nothing => {}
        }
        assert_eq!(live(), handles, "{name}");
        assert!(matches!(call(), Code(0) | Number(_) | Nothing), "{name} works again");
    }
    unsafe {
        stella_error_free(error);
        stella_hasher_free(hasher);
        stella_session_free(session);
        stella_model_free(model);
        stella_log_sink_free(sink);
    }
    assert_eq!(live(), before);
}
