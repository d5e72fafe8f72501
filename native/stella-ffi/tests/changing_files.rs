//! Model files that are changed or removed during a load, and heads and fingerprints that are computed while a model is open.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, clippy::expect_used, clippy::panic)]

mod support;

use std::ffi::c_void;
use std::fs;
use std::path::Path;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicUsize, Ordering};

use stella_core::ErrorCode;
use stella_core::base::fault_injection::{Stage, hold};
use stella_interop::counters::*;
use stella_interop::log::*;
use stella_interop::model::*;
use stella_interop::session::*;
use stella_kernels::spawn::{permit, refuse};
use support::*;

/// Embeds two tokens with the head of a dimension, 0 for the default, in a new session. Returns the code of the error.
fn embed(model: *const StellaModel, dimension: u32) -> i32 {
    let (mut session, mut vector) = (null_mut(), [0.0; 1024]);
    let size = size_of::<StellaSessionOptions>() as u32;
    let options = StellaSessionOptions { size, threads: 1, max_batch_tokens: 0 };
    let embed = StellaEmbedOptions {
        dimensions: &dimension,
        dimensions_length: usize::from(dimension != 0),
        ..Default::default()
    };
    unsafe {
        assert_eq!(take(stella_session_new(model, &options, &mut session)), 0);
        let (ids, cu_seqlens) = ([2u32, 3], [0u32, 2]);
        let code = take(stella_session_embed(
            session,
            ids.as_ptr(),
            2,
            cu_seqlens.as_ptr(),
            2,
            &embed,
            null(),
            vector.as_mut_ptr(),
            vector.len(),
        ));
        stella_session_free(session);
        code
    }
}

/// A model that the threads of a test share.
struct Shared(*mut StellaModel);

unsafe impl Sync for Shared {}

impl Shared {
    fn open(path: &str) -> Self {
        let mut model = null_mut();
        assert_eq!(
            take(unsafe { stella_model_open(path.as_ptr(), path.len(), null(), null(), &mut model) }),
            0
        );
        Self(model)
    }

    fn embed(&self, dimension: u32) -> i32 {
        embed(self.0, dimension)
    }

    /// Computes the fingerprint. Returns the code of the error, and the bytes.
    fn fingerprint(&self) -> (i32, [u8; 32]) {
        let mut bytes = [0; 32];
        (take(unsafe { stella_model_fingerprint(self.0, 0, bytes.as_mut_ptr(), bytes.len()) }), bytes)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        unsafe { stella_model_free(self.0) };
    }
}

/// Changes the file stamp of a file that is open. Windows refuses to replace such a file.
fn change(file: &Path) {
    if cfg!(windows) {
        let file = fs::OpenOptions::new().write(true).open(file).expect("opens");
        file.set_modified(std::time::UNIX_EPOCH).expect("touched");
    } else {
        let next = file.with_extension("next");
        fs::copy(file, &next).expect("copied");
        fs::rename(next, file).expect("replaced");
    }
}

#[test]
fn loading_a_head_blocks_only_its_own_callers_and_runs_once() {
    let _turn = turn();
    let model = Shared::open(&fixture());
    let tensors = || stella_counter(StellaCounter::Tensors as u32);
    let held = hold(Stage::Head);
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..8).map(|_| scope.spawn(|| model.embed(256))).collect();
        held.wait_until_met();
        assert_eq!((model.embed(0), model.embed(768), model.embed(1024)), (0, 0, 0));
        assert!(callers.iter().all(|caller| !caller.is_finished()));
        let before = tensors();
        drop(held);
        let codes: Vec<i32> = callers.into_iter().map(|caller| caller.join().expect("no panic")).collect();
        assert_eq!(codes, [0; 8]);
        assert_eq!(tensors() - before, 2, "weights and bias, once");
    });
}

#[test]
fn a_head_whose_load_failed_is_loaded_by_the_next_call() {
    let _turn = turn();
    let model = Shared::open(&fixture());
    refuse(1);
    assert_eq!(model.embed(768), ErrorCode::ThreadRefused as i32);
    assert!(!permit());
    assert_eq!(model.embed(768), 0);
}

