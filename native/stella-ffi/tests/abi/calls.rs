//! Whole calls: texts become vectors, calls are cancelled, and a busy session refuses a second call.

use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use stella_core::ErrorCode;
use stella_interop::model::*;
use stella_interop::session::*;
use stella_interop::tokenize::*;

use super::support::{live, turn};
use super::{Reported, fail, info, model, session, succeed, take};

#[test]
fn a_model_reports_its_shape_and_its_dimensions_and_the_same_fingerprint_twice() {
    let _turn = turn();
    unsafe {
        let model = model("tiny-new");
        let info = info(model);
        assert_eq!(
            (info.hidden_size, info.layers, info.default_dimension, info.dimension_count),
            (64, 3, 1024, 3)
        );
        assert!(info.memory_estimate > 0 && info.parameters > 0 && info.max_tokens == 512);
        let (mut dimensions, mut count) = ([0; 2], 0);
        succeed(stella_model_dimensions(model, null_mut(), 0, &mut count));
        assert_eq!(count, 3);
        succeed(stella_model_dimensions(model, dimensions.as_mut_ptr(), 2, &mut count));
        assert_eq!((dimensions, count), ([256, 768], 3), "a small buffer gets the first dimensions");
        let (mut longer, mut again) = ([0; 33], [0; 32]);
        succeed(stella_model_fingerprint(model, 0, longer.as_mut_ptr(), longer.len()));
        succeed(stella_model_fingerprint(model, 0, again.as_mut_ptr(), again.len()));
        assert_eq!((&longer[..32], longer[32]), (&again[..], 0), "only the first bytes are written");
        assert_ne!(again, [0; 32]);
        stella_model_free(model);
    }
}

#[test]
fn texts_are_embedded_after_the_handle_of_their_model_is_freed_and_a_set_flag_cancels() {
    let _turn = turn();
    let before = live();
    unsafe {
        let model = model("tiny-new");
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
        stella_model_free(model);
        let cu_seqlens = [0, counts[0].kept, found as u32];
        let mut vectors = vec![0.0; 2 * 1024];
        let mut embed = |cancel: &AtomicU32| {
            stella_session_embed(
                session,
                ids.as_ptr(),
                found,
                cu_seqlens.as_ptr(),
                cu_seqlens.len(),
                null(),
                cancel.as_ptr(),
                vectors.as_mut_ptr(),
                vectors.len(),
            )
        };
        fail(embed(&AtomicU32::new(1)), ErrorCode::Cancelled, "cancelled");
        succeed(embed(&AtomicU32::new(0)));
        for row in vectors.chunks_exact(1024) {
            let norm: f32 = row.iter().map(|x| x * x).sum();
            assert!((norm - 1.0).abs() < 1e-5, "{norm}");
        }
        stella_session_free(session);
    }
    assert_eq!(live(), before);
}

#[test]
fn dimensions_of_one_call_have_the_bits_of_calls_with_one_dimension() {
    let _turn = turn();
    unsafe {
        let model = model("tiny-new");
        let session = session(model);
        let (ids, spans) =
            ([2u32, 3, 5, 7, 11], [StellaSpan { begin: 0, end: 2 }, StellaSpan { begin: 2, end: 5 }]);
        let embed = |dimensions: &[u32]| {
            let options = StellaEmbedOptions {
                dimensions: dimensions.as_ptr(),
                dimensions_length: dimensions.len(),
                ..Default::default()
            };
            let row: u32 = dimensions.iter().sum();
            let (mut texts, mut parts) = (vec![f32::NAN; 2 * row as usize], vec![f32::NAN; 2 * row as usize]);
            let (cu, len) = ([0u32, 2, 5], texts.len());
            let (out, none) = (texts.as_mut_ptr(), null());
            succeed(stella_session_embed(session, ids.as_ptr(), 5, cu.as_ptr(), 3, &options, none, out, len));
            let (spans, hidden, out) = (spans.as_ptr(), null_mut(), parts.as_mut_ptr());
            succeed(stella_session_embed_tokens(
                session,
                ids.as_ptr(),
                5,
                spans,
                2,
                &options,
                null(),
                hidden,
                0,
                out,
                len,
            ));
            texts.into_iter().chain(parts).map(f32::to_bits).collect::<Vec<_>>()
        };
        let (small, large, both) = (embed(&[256]), embed(&[768]), embed(&[768, 256]));
        for (row, both) in both.chunks_exact(1024).enumerate() {
            assert_eq!(both[..768], large[768 * row..][..768], "row {row}");
            assert_eq!(both[768..], small[256 * row..][..256], "row {row}");
        }
        stella_session_free(session);
        stella_model_free(model);
    }
}

#[test]
fn a_busy_session_refuses_a_second_call_at_once() {
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
        // Rounds repeat until a call met another call.
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
                            Some(Reported { code, .. }) => {
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
