//! Every export refuses invalid arguments with a typed error before it computes anything.

use std::ptr::{null, null_mut};

use stella_core::ErrorCode;
use stella_interop::abi::*;
use stella_interop::counters::*;
use stella_interop::error::*;
use stella_interop::handle_counts::*;
use stella_interop::hash::*;
use stella_interop::log::*;
use stella_interop::model::*;
use stella_interop::session::*;
use stella_interop::tokenize::*;

use super::support::{forget, ignore, live, turn};
use super::{Reported, fail, folder, misaligned, model, prompt, refused, session, succeed, take};

#[test]
fn unknown_numbers_return_zero() {
    assert_eq!(stella_abi_struct_size(StellaStruct::PromptInfo as u32 + 1), 0);
    assert_eq!(stella_abi_struct_size(u32::MAX), 0);
    assert_eq!(stella_live_handles(StellaHandleKind::Hasher as u32 + 1), 0);
    assert_eq!(stella_counter(StellaCounter::Allocations as u32 + 1), 0);
}

#[test]
fn free_functions_and_error_readers_accept_null() {
    unsafe {
        stella_model_free(null_mut());
        stella_session_free(null_mut());
        stella_log_sink_free(null_mut());
        stella_hasher_free(null_mut());
        stella_error_free(null_mut());
        assert_eq!(stella_error_code(null()), 0);
        assert_eq!(stella_error_text_index(null()), -1);
        assert_eq!(stella_error_chain_length(null()), 0);
        assert_eq!(stella_error_message(null(), 0, null_mut(), 0), 0);
        assert_eq!(stella_error_code(misaligned()), 0);
    }
}

#[test]
fn open_refuses_invalid_arguments() {
    let _turn = turn();
    let before = live();
    let path = folder("tiny-new");
    let mut model = null_mut();
    let open = |path: *const u8, len, options: *const StellaModelOptions, out: *mut *mut StellaModel| unsafe {
        stella_model_open(path, len, options, null(), out)
    };
    let size = size_of::<StellaModelOptions>() as u32;
    refused(open(null(), 3, null(), &mut model), "path is null");
    refused(open(path.as_ptr(), usize::MAX, null(), &mut model), "more than memory can hold");
    refused(open(path.as_ptr(), path.len(), null(), null_mut()), "model is null");
    refused(open(path.as_ptr(), path.len(), null(), misaligned()), "model is not aligned");
    refused(open(path.as_ptr(), path.len(), misaligned(), &mut model), "options is not aligned");
    refused(open([0xff, 0xfe].as_ptr(), 2, null(), &mut model), "path is not valid UTF-8 at byte 0");
    fail(open(null(), 0, null(), &mut model), ErrorCode::ModelFolderNotFound, "does not exist");
    let wrong = ErrorCode::InvalidArgument;
    let cases = [
        (
            StellaModelOptions { size: 4, ..Default::default() },
            wrong,
            "size field of 4, but the struct has 48",
        ),
        (StellaModelOptions { size, precision: 9, ..Default::default() }, wrong, "options.precision is 9"),
        (StellaModelOptions { size, encoder: 2, ..Default::default() }, wrong, "options.encoder is 2"),
        (
            StellaModelOptions { size, precision: 2, encoder: 1, ..Default::default() },
            ErrorCode::PrecisionUnavailable,
            "bf16",
        ),
        (
            StellaModelOptions { size, max_tokens: u32::MAX, ..Default::default() },
            wrong,
            "max_tokens is 4294967295",
        ),
        (
            StellaModelOptions { size, dimension: 512, ..Default::default() },
            ErrorCode::UnknownDimension,
            "256, 768",
        ),
    ];
    for (options, code, part) in cases {
        fail(open(path.as_ptr(), path.len(), &options, &mut model), code, part);
    }
    refused(
        unsafe { stella_model_open(path.as_ptr(), path.len(), null(), misaligned(), &mut model) },
        "sink is not aligned",
    );
    assert!(model.is_null());
    assert_eq!(live(), before);
}

#[test]
fn estimate_refuses_invalid_arguments() {
    let _turn = turn();
    let path = folder("tiny-new");
    let mut estimate =
        StellaMemoryEstimate { size: size_of::<StellaMemoryEstimate>() as u32, ..Default::default() };
    let workload = StellaWorkload {
        size: size_of::<StellaWorkload>() as u32,
        max_batch_tokens: u32::MAX,
        ..Default::default()
    };
    unsafe {
        refused(
            stella_model_estimate(path.as_ptr(), path.len(), null(), &workload, &mut estimate),
            "max_batch_tokens is 4294967295",
        );
        refused(
            stella_model_estimate(path.as_ptr(), path.len(), null(), null(), null_mut()),
            "estimate is null",
        );
    }
}

