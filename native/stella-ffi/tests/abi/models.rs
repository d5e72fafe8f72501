//! Models: their memory, their files, and the hashes of files.

use std::fs;
use std::ptr::{null, null_mut};

use stella_interop::abi::*;
use stella_interop::counters::*;
use stella_interop::handle_counts::*;
use stella_interop::hash::*;
use stella_interop::model::*;
use stella_interop::session::*;

use super::support::{live, live_bytes, turn};
use super::{common, folder, info, model, open, session, succeed};

#[test]
fn the_version_and_the_struct_sizes_are_those_of_this_abi() {
    assert_eq!(stella_abi_version(), STELLA_ABI_VERSION);
    for (which, size) in [
        (StellaStruct::ModelOptions, 48),
        (StellaStruct::ModelInfo, 104),
        (StellaStruct::TokenizeOptions, 32),
        (StellaStruct::TokenCount, 16),
        (StellaStruct::SessionOptions, 12),
        (StellaStruct::EmbedOptions, 48),
        (StellaStruct::Place, 8),
        (StellaStruct::Span, 8),
        (StellaStruct::Workload, 16),
        (StellaStruct::MemoryEstimate, 48),
        (StellaStruct::PromptInfo, 48),
    ] {
        assert_eq!(stella_abi_struct_size(which as u32), size, "{which:?}");
    }
}

#[test]
fn a_hash_covers_all_updates() {
    // The hash of "abc" from the test vectors of BLAKE3.
    const ABC: [u8; 4] = [0x64, 0x37, 0xb3, 0xac];
    let _turn = turn();
    let before = live();
    let mut hasher = null_mut();
    let mut hash = [0; STELLA_HASH_BYTES as usize];
    unsafe {
        succeed(stella_hasher_new(&mut hasher));
        assert_eq!(live()[StellaHandleKind::Hasher as usize], before[StellaHandleKind::Hasher as usize] + 1);
        succeed(stella_hasher_update(hasher, "a".as_ptr(), 1));
        succeed(stella_hasher_finish(hasher, hash.as_mut_ptr(), hash.len()));
        let of_a = hash;
        succeed(stella_hasher_update(hasher, null(), 0));
        succeed(stella_hasher_update(hasher, "bc".as_ptr(), 2));
        succeed(stella_hasher_finish(hasher, hash.as_mut_ptr(), hash.len()));
        assert!(hash.starts_with(&ABC) && of_a != hash, "{hash:?}");
        stella_hasher_free(hasher);
    }
    assert_eq!(live(), before);
}

fn counter(which: StellaCounter) -> u64 {
    stella_counter(which as u32)
}

#[test]
fn an_estimate_loads_no_weights_and_grows_with_sessions() {
    let _turn = turn();
    let path = folder("tiny-new");
    let before = (counter(StellaCounter::Loads), counter(StellaCounter::Tensors));
    let estimate = |workload: *const StellaWorkload| {
        let size = size_of::<StellaMemoryEstimate>() as u32;
        let mut estimate = StellaMemoryEstimate { size, ..Default::default() };
        succeed(unsafe { stella_model_estimate(path.as_ptr(), path.len(), null(), workload, &mut estimate) });
        estimate
    };
    let size = size_of::<StellaWorkload>() as u32;
    let one = estimate(null());
    let four = estimate(&StellaWorkload { size, sessions: 4, threads: 1, max_batch_tokens: 512 });
    assert!(one.session > four.session && four.weights == one.weights && four.total >= 4 * four.session);
    assert!(one.total > 0);
    assert_eq!((counter(StellaCounter::Loads), counter(StellaCounter::Tensors)), before);
}

#[test]
fn a_second_open_shares_the_weights_until_the_last_handle_is_freed() {
    let _turn = turn();
    let loads = counter(StellaCounter::Loads);
    let (first, second) = (model("tiny-new"), model("tiny-new"));
    assert_eq!(counter(StellaCounter::Loads), loads + 1);
    let held = live_bytes();
    unsafe { stella_model_free(first) };
    assert!(held - live_bytes() < 4096, "the second handle still holds the weights");
    unsafe { stella_model_free(second) };
    // The encoder of tiny-new has 249,000 parameters of at least 2 bytes.
    assert!(held - live_bytes() > 480_000);
}

#[test]
fn live_bytes_do_not_grow_over_cycles_of_load_and_free() {
    let _turn = turn();
    let cycle = || unsafe {
        let model = model("tiny-qwen2");
        let session = session(model);
        stella_session_free(session);
        stella_model_free(model);
    };
    // The first cycle allocates what lives as long as the process.
    cycle();
    let before = live_bytes();
    for _ in 0..5 {
        cycle();
    }
    let after = live_bytes();
    assert!(after <= before + 64 * 1024, "{before} bytes before, {after} after");
}

#[test]
fn the_file_stamp_changes_only_with_the_files() {
    let _turn = turn();
    let dir = common::copy_of("tiny-new");
    let path = dir.path().to_str().expect("UTF-8");
    let stamp = || {
        // A shared model reports the file stamp of its load.
        let (loaded, shared) = (open(path), open(path));
        let stamps = [info(loaded).file_stamp, info(shared).file_stamp];
        assert_eq!(stamps[0], stamps[1]);
        unsafe {
            stella_model_free(shared);
            stella_model_free(loaded);
        }
        stamps[0]
    };
    let first = stamp();
    assert_eq!(stamp(), first);
    let head = dir.path().join("2_Dense_256/model.safetensors");
    let file = fs::OpenOptions::new().write(true).open(&head).expect("opens");
    file.set_modified(std::time::UNIX_EPOCH).expect("touched");
    // Windows refuses to replace an open file.
    drop(file);
    let touched = stamp();
    assert_ne!(touched, first);
    fs::copy(&head, dir.path().join("next")).expect("copied");
    fs::rename(dir.path().join("next"), &head).expect("replaced");
    assert!(stamp() != touched && stamp() != first);
}
