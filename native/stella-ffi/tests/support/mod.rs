//! Helpers of the tests of the ABI: the life of a model through the exports, counts of live handles and bytes, and copies of
//! model folders.
// Each test crate uses a part of this module.
#![allow(dead_code)]

use std::ffi::c_void;
use std::fs;
use std::path::Path;
use std::ptr::{null, null_mut};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use stella_interop::counters::*;
use stella_interop::error::*;
use stella_interop::handle_counts::*;
use stella_interop::hash::*;
use stella_interop::log::*;
use stella_interop::model::*;
use stella_interop::session::*;
use stella_interop::tokenize::*;

/// Injected faults and counters belong to the process, so tests take turns.
static TURN: Mutex<()> = Mutex::new(());

pub fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

pub fn fixture() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/models/tiny-new");
    path.to_str().expect("the path is UTF-8").to_owned()
}

pub fn live() -> [usize; 5] {
    [0, 1, 2, 3, 4].map(|kind| stella_live_handles(kind))
}

pub fn live_bytes() -> u64 {
    stella_counter(StellaCounter::LiveBytes as u32)
}

/// Frees an error. Returns its code, or 0 for null.
pub fn take(error: *mut StellaError) -> i32 {
    unsafe {
        let code = stella_error_code(error);
        stella_error_free(error);
        code
    }
}

pub unsafe extern "C" fn ignore(_: *mut c_void, _: u32, _: *const u8, _: usize, _: *const u8, _: usize) {}

pub unsafe extern "C" fn forget(_: *mut c_void) {}

pub fn sink() -> *mut StellaLogSink {
    let mut sink = null_mut();
    assert_eq!(take(unsafe { stella_log_sink_new(Some(ignore), Some(forget), null_mut(), 0, &mut sink) }), 0);
    sink
}

/// Opens a model with options, tokenizes, computes the fingerprint, creates a session and embeds. Frees all handles. Returns the
/// code of the first error, or 0.
pub fn whole_life(path: &str, options: &StellaModelOptions, sink: *const StellaLogSink) -> i32 {
    let (mut model, mut session) = (null_mut(), null_mut());
    let code = unsafe {
        first_error(&mut [&mut || stella_model_open(path.as_ptr(), path.len(), options, sink, &mut model)])
    };
    if code != 0 {
        return code;
    }
    let text = "a river runs";
    let (mut ids, mut count, mut length) = ([0; 32], StellaTokenCount::default(), 0);
    let mut vector = vec![0.0; 1024];
    let mut fingerprint = [0; STELLA_HASH_BYTES as usize];
    let session_options = StellaSessionOptions {
        size: size_of::<StellaSessionOptions>() as u32,
        threads: 3,
        max_batch_tokens: 0,
    };
    let code = unsafe {
        first_error(&mut [
            &mut || {
                let offsets = [0, text.len()];
                stella_model_tokenize(
                    model,
                    text.as_ptr(),
                    text.len(),
                    offsets.as_ptr(),
                    1,
                    null(),
                    ids.as_mut_ptr(),
                    ids.len(),
                    &mut count,
                    &mut length,
                )
            },
            &mut || stella_model_fingerprint(model, 0, fingerprint.as_mut_ptr(), fingerprint.len()),
            &mut || stella_session_new(model, &session_options, &mut session),
        ])
    };
    let code = if code != 0 {
        code
    } else {
        let cu_seqlens = [0, length as u32];
        unsafe {
            take(stella_session_embed(
                session,
                ids.as_ptr(),
                length,
                cu_seqlens.as_ptr(),
                2,
                null(),
                null(),
                vector.as_mut_ptr(),
                vector.len(),
            ))
        }
    };
    unsafe {
        stella_session_free(session);
        stella_model_free(model);
    }
    code
}

fn first_error(calls: &mut [&mut dyn FnMut() -> *mut StellaError]) -> i32 {
    calls.iter_mut().map(|call| take(call())).find(|&code| code != 0).unwrap_or(0)
}

/// Fewer bytes than the smallest model needs.
const LEAK: u64 = 64 << 10;

/// Checks that all memory since `before` is freed. The threads of candle end some time after the handle of their session, so
/// this may have to wait.
pub fn assert_bytes_are_freed(before: u64) {
    let grown = || live_bytes().saturating_sub(before);
    for _ in 0..1000 {
        if grown() < LEAK {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(grown() < LEAK, "{} bytes more than before", grown());
}

/// Returns the messages of an error and its causes, outermost first.
pub fn messages(error: *const StellaError) -> Vec<String> {
    let levels = 0..unsafe { stella_error_chain_length(error) };
    levels
        .map(|level| unsafe {
            let mut text = vec![0; stella_error_message(error, level, null_mut(), 0)];
            stella_error_message(error, level, text.as_mut_ptr(), text.len());
            String::from_utf8(text).expect("messages are UTF-8")
        })
        .collect()
}

pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("created");
    for entry in fs::read_dir(from).expect("listed") {
        let entry = entry.expect("entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target)
        } else {
            fs::copy(entry.path(), target).map(|_| ()).expect("copied")
        }
    }
}

pub fn write_manifest(folder: &Path) {
    let mut files = serde_json::Map::new();
    list(folder, folder, &mut files);
    let manifest = serde_json::json!({"version": 1, "files": files});
    fs::write(folder.join("stella.manifest.json"), manifest.to_string()).expect("written");
}

fn list(root: &Path, folder: &Path, files: &mut serde_json::Map<String, serde_json::Value>) {
    use sha2::{Digest, Sha256};
    for entry in fs::read_dir(folder).expect("listed") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            list(root, &path, files);
            continue;
        }
        let bytes = fs::read(&path).expect("read");
        let name = path.strip_prefix(root).expect("inside").to_str().expect("UTF-8").replace('\\', "/");
        let hash: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        files.insert(name, serde_json::json!({"size": bytes.len(), "sha256": hash}));
    }
}
