//! A panic in every stage and behind every export: the caller gets a typed error, the process lives, and all memory and handles
//! are freed.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeSet;
use std::ffi::c_void;
use std::path::Path;
use std::ptr::{null, null_mut};
use std::sync::Mutex;
use std::time::Duration;

use stella_core::ErrorCode;
use stella_core::base::fault_injection::{Stage, arm, disarm};
use stella_interop::abi::*;
use stella_interop::counters::*;
use stella_interop::error::*;
use stella_interop::handle_counts::*;
use stella_interop::hash::*;
use stella_interop::log::*;
use stella_interop::model::*;
use stella_interop::session::*;
use stella_interop::tokenize::*;
use support::*;

#[test]
fn a_panic_in_any_stage_is_a_typed_error_and_everything_is_freed() {
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
    // The first backtraces load the debug information, which is kept.
    let bytes = live_bytes();
    every_stage(&path, &modes, sink, handles);
    assert_bytes_are_freed(bytes);
    unsafe { stella_log_sink_free(sink) };
}

fn every_stage(path: &str, modes: &[StellaModelOptions], sink: *const StellaLogSink, handles: [usize; 5]) {
    for stage in Stage::ALL {
        for options in modes {
            arm(stage);
            let code = whole_life(path, options, sink);
            let missed = disarm();
            // Files are mapped only in mode Mapped, and hashed only with a manifest.
            let skipped = match stage {
                Stage::Hash => true,
                Stage::Map => options.load_mode == StellaLoadMode::Copied as u32,
                _ => false,
            };
            let expected = match stage {
                _ if skipped => 0,
                // A thread of a session logs a panic at its start and continues.
                Stage::Thread => 0,
                // Panics of the tokenizer library have other codes, but all these stages are outside of it.
                _ => ErrorCode::Panic as i32,
            };
            assert_eq!((code, missed), (expected, skipped), "{stage:?}");
            assert_eq!(live(), handles, "{stage:?}");
            // The next attempt succeeds.
            assert_eq!(whole_life(path, options, sink), 0, "after {stage:?}");
        }
    }
}

#[test]
fn a_panic_of_the_hashing_thread_is_a_typed_error_in_either_load_mode() {
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
fn a_panic_on_a_thread_of_the_library_is_logged_to_the_sink_of_its_model() {
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
        let mut records = take();
        // A thread that panics at its start may log it after the call.
        for _ in 0..1000 {
            if !records.is_empty() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
            records = take();
        }
        let message = format!("injected at {stage:?}");
        assert!(records.len() == 1 && records[0].contains(&message), "{stage:?}: {records:?}");
    }
    unsafe { stella_log_sink_free(sink) };
}

#[test]
fn only_one_of_many_concurrent_opens_gets_the_panic_of_a_load() {
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
fn the_floating_point_state_of_the_host_is_restored_after_a_panic() {
    use std::arch::asm;
    /// Flush denormal numbers and round to zero.
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
        // The test computes nothing that would set an exception flag.
        assert_eq!((code, state), (ErrorCode::Panic as i32, HOST), "{stage:?}");
    }
}

/// The result of a call of an export with valid arguments.
#[derive(Debug, PartialEq)]
enum Outcome {
    /// The code of an error, 0 for success.
    Code(i32),
    /// The number that an export without errors returns.
    Number(i64),
    /// An export without a result.
    Nothing,
}

/// A repeatable call of an export.
type Call<'a> = (&'static str, Box<dyn Fn() -> Outcome + 'a>);

/// Makes a row of the table of calls: the name of an export, and an expression that calls it.
macro_rules! call {
    ($export:ident, $outcome:ident($call:expr)) => {
        (stringify!($export), Box::new(move || Outcome::$outcome($call)) as Box<dyn Fn() -> Outcome>)
    };
    ($export:ident(null)) => {
        (
            stringify!($export),
            Box::new(|| {
                $export(null_mut());
                Outcome::Nothing
            }) as Box<dyn Fn() -> Outcome>,
        )
    };
}

/// The handles that the calls of the table use.
#[derive(Clone, Copy)]
struct Handles {
    sink: *mut StellaLogSink,
    model: *mut StellaModel,
    session: *mut StellaSession,
    hasher: *mut StellaHasher,
    error: *mut StellaError,
}

