//! The exports, called as a foreign caller would call them, good and bad.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, clippy::expect_used, clippy::panic)]

#[path = "../../stella-core/tests/common/mod.rs"]
mod common;

use std::ffi::c_void;
use std::fs;
use std::path::Path;
use std::ptr::{null, null_mut};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use stella_core::ErrorCode;
use stella_interop::abi::*;
use stella_interop::counters::*;
use stella_interop::error::*;
use stella_interop::hash::*;
use stella_interop::live::*;
use stella_interop::log::*;
use stella_interop::model::*;
use stella_interop::session::*;
use stella_interop::tokenize::*;

/// The counters of live handles belong to the process, so tests that make handles take turns.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> std::sync::MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn folder(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/models").join(name);
    path.to_str().expect("the path is UTF-8").to_owned()
}

/// Takes an error apart and frees it.
fn take(error: *mut StellaError) -> Option<(i32, i64, Vec<String>)> {
    if error.is_null() {
        return None;
    }
    unsafe {
        let chain = (0..stella_error_chain_length(error))
            .map(|level| {
                let mut text = vec![0; stella_error_message(error, level, null_mut(), 0)];
                stella_error_message(error, level, text.as_mut_ptr(), text.len());
                String::from_utf8(text).expect("messages are UTF-8")
            })
            .collect();
        let parts = (stella_error_code(error), stella_error_text_index(error), chain);
        stella_error_free(error);
        Some(parts)
    }
}

#[track_caller]
fn succeed(error: *mut StellaError) {
    if let Some(error) = take(error) {
        panic!("{error:?}");
    }
}

#[track_caller]
fn fail(error: *mut StellaError, code: ErrorCode, says: &str) {
    let (found, _, chain) = take(error).expect("an error");
    assert_eq!(found, code as i32, "{chain:?}");
    assert!(chain[0].contains(says), "{chain:?} does not say {says:?}");
}

fn model(name: &str) -> *mut StellaModel {
    let path = folder(name);
    let mut model = null_mut();
    succeed(unsafe { stella_model_open(path.as_ptr(), path.len(), null(), null(), &mut model) });
    model
}

fn session(model: *const StellaModel) -> *mut StellaSession {
    let mut session = null_mut();
    succeed(unsafe { stella_session_new(model, null(), &mut session) });
    session
}

fn live() -> [usize; 5] {
    [0, 1, 2, 3, 4].map(|kind| stella_live_handles(kind))
}

fn info(model: *const StellaModel) -> StellaModelInfo {
    let mut info = StellaModelInfo { size: size_of::<StellaModelInfo>() as u32, ..Default::default() };
    succeed(unsafe { stella_model_info(model, &mut info) });
    info
}

/// A prompt of a model: its name, and what the ABI says of it.
fn prompt<'a>(model: *const StellaModel, number: u32) -> (&'a str, StellaPromptInfo) {
    let mut info = StellaPromptInfo::default();
    succeed(unsafe { stella_model_prompt(model, number, &mut info) });
    let name = unsafe { std::slice::from_raw_parts(info.name, info.name_length) };
    (std::str::from_utf8(name).expect("UTF-8"), info)
}

/// The count that the ABI reports for one text.
fn count(model: *const StellaModel, text: &str, prompt: &str) -> StellaTokenCount {
    let (prompt, prompt_length) = (prompt.as_ptr(), prompt.len());
    let options = StellaTokenizeOptions { prompt, prompt_length, ..Default::default() };
    let (mut ids, mut count, mut found) = ([0; 512], StellaTokenCount::default(), 0);
    succeed(unsafe {
        stella_model_tokenize(
            model,
            text.as_ptr(),
            text.len(),
            [0, text.len()].as_ptr(),
            1,
            &options,
            ids.as_mut_ptr(),
            ids.len(),
            &mut count,
            &mut found,
        )
    });
    count
}

/// An address that is not null and fits no type of more than one byte.
fn misaligned<T>() -> *mut T {
    std::ptr::without_provenance_mut(0x1001)
}