#[test]
fn readers_of_a_model_refuse_invalid_arguments() {
    let _turn = turn();
    unsafe {
        let model = model("tiny-new");
        let mut info = StellaModelInfo::default();
        refused(stella_model_info(null(), &mut info), "model is null");
        refused(stella_model_info(misaligned(), &mut info), "model is not aligned");
        refused(stella_model_info(model, null_mut()), "info is null");
        refused(stella_model_info(model, &mut info), "size field of 0");

        let mut count = 0;
        refused(stella_model_dimensions(model, null_mut(), 3, &mut count), "dimensions is null");
        refused(stella_model_dimensions(model, null_mut(), 0, null_mut()), "count is null");

        let mut hash = [0u8; 32];
        refused(stella_model_fingerprint(null(), 0, hash.as_mut_ptr(), 32), "model is null");
        refused(stella_model_fingerprint(model, 0, null_mut(), 32), "fingerprint is null");
        let too_small = stella_model_fingerprint(model, 0, hash.as_mut_ptr(), 31);
        fail(too_small, ErrorCode::BufferTooSmall, "31");
        assert_eq!(hash, [0; 32]);

        let mut info = prompt(model, 1).1;
        refused(stella_model_prompt(model, 3, &mut info), "number is 3, but the model has 2 prompts");
        refused(stella_model_prompt(model, 0, &mut info), "number is 0");
        stella_model_free(model);
    }
}

#[test]
fn condense_refuses_invalid_arguments() {
    let _turn = turn();
    unsafe {
        let model = model("tiny-new");
        let (mut length, mut is_enough, mut text) = (0, 0, *b"abc\xff");
        let utf8 = text.as_mut_ptr();
        let condense = |model, utf8, len, units, length, is_enough| {
            stella_model_condense(model, utf8, len, units, length, is_enough)
        };
        refused(condense(null(), utf8, 3, null_mut(), &mut length, &mut is_enough), "model is null");
        refused(condense(model, null_mut(), 3, null_mut(), &mut length, &mut is_enough), "utf8 is null");
        refused(condense(model, utf8, 3, misaligned(), &mut length, &mut is_enough), "units is not aligned");
        refused(condense(model, utf8, 3, null_mut(), null_mut(), &mut is_enough), "length is null");
        refused(condense(model, utf8, 3, null_mut(), &mut length, null_mut()), "is_enough is null");
        let not_unicode = condense(model, utf8, 4, null_mut(), &mut length, &mut is_enough);
        fail(not_unicode, ErrorCode::TextNotUnicode, "not valid UTF-8");
        stella_model_free(model);
    }
}

#[test]
fn tokenize_refuses_invalid_arguments() {
    let _turn = turn();
    unsafe {
        let model = model("tiny-new");
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
        refused(tokenize(&[0, 9], 1, null(), 16), "text 0 goes from byte 0 to 9 of utf8, which has 4 bytes");
        refused(tokenize(&[3, 1], 1, null(), 16), "text 0 goes from byte 3 to 1");
        refused(tokenize(&[0], usize::MAX, null(), 16), "text_count is too large");
        refused(tokenize(&[0], usize::MAX / 16, null(), 16), "more than memory can hold");

        let (name, length) = ("query".as_ptr(), "query".len());
        let mut options = StellaTokenizeOptions { prompt: name, prompt_length: length, ..Default::default() };
        fail(tokenize(&[0, 3], 1, &options, 16), ErrorCode::UnknownPrompt, "s2p_query, s2s_query");
        options = StellaTokenizeOptions { prompt: [0xff].as_ptr(), prompt_length: 1, ..Default::default() };
        refused(tokenize(&[0, 3], 1, &options, 16), "options.prompt");
        options = StellaTokenizeOptions { prompt: name, prompt_length: usize::MAX, ..Default::default() };
        refused(tokenize(&[0, 3], 1, &options, 16), "more than memory can hold");
        options = StellaTokenizeOptions { long_text: 2, ..Default::default() };
        refused(tokenize(&[0, 3], 1, &options, 16), "options.long_text is 2");

        options = StellaTokenizeOptions { first_text: 40, ..Default::default() };
        let Reported { code, text_index, chain } =
            take(tokenize(&[0, 3, 4], 2, &options, 16)).expect("not UTF-8");
        assert_eq!((code, text_index), (ErrorCode::TextNotUnicode as i32, 41), "{chain:?}");
        fail(tokenize(&[0, 3], 1, null(), 1), ErrorCode::BufferTooSmall, "ids");
        assert!(found > 1, "the needed length is written");
        stella_model_free(model);
    }
}

#[test]
fn session_new_refuses_invalid_arguments() {
    let _turn = turn();
    unsafe {
        let model = model("tiny-new");
        let mut session = null_mut();
        refused(stella_session_new(null(), null(), &mut session), "model is null");
        refused(stella_session_new(model, null(), null_mut()), "session is null");
        let mut options = StellaSessionOptions { size: 12, threads: 4096, ..Default::default() };
        refused(stella_session_new(model, &options, &mut session), "threads is 4096");
        options = StellaSessionOptions { size: 12, max_batch_tokens: 1, ..Default::default() };
        refused(stella_session_new(model, &options, &mut session), "max_batch_tokens is 1");
        assert!(session.is_null());
        stella_model_free(model);
    }
}