const TEXT: &str = "a b";
const IDS: [u32; 2] = [2, 3];

impl Handles {
    fn new() -> Self {
        let path = fixture();
        let (mut model, mut session, mut hasher) = (null_mut(), null_mut(), null_mut());
        unsafe {
            assert_eq!(take(stella_model_open(path.as_ptr(), path.len(), null(), null(), &mut model)), 0);
            assert_eq!(take(stella_session_new(model, null(), &mut session)), 0);
            assert_eq!(take(stella_hasher_new(&mut hasher)), 0);
            let error = stella_model_open("/".as_ptr(), 1, null(), null(), &mut null_mut());
            assert!(!error.is_null());
            Self { sink: sink(), model, session, hasher, error }
        }
    }

    fn free(self) {
        unsafe {
            stella_error_free(self.error);
            stella_hasher_free(self.hasher);
            stella_session_free(self.session);
            stella_model_free(self.model);
            stella_log_sink_free(self.sink);
        }
    }

    fn open(self) -> i32 {
        let (path, mut made) = (fixture(), null_mut());
        let code =
            take(unsafe { stella_model_open(path.as_ptr(), path.len(), null(), self.sink, &mut made) });
        unsafe { stella_model_free(made) };
        code
    }

    fn estimate(self) -> i32 {
        let path = fixture();
        let size = size_of::<StellaMemoryEstimate>() as u32;
        let mut estimate = StellaMemoryEstimate { size, ..Default::default() };
        take(unsafe { stella_model_estimate(path.as_ptr(), path.len(), null(), null(), &mut estimate) })
    }

    fn info(self) -> i32 {
        let size = size_of::<StellaModelInfo>() as u32;
        let mut info = StellaModelInfo { size, ..Default::default() };
        take(unsafe { stella_model_info(self.model, &mut info) })
    }

    fn fingerprint(self) -> i32 {
        let mut hash = [0; STELLA_HASH_BYTES as usize];
        take(unsafe { stella_model_fingerprint(self.model, 0, hash.as_mut_ptr(), hash.len()) })
    }

    fn finish_hash(self) -> i32 {
        let mut hash = [0; STELLA_HASH_BYTES as usize];
        take(unsafe { stella_hasher_finish(self.hasher, hash.as_mut_ptr(), hash.len()) })
    }

    fn tokenize(self) -> i32 {
        let (mut ids, mut count, mut length) = ([0; 8], StellaTokenCount::default(), 0);
        take(unsafe {
            stella_model_tokenize(
                self.model,
                TEXT.as_ptr(),
                TEXT.len(),
                [0, TEXT.len()].as_ptr(),
                1,
                null(),
                ids.as_mut_ptr(),
                ids.len(),
                &mut count,
                &mut length,
            )
        })
    }

    fn tokenize_places(self) -> i32 {
        let (mut ids, mut places) = ([0; 8], [StellaPlace::default(); 8]);
        let (mut count, mut length) = (StellaTokenCount::default(), 0);
        take(unsafe {
            stella_model_tokenize_places(
                self.model,
                TEXT.as_ptr(),
                TEXT.len(),
                null(),
                ids.as_mut_ptr(),
                places.as_mut_ptr(),
                ids.len(),
                &mut count,
                &mut length,
            )
        })
    }

    fn condense(self) -> i32 {
        let (mut text, mut length, mut is_enough) = (TEXT.as_bytes().to_vec(), 0, 0);
        let utf8 = text.as_mut_ptr();
        take(unsafe {
            stella_model_condense(self.model, utf8, text.len(), null_mut(), &mut length, &mut is_enough)
        })
    }

    fn new_session(self) -> i32 {
        let mut made = null_mut();
        let code = take(unsafe { stella_session_new(self.model, null(), &mut made) });
        unsafe { stella_session_free(made) };
        code
    }

    fn embed(self) -> i32 {
        let mut vector = vec![0.0; 1024];
        take(unsafe {
            stella_session_embed(
                self.session,
                IDS.as_ptr(),
                IDS.len(),
                [0, 2].as_ptr(),
                2,
                null(),
                null(),
                vector.as_mut_ptr(),
                vector.len(),
            )
        })
    }