#[test]
fn version_and_sizes_are_told_and_unknown_numbers_give_zero() {
    assert_eq!(stella_abi_version(), STELLA_ABI_VERSION);
    assert_eq!(stella_abi_struct_size(StellaStruct::ModelOptions as u32), 48);
    assert_eq!(stella_abi_struct_size(StellaStruct::ModelInfo as u32), 104);
    assert_eq!(stella_abi_struct_size(StellaStruct::TokenizeOptions as u32), 32);
    assert_eq!(stella_abi_struct_size(StellaStruct::TokenCount as u32), 16);
    assert_eq!(stella_abi_struct_size(StellaStruct::SessionOptions as u32), 12);
    assert_eq!(stella_abi_struct_size(StellaStruct::EmbedOptions as u32), 32);
    assert_eq!(stella_abi_struct_size(StellaStruct::Place as u32), 8);
    assert_eq!(stella_abi_struct_size(StellaStruct::Span as u32), 8);
    assert_eq!(stella_abi_struct_size(StellaStruct::Workload as u32), 16);
    assert_eq!(stella_abi_struct_size(StellaStruct::MemoryEstimate as u32), 48);
    assert_eq!(stella_abi_struct_size(StellaStruct::PromptInfo as u32), 48);
    assert_eq!(stella_abi_struct_size(11), 0);
    assert_eq!(stella_abi_struct_size(u32::MAX), 0);
    assert_eq!(stella_live_handles(5), 0);
}

#[test]
fn a_hash_is_that_of_all_pieces_and_bad_arguments_are_refused() {
    // Of "abc", from the test vectors of BLAKE3.
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

        let wrong = ErrorCode::InvalidArgument;
        fail(stella_hasher_new(null_mut()), wrong, "hasher is null");
        fail(stella_hasher_update(null(), "a".as_ptr(), 1), wrong, "hasher is null");
        fail(stella_hasher_update(misaligned(), "a".as_ptr(), 1), wrong, "hasher is not aligned");
        fail(stella_hasher_update(hasher, null(), 1), wrong, "bytes is null");
        fail(stella_hasher_update(hasher, "a".as_ptr(), usize::MAX), wrong, "bytes claims");
        fail(stella_hasher_finish(null(), hash.as_mut_ptr(), 32), wrong, "hasher is null");
        fail(stella_hasher_finish(hasher, null_mut(), 32), wrong, "hash is null");
        fail(stella_hasher_finish(hasher, hash.as_mut_ptr(), 31), ErrorCode::BufferTooSmall, "31");
        stella_hasher_free(hasher);
        stella_hasher_free(null_mut());
    }
    assert_eq!(live(), before);
}

#[test]
fn an_estimate_loads_nothing_and_a_second_opening_shares_the_first() {
    let _turn = turn();
    let path = folder("tiny-new");
    let count = |which: StellaCounter| stella_counter(which as u32);
    unsafe {
        let (loads, tensors) = (count(StellaCounter::Loads), count(StellaCounter::Tensors));
        let blank =
            || StellaMemoryEstimate { size: size_of::<StellaMemoryEstimate>() as u32, ..Default::default() };
        let (mut one, mut four) = (blank(), blank());
        succeed(stella_model_estimate(path.as_ptr(), path.len(), null(), null(), &mut one));
        let mut workload = StellaWorkload {
            size: size_of::<StellaWorkload>() as u32,
            sessions: 4,
            threads: 1,
            max_batch_tokens: 512,
        };
        succeed(stella_model_estimate(path.as_ptr(), path.len(), null(), &workload, &mut four));
        assert!(one.session > four.session && four.weights == one.weights && four.total >= 4 * four.session);
        workload.max_batch_tokens = u32::MAX;
        fail(
            stella_model_estimate(path.as_ptr(), path.len(), null(), &workload, &mut four),
            ErrorCode::InvalidArgument,
            "max_batch_tokens is 4294967295. It must be 1 to",
        );
        assert!(
            one.total > 0 && (count(StellaCounter::Loads), count(StellaCounter::Tensors)) == (loads, tensors)
        );
        fail(
            stella_model_estimate(path.as_ptr(), path.len(), null(), null(), null_mut()),
            ErrorCode::InvalidArgument,
            "estimate is null",
        );

        let (first, second) = (model("tiny-new"), model("tiny-new"));
        assert_eq!(count(StellaCounter::Loads), loads + 1);
        let held = count(StellaCounter::LiveBytes);
        stella_model_free(first);
        assert!(held - count(StellaCounter::LiveBytes) < 4096, "the second handle still holds the weights");
        stella_model_free(second);
        // The encoder of tiny-new has 249,000 parameters of at least 2 bytes.
        assert!(held - count(StellaCounter::LiveBytes) > 480_000);
        assert_eq!(stella_counter(5), 0);
    }
}