#[test]
fn a_head_that_changes_while_it_is_read_is_refused() {
    let _turn = turn();
    let folder = tempfile::tempdir().expect("a folder");
    copy(Path::new(&fixture()), folder.path());
    let model = Shared::open(folder.path().to_str().expect("UTF-8"));
    assert_eq!(model.embed(768), 0);
    let file = folder.path().join("2_Dense_256/model.safetensors");
    let held = hold(Stage::Read);
    std::thread::scope(|scope| {
        let caller = scope.spawn(|| model.embed(256));
        held.wait_until_met();
        change(&file);
        drop(held);
        assert_eq!(caller.join().expect("no panic"), ErrorCode::ModelFileInvalid as i32);
    });
    assert_eq!((model.embed(256), model.embed(768)), (ErrorCode::ModelFileInvalid as i32, 0));
}

#[test]
fn removing_an_optional_file_or_a_head_during_a_load_fails_the_load() {
    let _turn = turn();
    for file in ["config_sentence_transformers.json", "2_Dense_256/config.json"] {
        let folder = tempfile::tempdir().expect("a folder");
        copy(Path::new(&fixture()), folder.path());
        let path = folder.path().to_str().expect("UTF-8");
        // The load reads `config.json` after it took the file stamps of the folder.
        let held = hold(Stage::Config);
        std::thread::scope(|scope| {
            let caller = scope.spawn(|| {
                let mut model = null_mut();
                let error =
                    unsafe { stella_model_open(path.as_ptr(), path.len(), null(), null(), &mut model) };
                assert!(model.is_null());
                let text = messages(error).swap_remove(0);
                (take(error), text)
            });
            held.wait_until_met();
            fs::remove_file(folder.path().join(file)).expect("removed");
            drop(held);
            let (code, text) = caller.join().expect("no panic");
            assert_eq!(code, ErrorCode::ModelFileInvalid as i32, "{text}");
            assert!(text.contains(file) && text.contains("was removed since"), "{text}");
        });
    }
}

#[test]
fn a_file_that_changes_while_it_is_hashed_fails_the_fingerprint() {
    let _turn = turn();
    let folder = tempfile::tempdir().expect("a folder");
    copy(Path::new(&fixture()), folder.path());
    let model = Shared::open(folder.path().to_str().expect("UTF-8"));
    // The first file that is hashed. It is already open when it changes.
    let file = folder.path().join("1_Pooling/config.json");
    let held = hold(Stage::Fingerprint);
    std::thread::scope(|scope| {
        let caller = scope.spawn(|| model.fingerprint());
        held.wait_until_met();
        let text = fs::read_to_string(&file).expect("read");
        fs::write(&file, format!("{text} ")).expect("written");
        drop(held);
        assert_eq!(caller.join().expect("no panic"), (ErrorCode::ModelFileInvalid as i32, [0; 32]));
    });
    assert_eq!(model.fingerprint(), (ErrorCode::ModelFileInvalid as i32, [0; 32]));
}

/// Counts the log records about fingerprints.
unsafe extern "C" fn count(
    seen: *mut c_void,
    _level: u32,
    _target: *const u8,
    _target_length: usize,
    message: *const u8,
    message_length: usize,
) {
    let text = String::from_utf8_lossy(unsafe { std::slice::from_raw_parts(message, message_length) });
    if text.contains(": The fingerprint ") {
        unsafe { &*seen.cast::<AtomicUsize>() }.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn concurrent_callers_share_one_fingerprint_and_other_calls_do_not_wait() {
    let _turn = turn();
    let folder = tempfile::tempdir().expect("a folder");
    copy(Path::new(&fixture()), folder.path());
    let seen = AtomicUsize::new(0);
    let (mut sink, user_data) = (null_mut(), (&raw const seen).cast_mut().cast());
    assert_eq!(take(unsafe { stella_log_sink_new(Some(count), Some(forget), user_data, 0, &mut sink) }), 0);
    let path = folder.path().to_str().expect("UTF-8");
    let mut model = null_mut();
    let opened = unsafe { stella_model_open(path.as_ptr(), path.len(), null(), sink, &mut model) };
    assert_eq!(take(opened), 0);
    let model = Shared(model);
    let held = hold(Stage::Fingerprint);
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..4).map(|_| scope.spawn(|| model.fingerprint())).collect();
        held.wait_until_met();
        assert_eq!(model.embed(0), 0);
        assert!(callers.iter().all(|caller| !caller.is_finished()));
        drop(held);
        let found: Vec<_> = callers.into_iter().map(|caller| caller.join().expect("no panic")).collect();
        assert!(found.iter().all(|answer| *answer == found[0] && answer.0 == 0), "{found:?}");
        assert_eq!(model.fingerprint(), found[0]);
    });
    assert_eq!(seen.load(Ordering::SeqCst), 1, "computed once and logged once");
    drop(model);
    unsafe { stella_log_sink_free(sink) };
}