    fn embed_tokens(self) -> i32 {
        let mut hidden = vec![0.0; IDS.len() * 64];
        take(unsafe {
            stella_session_embed_tokens(
                self.session,
                IDS.as_ptr(),
                IDS.len(),
                null(),
                0,
                null(),
                null(),
                hidden.as_mut_ptr(),
                hidden.len(),
                null_mut(),
                0,
            )
        })
    }

    /// Returns a call of every export.
    fn calls(self) -> Vec<Call<'static>> {
        let Self { model, hasher, error, .. } = self;
        unsafe {
            vec![
                call!(stella_abi_version, Number(stella_abi_version().into())),
                call!(stella_abi_struct_size, Number(stella_abi_struct_size(0) as i64)),
                call!(stella_live_handles, Number(stella_live_handles(0) as i64)),
                call!(stella_counter, Number(stella_counter(3) as i64)),
                call!(stella_error_code, Number(stella_error_code(error).into())),
                call!(stella_error_text_index, Number(stella_error_text_index(error))),
                call!(stella_error_chain_length, Number(stella_error_chain_length(error) as i64)),
                call!(stella_error_message, Number(stella_error_message(error, 0, null_mut(), 0) as i64)),
                call!(stella_hasher_new, Code(new_hasher())),
                call!(
                    stella_hasher_update,
                    Code(take(stella_hasher_update(hasher, TEXT.as_ptr(), TEXT.len())))
                ),
                call!(stella_hasher_finish, Code(self.finish_hash())),
                call!(stella_log_sink_new, Code(new_log_sink())),
                call!(stella_model_open, Code(self.open())),
                call!(stella_model_estimate, Code(self.estimate())),
                call!(stella_model_info, Code(self.info())),
                call!(
                    stella_model_dimensions,
                    Code(take(stella_model_dimensions(model, null_mut(), 0, &mut 0)))
                ),
                call!(stella_model_fingerprint, Code(self.fingerprint())),
                call!(
                    stella_model_prompt,
                    Code(take(stella_model_prompt(model, 1, &mut StellaPromptInfo::default())))
                ),
                call!(stella_model_tokenize, Code(self.tokenize())),
                call!(stella_model_condense, Code(self.condense())),
                call!(stella_model_tokenize_places, Code(self.tokenize_places())),
                call!(stella_session_new, Code(self.new_session())),
                call!(stella_session_embed, Code(self.embed())),
                call!(stella_session_embed_tokens, Code(self.embed_tokens())),
                call!(stella_error_free(null)),
                call!(stella_hasher_free(null)),
                call!(stella_log_sink_free(null)),
                call!(stella_model_free(null)),
                call!(stella_session_free(null)),
            ]
        }
    }
}

fn new_hasher() -> i32 {
    let mut made = null_mut();
    let code = take(unsafe { stella_hasher_new(&mut made) });
    unsafe { stella_hasher_free(made) };
    code
}

fn new_log_sink() -> i32 {
    let mut made = null_mut();
    let code = take(unsafe { stella_log_sink_new(Some(ignore), Some(forget), null_mut(), 0, &mut made) });
    unsafe { stella_log_sink_free(made) };
    code
}

/// Returns the names of the exports. The bindings have all of them: `symbols.rs` compares them with the sources.
fn exports() -> BTreeSet<String> {
    let bindings =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../src/StellaInterop/Interop/Abi/NativeMethods.g.cs");
    let text = std::fs::read_to_string(bindings).expect("bindings");
    text.split("EntryPoint = \"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_panic_behind_any_export_ends_at_the_boundary() {
    use Outcome::{Code, Nothing, Number};
    let _turn = turn();
    let before = live();
    let handles = Handles::new();
    let calls = handles.calls();
    let called: BTreeSet<String> = calls.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(exports(), called, "every export of the library is called here");

    for (name, call) in &calls {
        let alive = live();
        let good = call();
        arm(Stage::Boundary);
        let failed = call();
        assert!(!disarm(), "{name} has no boundary");
        match failed {
            Code(code) => assert_eq!((code, good), (ErrorCode::Panic as i32, Code(0)), "{name}"),
            // The default value, which differs from the result without a panic.
            Number(number) => assert!(number == 0 && good != Number(0), "{name}: {number}, {good:?}"),
            Nothing => {}
        }
        assert_eq!(live(), alive, "{name}");
        assert!(matches!(call(), Code(0) | Number(_) | Nothing), "{name} works again");
    }
    handles.free();
    assert_eq!(live(), before);
}