#[test]
fn live_bytes_come_back_to_where_they_were() {
    let _turn = turn();
    let cycle = || unsafe {
        let model = model("tiny-qwen2");
        let session = session(model);
        stella_session_free(session);
        stella_model_free(model);
    };
    // The first cycle fills what lives as long as the process.
    cycle();
    let before = stella_counter(StellaCounter::LiveBytes as u32);
    for _ in 0..5 {
        cycle();
    }
    let after = stella_counter(StellaCounter::LiveBytes as u32);
    assert!(after <= before + 64 * 1024, "{before} bytes before, {after} after");
}

#[test]
fn the_lengths_in_the_info_are_those_of_tokenizing() {
    let _turn = turn();
    // A prompt of 700 tokens is counted whole, though a text is cut at 512.
    let long = common::copy_of("tiny-new");
    let prompts = format!(r#"{{"prompts": {{"s2p_query": "{}"}}}}"#, "river ".repeat(700));
    fs::write(long.path().join("config_sentence_transformers.json"), prompts).expect("written");
    let long = long.path().to_str().expect("UTF-8").to_owned();
    for path in [folder("tiny-new"), folder("tiny-qwen2"), long] {
        let mut model = null_mut();
        succeed(unsafe { stella_model_open(path.as_ptr(), path.len(), null(), null(), &mut model) });
        let info = info(model);
        assert_eq!(count(model, "", "document").total, info.frame_tokens, "{path}");
        assert!(info.frame_tokens > 0);
        let prompts: Vec<_> = (1..=info.prompt_count).map(|number| prompt(model, number)).collect();
        assert_eq!(prompts.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["s2p_query", "s2s_query"]);
        let aliases = [("document", 0), ("s2p", prompts[0].1.tokens), ("s2s", prompts[1].1.tokens)];
        for (prompt, tokens) in prompts.iter().map(|(name, info)| (*name, info.tokens)).chain(aliases) {
            assert_eq!(count(model, "", prompt).total, info.frame_tokens + tokens, "{path} {prompt:?}");
            // BPE may join the end of the prompt and the beginning of the text.
            let text = count(model, "a river runs", "document").total;
            let both = count(model, "a river runs", prompt).total;
            assert!(both.abs_diff(text + tokens) <= 1, "{path} {prompt:?}: {both}");
        }
        let long = "a ".repeat(info.max_text_bytes as usize);
        let (fits, beyond) = (&long[..info.max_text_bytes as usize], &long[..=info.max_text_bytes as usize]);
        assert_ne!(count(model, fits, "document").cut, StellaCut::Bytes as u32);
        assert_eq!(count(model, beyond, "document").cut, StellaCut::Bytes as u32);
        unsafe { stella_model_free(model) };
    }
}

/// As a caller shortens a text of another encoding, which it turns into UTF-8 part by part.
#[test]
fn a_text_that_is_shortened_part_by_part_has_its_tokens_in_their_places() {
    let _turn = turn();
    let model = model("tiny-new");
    let gap = " \u{200b}".repeat(info(model).max_text_bytes as usize);
    let text = format!("a{gap}river{gap}runs");
    let (mut utf8, mut units): (Vec<u8>, Vec<u32>) = (Vec::new(), vec![0]);
    let mut begin = 0;
    while begin < text.len() {
        let end = text.floor_char_boundary(begin + gap.len() / 2);
        utf8.extend_from_slice(&text.as_bytes()[begin..end]);
        units.pop();
        units.extend(begin as u32..=end as u32);
        begin = end;
        let (mut length, mut is_enough) = (0, 9);
        succeed(unsafe {
            stella_model_condense(
                model,
                utf8.as_mut_ptr(),
                utf8.len(),
                units.as_mut_ptr(),
                &mut length,
                &mut is_enough,
            )
        });
        assert_eq!(is_enough, 0);
        utf8.truncate(length);
        units.truncate(length + 1);
    }
    let short = std::str::from_utf8(&utf8).expect("UTF-8");
    assert_eq!(short, "a river runs");
    let places: Vec<usize> =
        short.match_indices(char::is_alphabetic).map(|(at, _)| units[at] as usize).collect();
    let letters: Vec<usize> =
        text.match_indices(|c: char| c.is_ascii_alphabetic()).map(|(at, _)| at).collect();
    assert_eq!((places, units[utf8.len()] as usize), (letters, text.len()));
    assert_eq!(count(model, short, "document").total, count(model, &text, "document").total);

    let mut long = "river ".repeat(info(model).max_text_bytes as usize).into_bytes();
    let (mut length, mut is_enough) = (0, 0);
    succeed(unsafe {
        stella_model_condense(model, long.as_mut_ptr(), long.len(), null_mut(), &mut length, &mut is_enough)
    });
    assert!(is_enough == 1 && (1..16).contains(&(length as u64 - info(model).max_text_bytes)), "{length}");
    unsafe { stella_model_free(model) };
}

#[test]
fn the_file_stamp_in_the_info_changes_with_the_files_alone() {
    let _turn = turn();
    let dir = common::copy_of("tiny-new");
    let path = dir.path().to_str().expect("UTF-8");
    let stamp = || {
        let mut model = null_mut();
        let stamp = unsafe {
            succeed(stella_model_open(path.as_ptr(), path.len(), null(), null(), &mut model));
            // A model that is loaded anew and one that is shared report the same.
            let mut shared = null_mut();
            succeed(stella_model_open(path.as_ptr(), path.len(), null(), null(), &mut shared));
            let stamps = [info(model).file_stamp, info(shared).file_stamp];
            assert_eq!(stamps[0], stamps[1]);
            stella_model_free(shared);
            stamps[0]
        };
        unsafe { stella_model_free(model) };
        stamp
    };
    let first = stamp();
    assert_eq!(stamp(), first);
    let head = dir.path().join("2_Dense_256/model.safetensors");
    let file = fs::OpenOptions::new().write(true).open(&head).expect("opens");
    file.set_modified(std::time::UNIX_EPOCH).expect("touched");
    let touched = stamp();
    assert_ne!(touched, first);
    fs::copy(&head, dir.path().join("next")).expect("copied");
    fs::rename(dir.path().join("next"), &head).expect("replaced");
    assert!(stamp() != touched && stamp() != first);
}

#[test]
fn a_text_goes_through_and_every_handle_comes_back() {
    let _turn = turn();
    let before = live();
    unsafe {
        let model = model("tiny-new");
        let info = info(model);
        assert_eq!(
            (info.hidden_size, info.layers, info.default_dimension, info.dimension_count),
            (64, 3, 1024, 3)
        );
        assert!(info.memory_estimate > 0 && info.parameters > 0 && info.max_tokens == 512);
        let (mut dimensions, mut count) = ([0; 2], 0);
        succeed(stella_model_dimensions(model, dimensions.as_mut_ptr(), 2, &mut count));
        assert_eq!((dimensions, count), ([256, 768], 3));
        let (mut room, mut again) = ([0; 33], [0; 32]);
        succeed(stella_model_fingerprint(model, 0, room.as_mut_ptr(), room.len()));
        succeed(stella_model_fingerprint(model, 0, again.as_mut_ptr(), again.len()));
        assert_eq!((&room[..32], room[32]), (&again[..], 0));
        assert_ne!(again, [0; 32]);

        let text = "hello worldhi";
        let offsets = [0, 11, 13];
        let (mut ids, mut counts, mut found) = ([0; 64], [StellaTokenCount::default(); 2], 0);
        succeed(stella_model_tokenize(
            model,
            text.as_ptr(),
            text.len(),
            offsets.as_ptr(),
            2,
            null(),
            ids.as_mut_ptr(),
            ids.len(),
            counts.as_mut_ptr(),
            &mut found,
        ));
        assert_eq!(found as u32, counts[0].kept + counts[1].kept);

        let session = session(model);
        // The session keeps what it needs: the model's handle may go first.
        stella_model_free(model);
        let cu_seqlens = [0, counts[0].kept, found as u32];
        let mut vectors = vec![0.0; 2 * 1024];
        let running = AtomicU32::new(0);
        succeed(stella_session_embed(
            session,
            ids.as_ptr(),
            found,
            cu_seqlens.as_ptr(),
            cu_seqlens.len(),
            null(),
            running.as_ptr(),
            vectors.as_mut_ptr(),
            vectors.len(),
        ));
        for row in vectors.chunks_exact(1024) {
            let norm: f32 = row.iter().map(|x| x * x).sum();
            assert!((norm - 1.0).abs() < 1e-5, "{norm}");
        }
        let cancelled = AtomicU32::new(1);
        fail(
            stella_session_embed(
                session,
                ids.as_ptr(),
                found,
                cu_seqlens.as_ptr(),
                cu_seqlens.len(),
                null(),
                cancelled.as_ptr(),
                vectors.as_mut_ptr(),
                vectors.len(),
            ),
            ErrorCode::Cancelled,
            "cancelled",
        );
        stella_session_free(session);
    }
    assert_eq!(live(), before);
}

#[test]
fn free_accepts_null_and_error_readers_give_nothing_for_it() {
    unsafe {
        stella_model_free(null_mut());
        stella_session_free(null_mut());
        stella_log_sink_free(null_mut());
        stella_error_free(null_mut());
        assert_eq!(stella_error_code(null()), 0);
        assert_eq!(stella_error_text_index(null()), -1);
        assert_eq!(stella_error_chain_length(null()), 0);
        assert_eq!(stella_error_message(null(), 0, null_mut(), 0), 0);
        assert_eq!(stella_error_code(misaligned()), 0);
    }
}

#[test]
fn open_refuses_arguments_that_cannot_be() {
    let _turn = turn();
    let before = live();
    let path = folder("tiny-new");
    let mut model = null_mut();
    let open = |path: *const u8, len, options: *const StellaModelOptions, out: *mut *mut StellaModel| unsafe {
        stella_model_open(path, len, options, null(), out)
    };
    let size = size_of::<StellaModelOptions>() as u32;
    let bad = ErrorCode::InvalidArgument;
    fail(open(null(), 3, null(), &mut model), bad, "path is null");
    fail(open(path.as_ptr(), usize::MAX, null(), &mut model), bad, "more than memory can hold");
    fail(open(path.as_ptr(), path.len(), null(), null_mut()), bad, "model is null");
    fail(open(path.as_ptr(), path.len(), null(), misaligned()), bad, "model is not aligned");
    fail(
        open(path.as_ptr(), path.len(), misaligned::<StellaModelOptions>(), &mut model),
        bad,
        "options is not aligned",
    );
    fail(open([0xff, 0xfe].as_ptr(), 2, null(), &mut model), bad, "path is not valid UTF-8: byte 0");
    fail(open(null(), 0, null(), &mut model), ErrorCode::ModelFolderNotFound, "does not exist");
    let cases = [
        (
            StellaModelOptions { size: 4, ..Default::default() },
            bad,
            "has 4 bytes; in this version of the ABI it has 48",
        ),
        (StellaModelOptions { size, precision: 9, ..Default::default() }, bad, "options.precision is 9"),
        (StellaModelOptions { size, encoder: 2, ..Default::default() }, bad, "options.encoder is 2"),
        (
            StellaModelOptions { size, precision: 2, encoder: 1, ..Default::default() },
            ErrorCode::PrecisionUnavailable,
            "bf16",
        ),
        (
            StellaModelOptions { size, max_tokens: u32::MAX, ..Default::default() },
            bad,
            "max_tokens is 4294967295",
        ),
        (
            StellaModelOptions { size, dimension: 512, ..Default::default() },
            ErrorCode::UnknownDimension,
            "256, 768",
        ),
    ];
    for (options, code, says) in cases {
        fail(open(path.as_ptr(), path.len(), &options, &mut model), code, says);
    }
    fail(
        unsafe { stella_model_open(path.as_ptr(), path.len(), null(), misaligned(), &mut model) },
        bad,
        "sink is not aligned",
    );
    assert!(model.is_null());
    assert_eq!(live(), before);
}

#[test]
fn info_tokenize_and_session_refuse_arguments_that_cannot_be() {
    let _turn = turn();
    let bad = ErrorCode::InvalidArgument;
    unsafe {
        let model = model("tiny-new");
        let mut info = StellaModelInfo::default();
        fail(stella_model_info(null(), &mut info), bad, "model is null");
        fail(stella_model_info(misaligned(), &mut info), bad, "model is not aligned");
        fail(stella_model_info(model, null_mut()), bad, "info is null");
        fail(stella_model_info(model, &mut info), bad, "has 0 bytes");
        let mut count = 0;
        fail(stella_model_dimensions(model, null_mut(), 3, &mut count), bad, "dimensions is null");
        fail(stella_model_dimensions(model, null_mut(), 0, null_mut()), bad, "count is null");
        succeed(stella_model_dimensions(model, null_mut(), 0, &mut count));
        assert_eq!(count, 3);
        let mut room = [0u8; 32];
        fail(stella_model_fingerprint(null(), 0, room.as_mut_ptr(), 32), bad, "model is null");
        fail(stella_model_fingerprint(model, 0, null_mut(), 32), bad, "fingerprint is null");
        let too_small = ErrorCode::BufferTooSmall;
        fail(stella_model_fingerprint(model, 0, room.as_mut_ptr(), 31), too_small, "holds 31, 32 are needed");
        assert_eq!(room, [0; 32]);

        let (mut length, mut is_enough, mut bad_text) = (0, 0, *b"abc\xff");
        let utf8 = bad_text.as_mut_ptr();
        let condense = |model, utf8, len, units, length, is_enough| {
            stella_model_condense(model, utf8, len, units, length, is_enough)
        };
        fail(condense(null(), utf8, 3, null_mut(), &mut length, &mut is_enough), bad, "model is null");
        fail(condense(model, null_mut(), 3, null_mut(), &mut length, &mut is_enough), bad, "utf8 is null");
        fail(
            condense(model, utf8, 3, misaligned(), &mut length, &mut is_enough),
            bad,
            "units is not aligned",
        );
        fail(condense(model, utf8, 3, null_mut(), null_mut(), &mut is_enough), bad, "length is null");
        fail(condense(model, utf8, 3, null_mut(), &mut length, null_mut()), bad, "is_enough is null");
        let not_unicode = ErrorCode::TextNotUnicode;
        fail(condense(model, utf8, 4, null_mut(), &mut length, &mut is_enough), not_unicode, "byte 3");

        let text = b"abc\xff";
        let (mut ids, mut counts, mut found) = ([0u32; 16], [StellaTokenCount::default(); 2], 0);
        let mut tokenize =
            |offsets: &[usize], texts: usize, options: *const StellaTokenizeOptions, capacity| {
                stella_model_tokenize(
                    model,
                    text.as_ptr(),
                    text.len(),
                    offsets.as_ptr(),
                    texts,
                    options,
                    ids.as_mut_ptr(),
                    capacity,
                    counts.as_mut_ptr(),
                    &mut found,
                )
            };
        succeed(tokenize(&[0], 0, null(), 16));
        fail(tokenize(&[0, 9], 1, null(), 16), bad, "offsets of text 0 are 0 and 9; utf8 has 4 bytes");
        fail(tokenize(&[3, 1], 1, null(), 16), bad, "offsets of text 0 are 3 and 1");
        fail(tokenize(&[0], usize::MAX, null(), 16), bad, "text_count is too large");
        fail(tokenize(&[0], usize::MAX / 16, null(), 16), bad, "more than memory can hold");
        let (name, length) = ("query".as_ptr(), "query".len());
        let mut options = StellaTokenizeOptions { prompt: name, prompt_length: length, ..Default::default() };
        fail(
            tokenize(&[0, 3], 1, &options, 16),
            ErrorCode::UnknownPrompt,
            "Its prompts are s2p_query, s2s_query",
        );
        options = StellaTokenizeOptions { prompt: [0xff].as_ptr(), prompt_length: 1, ..Default::default() };
        fail(tokenize(&[0, 3], 1, &options, 16), bad, "options.prompt");
        options = StellaTokenizeOptions { prompt: name, prompt_length: usize::MAX, ..Default::default() };
        fail(tokenize(&[0, 3], 1, &options, 16), bad, "more than memory can hold");
        let mut info = prompt(model, 1).1;
        fail(stella_model_prompt(model, 3, &mut info), bad, "number is 3; the model has 2 prompts");
        fail(stella_model_prompt(model, 0, &mut info), bad, "number is 0");
        options = StellaTokenizeOptions { long_text: 2, ..Default::default() };
        fail(tokenize(&[0, 3], 1, &options, 16), bad, "options.long_text is 2");
        options = StellaTokenizeOptions { first_text: 40, ..Default::default() };
        let (code, index, chain) = take(tokenize(&[0, 3, 4], 2, &options, 16)).expect("not UTF-8");
        assert_eq!((code, index), (ErrorCode::TextNotUnicode as i32, 41), "{chain:?}");
        fail(tokenize(&[0, 3], 1, null(), 1), ErrorCode::BufferTooSmall, "holds 1");
        assert!(found > 1, "the needed length is told");

        let mut session = null_mut();
        fail(stella_session_new(null(), null(), &mut session), bad, "model is null");
        fail(stella_session_new(model, null(), null_mut()), bad, "session is null");
        let mut options = StellaSessionOptions { size: 12, threads: 4096, ..Default::default() };
        fail(stella_session_new(model, &options, &mut session), bad, "threads is 4096");
        options = StellaSessionOptions { size: 12, max_batch_tokens: 1, ..Default::default() };
        fail(stella_session_new(model, &options, &mut session), bad, "max_batch_tokens is 1");
        assert!(session.is_null());
        stella_model_free(model);
    }
}

#[test]
fn embed_refuses_arguments_that_cannot_be() {
    let _turn = turn();
    let bad = ErrorCode::InvalidArgument;
    unsafe {
        let model = model("tiny-new");
        let session = session(model);
        let mut out = vec![0.0f32; 2048];
        let mut embed = |ids: &[u32], cu: &[u32], options: *const StellaEmbedOptions, len: usize| {
            stella_session_embed(
                session,
                ids.as_ptr(),
                ids.len(),
                cu.as_ptr(),
                cu.len(),
                options,
                null(),
                out.as_mut_ptr(),
                len,
            )
        };
        fail(embed(&[2, 3], &[], null(), 2048), bad, "cu_seqlens is empty");
        fail(embed(&[2, 3], &[0, 1], null(), 2048), bad, "cu_seqlens ends at 1");
        fail(
            embed(&[2, u32::MAX], &[0, 2], null(), 2048),
            bad,
            "Id 4294967295 at index 1 is outside the vocabulary",
        );
        fail(embed(&[2; 513], &[0, 513], null(), 2048), bad, "tokens of text 0 is 513");
        fail(
            embed(&[2; 513], &[0, 500, 513], null(), 2048),
            bad,
            "513 tokens, but the session takes at most 512",
        );
        fail(embed(&[2, 3], &[0, 2], null(), 1023), ErrorCode::BufferTooSmall, "1024 are needed");
        let mut options = StellaEmbedOptions { dimension: 512, ..Default::default() };
        fail(embed(&[2, 3], &[0, 2], &options, 2048), ErrorCode::UnknownDimension, "256, 768 and 1024");
        options = StellaEmbedOptions { raw: 2, ..Default::default() };
        fail(embed(&[2, 3], &[0, 2], &options, 2048), bad, "options.raw is 2");
        let left_out = [1u32, 0];
        let left_out =
            StellaEmbedOptions { left_out: left_out.as_ptr(), left_out_length: 2, ..Default::default() };
        fail(embed(&[2, 3], &[0, 2], &left_out, 2048), bad, "left_out has 2 numbers for 1 texts");
        succeed(embed(&[], &[0], null(), 0));

        let call = |session, ids, ids_len, cancel, out| {
            stella_session_embed(session, ids, ids_len, [0u32, 2].as_ptr(), 2, null(), cancel, out, 1024)
        };
        let ids = [2u32, 3];
        fail(call(null(), ids.as_ptr(), 2, null(), out.as_mut_ptr()), bad, "session is null");
        fail(call(misaligned(), ids.as_ptr(), 2, null(), out.as_mut_ptr()), bad, "session is not aligned");
        fail(call(session, null(), 2, null(), out.as_mut_ptr()), bad, "ids is null");
        fail(call(session, misaligned(), 2, null(), out.as_mut_ptr()), bad, "ids is not aligned");
        fail(
            call(session, ids.as_ptr(), usize::MAX / 2, null(), out.as_mut_ptr()),
            bad,
            "more than memory can hold",
        );
        fail(call(session, ids.as_ptr(), 2, misaligned(), out.as_mut_ptr()), bad, "cancel is not aligned");
        fail(call(session, ids.as_ptr(), 2, null(), null_mut()), bad, "vectors is null");
        fail(call(session, ids.as_ptr(), 2, null(), misaligned()), bad, "vectors is not aligned");
        succeed(call(session, ids.as_ptr(), 2, null(), out.as_mut_ptr()));
        stella_session_free(session);
        stella_model_free(model);
    }
}

#[test]
fn a_session_that_is_busy_says_so_instead_of_waiting() {
    struct Shared(*const StellaSession);
    unsafe impl Sync for Shared {}

    let _turn = turn();
    unsafe {
        let model = model("tiny-qwen2");
        let shared = Shared(session(model));
        let shared = &shared;
        let (busy, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let ids = [5u32; 256 * 2];
        let cu_seqlens = [0u32, 256, 512];
        // One call lasts long enough for the others to meet it: rounds go on until that was seen.
        for _ in 0..50 {
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        let mut out = vec![0.0f32; 2 * 1024];
                        let error = stella_session_embed(
                            shared.0,
                            ids.as_ptr(),
                            ids.len(),
                            cu_seqlens.as_ptr(),
                            cu_seqlens.len(),
                            null(),
                            null(),
                            out.as_mut_ptr(),
                            out.len(),
                        );
                        match take(error) {
                            None => done.fetch_add(1, Ordering::Relaxed),
                            Some((code, ..)) => {
                                assert_eq!(code, ErrorCode::SessionBusy as i32);
                                busy.fetch_add(1, Ordering::Relaxed)
                            }
                        };
                    });
                }
            });
            if busy.load(Ordering::Relaxed) > 0 {
                break;
            }
        }
        assert!(busy.load(Ordering::Relaxed) > 0 && done.load(Ordering::Relaxed) > 0);
        stella_session_free(shared.0.cast_mut());
        stella_model_free(model);
    }
}