#[test]
fn embed_refuses_invalid_batches() {
    let _turn = turn();
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
        let batches: [(&[u32], &[u32], &str); 5] = [
            (&[2, 3], &[], "cu_seqlens is empty"),
            (&[2, 3], &[0, 1], "cu_seqlens ends at 1"),
            (&[2, u32::MAX], &[0, 2], "id 4294967295 at"),
            (&[2; 513], &[0, 513], "text 0"),
            (&[2; 513], &[0, 500, 513], "513 tokens"),
        ];
        for (ids, cu_seqlens, part) in batches {
            refused(embed(ids, cu_seqlens, null(), 2048), part);
        }
        fail(embed(&[2, 3], &[0, 2], null(), 1023), ErrorCode::BufferTooSmall, "1024");
        let dimensions = [256u32, 768, 512];
        let with_dimensions = |dimensions: *const u32, dimensions_length| StellaEmbedOptions {
            dimensions,
            dimensions_length,
            ..Default::default()
        };
        let mut options = with_dimensions(dimensions.as_ptr(), 3);
        fail(embed(&[2, 3], &[0, 2], &options, 2048), ErrorCode::UnknownDimension, "256, 768 and 1024");
        options = with_dimensions(dimensions.as_ptr(), 2);
        fail(embed(&[2, 3], &[0, 2], &options, 1023), ErrorCode::BufferTooSmall, "1024");
        options = with_dimensions(null(), 2);
        refused(embed(&[2, 3], &[0, 2], &options, 2048), "options.dimensions is null");
        options = StellaEmbedOptions { raw: 2, ..Default::default() };
        refused(embed(&[2, 3], &[0, 2], &options, 2048), "options.raw is 2");
        let left_out = [1u32, 0];
        options =
            StellaEmbedOptions { left_out: left_out.as_ptr(), left_out_length: 2, ..Default::default() };
        refused(embed(&[2, 3], &[0, 2], &options, 2048), "left_out has 2 numbers for 1 texts");
        succeed(embed(&[], &[0], null(), 0));
        stella_session_free(session);
        stella_model_free(model);
    }
}

#[test]
fn embed_refuses_invalid_pointers() {
    let _turn = turn();
    unsafe {
        let model = model("tiny-new");
        let session = session(model);
        let (ids, mut vectors) = ([2u32, 3], vec![0.0f32; 1024]);
        let (ids, out) = (ids.as_ptr(), vectors.as_mut_ptr());
        let embed = |session, ids, ids_length, cancel, out| {
            stella_session_embed(session, ids, ids_length, [0u32, 2].as_ptr(), 2, null(), cancel, out, 1024)
        };
        refused(embed(null(), ids, 2, null(), out), "session is null");
        refused(embed(misaligned(), ids, 2, null(), out), "session is not aligned");
        refused(embed(session, null(), 2, null(), out), "ids is null");
        refused(embed(session, misaligned(), 2, null(), out), "ids is not aligned");
        refused(embed(session, ids, usize::MAX / 2, null(), out), "more than memory can hold");
        refused(embed(session, ids, 2, misaligned(), out), "cancel is not aligned");
        refused(embed(session, ids, 2, null(), null_mut()), "vectors is null");
        refused(embed(session, ids, 2, null(), misaligned()), "vectors is not aligned");
        succeed(embed(session, ids, 2, null(), out));
        stella_session_free(session);
        stella_model_free(model);
    }
}

#[test]
fn hasher_functions_refuse_invalid_arguments() {
    let _turn = turn();
    let before = live();
    let (mut hasher, mut hash) = (null_mut(), [0; STELLA_HASH_BYTES as usize]);
    unsafe {
        succeed(stella_hasher_new(&mut hasher));
        refused(stella_hasher_new(null_mut()), "hasher is null");
        refused(stella_hasher_update(null(), "a".as_ptr(), 1), "hasher is null");
        refused(stella_hasher_update(misaligned(), "a".as_ptr(), 1), "hasher is not aligned");
        refused(stella_hasher_update(hasher, null(), 1), "bytes is null");
        refused(stella_hasher_update(hasher, "a".as_ptr(), usize::MAX), "more than memory can hold");
        refused(stella_hasher_finish(null(), hash.as_mut_ptr(), 32), "hasher is null");
        refused(stella_hasher_finish(hasher, null_mut(), 32), "hash is null");
        fail(stella_hasher_finish(hasher, hash.as_mut_ptr(), 31), ErrorCode::BufferTooSmall, "31");
        stella_hasher_free(hasher);
    }
    assert_eq!(live(), before);
}

#[test]
fn log_sink_new_refuses_invalid_arguments() {
    let _turn = turn();
    let before = live();
    let mut sink = null_mut();
    unsafe {
        refused(stella_log_sink_new(None, Some(forget), null_mut(), 0, &mut sink), "write is null");
        refused(stella_log_sink_new(Some(ignore), None, null_mut(), 0, &mut sink), "release is null");
        refused(stella_log_sink_new(Some(ignore), Some(forget), null_mut(), 0, null_mut()), "sink is null");
    }
    assert!(sink.is_null());
    assert_eq!(live(), before);
}
