//! The system refuses each thread of a load and of a session in turn: the caller gets a typed error, and all memory is freed.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, clippy::expect_used, clippy::panic)]

mod support;

use std::path::Path;
use std::ptr::{null, null_mut};

use stella_core::ErrorCode;
use stella_interop::model::*;
use stella_interop::session::*;
use stella_kernels::spawn::{permit, refuse};
use support::*;

/// Runs the life of a model repeatedly and refuses its first thread, then its second, and so on, until all threads start.
/// Returns the number of threads.
fn refuse_each_thread(path: &str, options: &StellaModelOptions) -> usize {
    assert_eq!(whole_life(path, options, null()), 0);
    let (handles, bytes) = (live(), live_bytes());
    for nth in 1.. {
        refuse(nth);
        let code = whole_life(path, options, null());
        if permit() {
            assert_eq!(code, 0);
            assert_bytes_are_freed(bytes);
            return nth - 1;
        }
        assert_eq!(code, ErrorCode::ThreadRefused as i32, "thread {nth}");
        assert_eq!(live(), handles, "thread {nth}");
        assert_eq!(whole_life(path, options, null()), 0, "after thread {nth}");
    }
    unreachable!("a life starts a finite number of threads")
}

#[test]
fn a_refused_thread_of_a_load_or_a_session_is_a_typed_error_and_the_next_attempt_succeeds() {
    let _turn = turn();
    let folder = tempfile::tempdir().expect("a folder");
    copy(Path::new(&fixture()), folder.path());
    let path = folder.path().to_str().expect("UTF-8");
    let size = size_of::<StellaModelOptions>() as u32;
    let cases = [
        (StellaLoadMode::Copied, StellaPrecision::F32, StellaEncoder::Kernels),
        (StellaLoadMode::Mapped, StellaPrecision::F32, StellaEncoder::Kernels),
        (StellaLoadMode::Copied, StellaPrecision::Int8, StellaEncoder::Kernels),
        (StellaLoadMode::Copied, StellaPrecision::F32, StellaEncoder::Candle),
    ];
    for hashed in [false, true] {
        if hashed {
            write_manifest(folder.path());
        }
        for (mode, precision, encoder) in cases {
            let (load_mode, precision, encoder) = (mode as u32, precision as u32, encoder as u32);
            let options = StellaModelOptions { size, load_mode, precision, encoder, ..Default::default() };
            let refused = refuse_each_thread(path, &options);
            // The loads of the encoder and of the head start a reader each, and a hashing thread with a manifest. The session
            // starts two threads besides the caller, or three with candle.
            let least = 2 + 2 * usize::from(hashed) + 2;
            assert!(refused >= least, "{refused} threads of {options:?}");
        }
    }
}

#[test]
fn the_error_of_a_refused_thread_states_its_number_and_purpose() {
    let _turn = turn();
    let path = fixture();
    let (mut model, mut session) = (null_mut(), null_mut());
    unsafe {
        refuse(1);
        let error = stella_model_open(path.as_ptr(), path.len(), null(), null(), &mut model);
        assert!(!permit() && model.is_null());
        assert!(
            messages(error)[0].starts_with("The system refused thread 1 of 1 for loading a model. Raise")
        );
        assert_eq!(take(error), ErrorCode::ThreadRefused as i32);
        assert_eq!(take(stella_model_open(path.as_ptr(), path.len(), null(), null(), &mut model)), 0);
        let size = size_of::<StellaSessionOptions>() as u32;
        let options = StellaSessionOptions { size, threads: 4, max_batch_tokens: 0 };
        refuse(2);
        let error = stella_session_new(model, &options, &mut session);
        assert!(!permit() && session.is_null());
        assert!(messages(error)[0].starts_with("The system refused thread 2 of 3 for a session. Raise"));
        assert_eq!(take(error), ErrorCode::ThreadRefused as i32);
        stella_model_free(model);
    }
}