/// What a sink was told.
#[derive(Default)]
struct Heard {
    records: Mutex<Vec<(u32, String, String)>>,
    released: AtomicUsize,
}

unsafe extern "C" fn hear(
    heard: *mut c_void,
    level: u32,
    target: *const u8,
    tl: usize,
    message: *const u8,
    ml: usize,
) {
    let text =
        |p, len| String::from_utf8(unsafe { std::slice::from_raw_parts(p, len) }.to_vec()).expect("UTF-8");
    let heard = unsafe { &*heard.cast::<Heard>() };
    heard.records.lock().expect("lock").push((level, text(target, tl), text(message, ml)));
}

unsafe extern "C" fn release(heard: *mut c_void) {
    unsafe { &*heard.cast::<Heard>() }.released.fetch_add(1, Ordering::SeqCst);
}

#[test]
fn records_reach_the_sink_of_their_model_until_the_last_user_is_gone() {
    let _turn = turn();
    let (loud, quiet) = (Heard::default(), Heard::default());
    let before = live();
    unsafe {
        let new_sink = |heard: &Heard, level| {
            let mut sink = null_mut();
            let user = std::ptr::from_ref(heard).cast_mut().cast();
            succeed(stella_log_sink_new(Some(hear), Some(release), user, level, &mut sink));
            sink
        };
        let path = folder("tiny-new");
        let open = |sink| {
            let mut model = null_mut();
            succeed(stella_model_open(path.as_ptr(), path.len(), null(), sink, &mut model));
            model
        };
        let (loud_sink, quiet_sink) = (new_sink(&loud, 0), new_sink(&quiet, 3));
        let (first, second) = (open(loud_sink), open(quiet_sink));
        let heard = loud.records.lock().expect("lock").clone();
        assert!(heard.iter().any(|(level, target, text)| {
            *level == 2 && target.starts_with("stella_core") && text.contains("NewModel with 3 layers")
        }));
        assert!(quiet.records.lock().expect("lock").is_empty(), "information is below warning");

        stella_log_sink_free(loud_sink);
        let session = session(first);
        assert!(
            loud.records.lock().expect("lock").len() > heard.len(),
            "the freed handle did not end the sink"
        );
        stella_model_free(first);
        assert_eq!(loud.released.load(Ordering::SeqCst), 0);
        stella_session_free(session);
        // The session's threads end on their own; the last one lets go of the sink.
        for _ in 0..1000 {
            if loud.released.load(Ordering::SeqCst) > 0 {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert_eq!(loud.released.load(Ordering::SeqCst), 1);
        stella_log_sink_free(quiet_sink);
        stella_model_free(second);
        assert_eq!(quiet.released.load(Ordering::SeqCst), 1);

        let mut sink = null_mut();
        let bad = ErrorCode::InvalidArgument;
        fail(stella_log_sink_new(None, Some(release), null_mut(), 0, &mut sink), bad, "write is null");
        fail(stella_log_sink_new(Some(hear), None, null_mut(), 0, &mut sink), bad, "release is null");
        fail(stella_log_sink_new(Some(hear), Some(release), null_mut(), 0, null_mut()), bad, "sink is null");
    }
    assert_eq!(live(), before);
}

#[test]
fn causes_of_an_error_come_in_order() {
    let _turn = turn();
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join("config.json"), "{").expect("written");
    let path = dir.path().to_str().expect("UTF-8");
    let mut model = null_mut();
    let error = unsafe { stella_model_open(path.as_ptr(), path.len(), null(), null(), &mut model) };
    let (code, index, chain) = take(error).expect("refused");
    assert_eq!((code, index, chain.len()), (ErrorCode::ModelFileInvalid as i32, -1, 2));
    assert!(chain[0].contains("config.json") && chain[1].contains("EOF"), "{chain:?}");
}

#[test]
fn a_message_is_cut_to_the_buffer_and_its_whole_length_told() {
    let _turn = turn();
    unsafe {
        let error = stella_model_info(null(), null_mut());
        let mut small = [0u8; 5];
        assert_eq!(stella_error_message(error, 0, small.as_mut_ptr(), 5), "model is null".len());
        assert_eq!(&small, b"model");
        assert_eq!(stella_error_message(error, 1, small.as_mut_ptr(), 5), 0);
        stella_error_free(error);
    }
}
