//! A panic in every stage and behind every export, and a refused thread: the caller gets a typed error, the process
//! lives, and what was taken is given back.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::ffi::c_void;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::ptr::{null, null_mut};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use stella_core::ErrorCode;
use stella_core::fault::{Stage, arm, disarm, hold};
use stella_interop::abi::*;
use stella_interop::counters::*;
use stella_interop::error::*;
use stella_interop::hash::*;
use stella_interop::live::*;
use stella_interop::log::*;
use stella_interop::model::*;
use stella_interop::session::*;
use stella_interop::tokenize::*;
use stella_kernels::spawn::{permit, refuse};

/// Faults and counters belong to the process, so tests take turns.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn fixture() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/models/tiny-new");
    path.to_str().expect("the path is UTF-8").to_owned()
}

fn live() -> [usize; 5] {
    [0, 1, 2, 3, 4].map(|kind| stella_live_handles(kind))
}

fn live_bytes() -> u64 {
    stella_counter(StellaCounter::LiveBytes as u32)
}

/// The code of an error, which is freed; 0 for none.
fn take(error: *mut StellaError) -> i32 {
    unsafe {
        let code = stella_error_code(error);
        stella_error_free(error);
        code
    }
}

unsafe extern "C" fn ignore(_: *mut c_void, _: u32, _: *const u8, _: usize, _: *const u8, _: usize) {}

unsafe extern "C" fn forget(_: *mut c_void) {}

fn sink() -> *mut StellaLogSink {
    let mut sink = null_mut();
    assert_eq!(take(unsafe { stella_log_sink_new(Some(ignore), Some(forget), null_mut(), 0, &mut sink) }), 0);
    sink
}

/// Everything that a caller does with a model, by the options of its opening. Gives the code of the first error, and
/// frees what was made.
fn whole_life(path: &str, options: &StellaModelOptions, sink: *const StellaLogSink) -> i32 {
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
            &mut || stella_session_new(model, &session_options, &mut session),
        ])
    };
    let code = if code != 0 {
        code
    } else {
        let ends = [0, length as u32];
        unsafe {
            take(stella_session_embed(
                session,
                ids.as_ptr(),
                length,
                ends.as_ptr(),
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

/// Candle's threads end after the session's handle, each in its own time.
fn assert_bytes_come_back(before: u64) {
    let grown = || live_bytes().saturating_sub(before);
    for _ in 0..1000 {
        if grown() < LEAK {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(grown() < LEAK, "{} bytes more than before", grown());
}

/// Above the payloads of the panics, which are leaked on purpose, and below the smallest model.
const LEAK: u64 = 64 << 10;

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

/// Asks for the life of a model again and again, each time with the next thread refused, until all threads start.
/// Returns how many there were to refuse.
fn refuse_each_thread(path: &str, options: &StellaModelOptions) -> usize {
    assert_eq!(whole_life(path, options, null()), 0);
    let (handles, bytes) = (live(), live_bytes());
    for nth in 1.. {
        refuse(nth);
        let code = whole_life(path, options, null());
        if permit() {
            assert_eq!(code, 0);
            assert_bytes_come_back(bytes);
            return nth - 1;
        }
        assert_eq!(code, ErrorCode::ThreadRefused as i32, "thread {nth}");
        assert_eq!(live(), handles, "thread {nth}");
        assert_eq!(whole_life(path, options, null()), 0, "after thread {nth}");
    }
    unreachable!("a life has an end")
}

#[test]
fn each_thread_of_a_load_and_a_session_may_be_refused_and_the_next_attempt_works() {
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
            // Of the encoder and of the head: a reader, and with a manifest a thread that hashes. Of the session: two
            // threads beside the caller, or three with candle.
            let least = 2 + 2 * usize::from(hashed) + 2;
            assert!(refused >= least, "{refused} threads of {options:?}");
        }
    }
}

#[test]
fn a_refused_thread_names_its_number_and_what_it_is_for() {
    let _turn = turn();
    let path = fixture();
    let (mut model, mut session) = (null_mut(), null_mut());
    unsafe {
        refuse(1);
        let error = stella_model_open(path.as_ptr(), path.len(), null(), null(), &mut model);
        assert!(!permit() && model.is_null());
        assert!(message(error).starts_with("The system refused thread 1 of 1 for loading a model. Raise"));
        assert_eq!(take(error), ErrorCode::ThreadRefused as i32);
        assert_eq!(take(stella_model_open(path.as_ptr(), path.len(), null(), null(), &mut model)), 0);
        let size = size_of::<StellaSessionOptions>() as u32;
        let options = StellaSessionOptions { size, threads: 4, max_batch_tokens: 0 };
        refuse(2);
        let error = stella_session_new(model, &options, &mut session);
        assert!(!permit() && session.is_null());
        assert!(message(error).starts_with("The system refused thread 2 of 3 for a session. Raise"));
        assert_eq!(take(error), ErrorCode::ThreadRefused as i32);
        stella_model_free(model);
    }
}

/// Embeds two tokens by the head of a dimension, 0 for the default, in a session of its own. Returns the error's code.
fn embed(model: *const StellaModel, dimension: u32) -> i32 {
    let (mut session, mut vector) = (null_mut(), [0.0; 1024]);
    let size = size_of::<StellaSessionOptions>() as u32;
    let options = StellaSessionOptions { size, threads: 1, max_batch_tokens: 0 };
    let size = size_of::<StellaEmbedOptions>() as u32;
    let embed = StellaEmbedOptions { size, dimension, ..Default::default() };
    unsafe {
        assert_eq!(take(stella_session_new(model, &options, &mut session)), 0);
        let (ids, ends) = ([2u32, 3], [0u32, 2]);
        let code = take(stella_session_embed(
            session,
            ids.as_ptr(),
            2,
            ends.as_ptr(),
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

/// A model that threads of a test share.
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
}

impl Drop for Shared {
    fn drop(&mut self) {
        unsafe { stella_model_free(self.0) };
    }
}

#[test]
fn a_head_that_is_being_loaded_makes_no_other_head_wait_and_is_loaded_once() {
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
fn a_head_that_changes_while_it_is_read_is_refused_and_a_failed_load_is_tried_again() {
    let _turn = turn();
    let folder = tempfile::tempdir().expect("a folder");
    copy(Path::new(&fixture()), folder.path());
    let model = Shared::open(folder.path().to_str().expect("UTF-8"));
    // A refused thread fails one load of the head; the next one works.
    refuse(1);
    assert_eq!(model.embed(768), ErrorCode::ThreadRefused as i32);
    assert!(!permit());
    assert_eq!(model.embed(768), 0);
    let file = folder.path().join("2_Dense_256/model.safetensors");
    let held = hold(Stage::Read);
    std::thread::scope(|scope| {
        let caller = scope.spawn(|| model.embed(256));
        held.wait_until_met();
        fs::copy(&file, folder.path().join("next")).expect("copied");
        fs::rename(folder.path().join("next"), &file).expect("replaced");
        drop(held);
        assert_eq!(caller.join().expect("no panic"), ErrorCode::ModelFileInvalid as i32);
    });
    assert_eq!((model.embed(256), model.embed(768)), (ErrorCode::ModelFileInvalid as i32, 0));
}

#[test]
fn an_optional_file_or_a_head_that_is_removed_while_the_model_loads_fails_the_load() {
    let _turn = turn();
    for file in ["config_sentence_transformers.json", "2_Dense_256/config.json"] {
        let folder = tempfile::tempdir().expect("a folder");
        copy(Path::new(&fixture()), folder.path());
        let path = folder.path().to_str().expect("UTF-8");
        // `config.json` is read after the folder was pinned.
        let held = hold(Stage::Config);
        std::thread::scope(|scope| {
            let caller = scope.spawn(|| {
                let mut model = null_mut();
                let error =
                    unsafe { stella_model_open(path.as_ptr(), path.len(), null(), null(), &mut model) };
                assert!(model.is_null());
                let text = message(error);
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

/// The first message of an error.
fn message(error: *const StellaError) -> String {
    let mut text = vec![0; unsafe { stella_error_message(error, 0, null_mut(), 0) }];
    unsafe { stella_error_message(error, 0, text.as_mut_ptr(), text.len()) };
    String::from_utf8(text).expect("messages are UTF-8")
}

fn copy(from: &Path, to: &Path) {
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

fn write_manifest(folder: &Path) {
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
        let name = path.strip_prefix(root).expect("inside").to_str().expect("UTF-8").to_owned();
        let hash: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        files.insert(name, serde_json::json!({"size": bytes.len(), "sha256": hash}));
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
