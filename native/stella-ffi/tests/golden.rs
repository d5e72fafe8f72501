//! Compares every model of the fixtures with the float64 reference, and checks the properties of sessions and tokenizers.
#![allow(clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use serde_json::Value;
use stella_core::encoder::{CancelFlag, EncoderKind};
use stella_core::model::Model;
use stella_core::model_options::{ModelOptions, Precision};
use stella_core::model_registry;
use stella_core::session::{EmbedOptions, Session, SessionOptions};
use stella_core::text::tokenizer::{LongText, Truncation};
use stella_core::{Error, ErrorCode};
use stella_kernels::cpu::CpuLevel;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Returns the folder of a fixture, or of the model that is shipped.
fn folder(name: &str) -> PathBuf {
    match name {
        "stella-mini" => root().join("src/StellaInterop.Models.Mini/model"),
        _ => root().join("tests/fixtures/models").join(name),
    }
}

/// Opens a model in 32-bit floating point, on the best instruction set of this machine.
fn open(name: &str) -> Arc<Model> {
    open_as(name, &ModelOptions { precision: Precision::F32, ..ModelOptions::default() })
}

fn open_as(name: &str, options: &ModelOptions) -> Arc<Model> {
    model_registry::open(&folder(name), options).expect("the fixture opens")
}

/// Returns the options of a precision on the kernels, for every instruction set of this machine.
fn on_every_level(precision: Precision) -> impl Iterator<Item = ModelOptions> {
    CpuLevel::available().iter().map(move |&level| ModelOptions {
        precision,
        level: Some(level),
        ..ModelOptions::default()
    })
}

fn session(model: &Arc<Model>, threads: usize) -> Session {
    let options = SessionOptions { threads: Some(threads), max_batch_tokens: Some(1 << 16) };
    Session::new(Arc::clone(model), options).expect("a session starts")
}

struct Case {
    name: String,
    text: String,
    prompt: Option<&'static str>,
    ids: Vec<u32>,
    total: usize,
    vector: Vec<f64>,
}

/// Returns the cases of a golden file, with their vectors of 256 dimensions.
fn cases(name: &str) -> Vec<Case> {
    let path = root().join("tests/fixtures/golden").join(format!("{name}.json"));
    let golden: Value = serde_json::from_slice(&std::fs::read(path).expect("the golden file")).expect("JSON");
    let rows = golden["cases"].as_array().expect("cases");
    rows.iter()
        .map(|row| Case {
            name: row["name"].as_str().expect("name").to_owned(),
            text: row["text"].as_str().expect("text").to_owned(),
            prompt: match row["prompt"].as_str() {
                Some("s2p") => Some("s2p"),
                Some("s2s") => Some("s2s"),
                _ => Some("document"),
            },
            ids: row["token_ids"]
                .as_array()
                .expect("ids")
                .iter()
                .map(|id| id.as_u64().expect("id") as u32)
                .collect(),
            total: row["token_count"].as_u64().expect("count") as usize,
            vector: row["vectors"]["256"]
                .as_array()
                .expect("256")
                .iter()
                .map(|x| x.as_f64().expect("x"))
                .collect(),
        })
        .collect()
}

/// Packs the ids of all cases into one batch. Returns the ids and `cu_seqlens`.
fn pack(cases: &[Case]) -> (Vec<u32>, Vec<u32>) {
    let mut cu_seqlens = vec![0];
    let mut ids = Vec::new();
    for case in cases {
        ids.extend_from_slice(&case.ids);
        cu_seqlens.push(ids.len() as u32);
    }
    (ids, cu_seqlens)
}

const RAW_256: EmbedOptions<'static> = EmbedOptions { dimensions: &[256], l2_normalize: false };

/// Returns the raw vectors of all cases, 256 numbers each.
fn embed_all(model: Arc<Model>, cases: &[Case]) -> Vec<f32> {
    let (ids, cu_seqlens) = pack(cases);
    let mut out = vec![0.0; cases.len() * 256];
    let options = SessionOptions { max_batch_tokens: Some(1 << 16), ..Default::default() };
    let mut session = Session::new(model, options).expect("a session starts");
    session.embed(&ids, &cu_seqlens, &[], RAW_256, CancelFlag::default(), &mut out).expect("vectors");
    out
}

/// Returns the largest difference and the cosine of a vector and the reference.
fn compare(row: &[f32], reference: &[f64]) -> (f64, f64) {
    let (mut dot, mut a, mut b, mut worst) = (0.0, 0.0, 0.0, 0.0f64);
    for (&x, &y) in row.iter().zip(reference) {
        let x = f64::from(x);
        dot += x * y;
        a += x * x;
        b += y * y;
        worst = worst.max((x - y).abs());
    }
    (worst, dot / (a * b).sqrt())
}

fn check(name: &str) {
    let model = open(name);
    let cases = cases(name);
    for case in &cases {
        let mut ids = Vec::new();
        let counts =
            model.tokenize([case.text.as_str()], case.prompt, LongText::Truncate, &mut ids).expect("tokens");
        assert_eq!(ids, case.ids, "{name}/{}: ids", case.name);
        assert_eq!((counts[0].kept, counts[0].total), (case.ids.len(), case.total), "{name}/{}", case.name);
    }
    let candle = ModelOptions { encoder: EncoderKind::Candle, ..ModelOptions::default() };
    let exact = on_every_level(Precision::F32).chain([candle]).map(|o| (o, 1e-4, 0.999_999));
    let rounded = on_every_level(Precision::Bf16).map(|o| (o, f64::INFINITY, 0.999));
    let bytes = on_every_level(Precision::Int8).map(|o| (o, f64::INFINITY, 0.99));
    for (options, largest, least) in exact.chain(rounded).chain(bytes) {
        // The tiny models cover the other instruction sets in less time.
        if name == "stella-mini" && options.level.is_some_and(|level| level != CpuLevel::preferred()) {
            continue;
        }
        let out = embed_all(open_as(name, &options), &cases);
        for (case, row) in cases.iter().zip(out.chunks_exact(256)) {
            let (worst, cosine) = compare(row, &case.vector);
            let what = format!("{name}/{} {:?} {:?}", case.name, options.precision, options.level);
            assert!(worst < largest && cosine > least, "{what}: differs by {worst}, cosine {cosine}");
        }
    }
}

#[test]
fn tiny_new_meets_the_reference() {
    check("tiny-new");
}

#[test]
fn tiny_new_f16_meets_the_reference() {
    check("tiny-new-f16");
}

#[test]
fn tiny_qwen2_meets_the_reference() {
    check("tiny-qwen2");
}

#[test]
fn tiny_qwen2_bf16_meets_the_reference() {
    check("tiny-qwen2-bf16");
}

#[test]
fn tiny_qwen2_sharded_meets_the_reference() {
    check("tiny-qwen2-sharded");
}

#[test]
fn stella_mini_meets_the_reference() {
    check("stella-mini");
}

/// Lengths around the block sizes of the kernels.
const LENGTHS: [u32; 19] = [1, 2, 5, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257, 512];

#[test]
fn a_text_has_the_same_bits_alone_and_in_a_batch_and_on_any_number_of_threads() {
    for name in ["tiny-new", "tiny-qwen2"] {
        for options in [Precision::F32, Precision::Bf16, Precision::Int8].into_iter().flat_map(on_every_level)
        {
            let model = open_as(name, &options);
            let vocabulary = model.config().vocab_size as u32;
            // Long texts take minutes on the portable level and reach no further code there.
            let longest = if options.level == Some(CpuLevel::Portable) { 129 } else { 512 };
            let lengths = LENGTHS.iter().filter(|&&n| n <= longest);
            let texts: Vec<Vec<u32>> =
                lengths.map(|&n| (0..n).map(|i| (i * 31 + n * 7) % vocabulary).collect()).collect();
            let vectors = |threads, texts: &[&Vec<u32>]| {
                let ids = texts.iter().copied().flatten().copied().collect::<Vec<_>>();
                let ends = texts.iter().scan(0, |end, text| {
                    *end += text.len() as u32;
                    Some(*end)
                });
                let cu_seqlens: Vec<u32> = [0].into_iter().chain(ends).collect();
                let mut out = vec![f32::NAN; texts.len() * 256];
                session(&model, threads)
                    .embed(&ids, &cu_seqlens, &[], RAW_256, CancelFlag::default(), &mut out)
                    .expect("vectors");
                out
            };
            let alone: Vec<_> = texts.iter().map(|text| vectors(1, &[text])).collect();
            for threads in [1, 2, 4] {
                // Batches of several sizes, each beginning with another text.
                let mut order = (0..texts.len()).cycle();
                for size in [1, 2, 3, 8, 16, 33] {
                    let batch: Vec<usize> = order.by_ref().take(size).collect();
                    let rows = vectors(threads, &batch.iter().map(|&i| &texts[i]).collect::<Vec<_>>());
                    for (&i, row) in batch.iter().zip(rows.chunks_exact(256)) {
                        let what = format!("{name} {:?} {:?}", options.precision, options.level);
                        assert!(row == alone[i], "{what}: {} tokens on {threads} threads", LENGTHS[i]);
                    }
                }
            }
        }
    }
}

#[test]
fn an_unavailable_level_and_a_precision_that_candle_lacks_are_refused() {
    let missing = CpuLevel::ALL.into_iter().find(|level| !level.is_available());
    if let Some(level) = missing {
        let options = ModelOptions { level: Some(level), ..ModelOptions::default() };
        let error = model_registry::open(&folder("tiny-new"), &options).expect_err("refused").to_string();
        assert!(error.contains(level.name()) && error.contains("portable"), "{error}");
    }
    let options =
        ModelOptions { encoder: EncoderKind::Candle, precision: Precision::Int8, ..ModelOptions::default() };
    let error = model_registry::open(&folder("tiny-new"), &options).expect_err("refused");
    assert_eq!(error.code(), ErrorCode::PrecisionUnavailable, "{error}");
}

#[test]
fn truncation_keeps_the_special_tokens_and_reports_the_full_length() {
    let options = ModelOptions { max_tokens: Some(5), ..Default::default() };
    for name in ["tiny-new", "tiny-qwen2"] {
        let model = model_registry::open(&folder(name), &options).expect("opens");
        let mut ids = Vec::new();
        let text = "the river runs under the old stone bridge";
        let count =
            model.tokenize([text], Some("document"), LongText::Truncate, &mut ids).expect("tokens")[0];
        assert!(
            count.kept == 5 && ids.len() == 5 && count.total > 5 && count.truncation == Truncation::Tokens,
            "{name}: {count:?}"
        );
        let whole = open(name);
        let mut all = Vec::new();
        whole.tokenize([text], Some("document"), LongText::Truncate, &mut all).expect("tokens");
        assert_eq!(all.len(), count.total, "{name}");
        assert_eq!(all[..4], ids[..4], "{name}");
        assert_eq!(ids[4], all[all.len() - 1], "{name}: the last special token is kept");
        let error =
            model.tokenize(["a", text], Some("document"), LongText::Error, &mut ids).expect_err("too long");
        assert!(
            matches!(error, Error::TextTooLong { index: 1, limit: 5, length, .. } if length == count.total)
        );
    }
}

#[test]
fn empty_texts_and_very_long_texts_have_finite_vectors() {
    for (name, special) in [("tiny-new", 2), ("tiny-qwen2", 1)] {
        let model = open(name);
        let mut ids = Vec::new();
        let million = "word ".repeat(200_000);
        let counts =
            model.tokenize(["", &million], Some("document"), LongText::Truncate, &mut ids).expect("tokens");
        assert_eq!(
            (counts[0].kept, counts[0].total),
            (special, special),
            "{name}: an empty text has only special tokens"
        );
        // The tokenizer reads only the first 512 * 256 bytes, and the count reports it.
        assert_eq!((counts[1].kept, counts[1].truncation), (512, Truncation::Bytes), "{name}");
        assert!(counts[1].total >= 512 * 256 / 5, "{name}: {:?}", counts[1]);
        let refused =
            model.tokenize([&*million], Some("document"), LongText::Error, &mut ids).expect_err("refused");
        assert!(refused.to_string().contains("1000000 bytes, but the limit is 131072"), "{refused}");
        let cu_seqlens = [0, special as u32, ids.len() as u32];
        let mut out = vec![0.0; 512];
        session(&model, 2)
            .embed(&ids, &cu_seqlens, &[], RAW_256, CancelFlag::default(), &mut out)
            .expect("vectors");
        assert!(
            out.iter().all(|x| x.is_finite()) && out.chunks(256).all(|row| row.iter().any(|&x| x != 0.0))
        );
    }
}

#[test]
fn options_out_of_range_are_refused_with_their_names() {
    let open_with = |options| model_registry::open(&folder("tiny-new"), &options).expect_err("refused");
    for max_tokens in [0, 8193] {
        let error = open_with(ModelOptions { max_tokens: Some(max_tokens), ..Default::default() });
        assert!(error.to_string().contains("1 to 8192"), "{error}");
    }
    let error = open_with(ModelOptions { max_tokens: Some(1), ..Default::default() });
    assert!(error.to_string().contains("2 special tokens"), "{error}");
    let error = open_with(ModelOptions { dimension: Some(512), ..Default::default() });
    assert!(error.to_string().contains("256, 768 and 1024"), "{error}");

    let model = open("tiny-new");
    let start = |threads, tokens| {
        let options = SessionOptions { threads, max_batch_tokens: tokens };
        Session::new(Arc::clone(&model), options).map(|_| ()).expect_err("refused").to_string()
    };
    assert!(start(Some(0), None).contains("threads is 0"));
    assert!(start(Some(1 << 20), None).contains("threads is 1048576"));
    assert!(start(None, Some(511)).contains("max_batch_tokens is 511"));
}

#[test]
fn a_session_can_be_used_after_a_cancelled_call() {
    let model = open("tiny-new");
    let mut session = session(&model, 1);
    let flag = AtomicU32::new(1);
    let mut out = vec![0.0; 256];
    let error = session
        .embed(&[2, 3], &[0, 2], &[], RAW_256, CancelFlag::new(Some(&flag)), &mut out)
        .expect_err("cancelled");
    assert_eq!(error.code(), ErrorCode::Cancelled);
    session.embed(&[2, 3], &[0, 2], &[], RAW_256, CancelFlag::default(), &mut out).expect("vectors");
    assert!(out.iter().any(|&x| x != 0.0));
}

#[test]
fn a_head_is_loaded_once() {
    let model = open("tiny-new");
    let heads: Vec<_> = (0..2).map(|_| model.head(768).expect("head")).collect();
    assert!(std::ptr::eq(heads[0], heads[1]));
    assert_eq!(model.head(512).expect_err("unknown").code(), ErrorCode::UnknownDimension);
}

#[test]
fn hidden_states_match_the_reference_and_spans_are_their_means() {
    for name in ["tiny-new", "tiny-qwen2"] {
        let model = open(name);
        let path = root().join("tests/fixtures/golden").join(format!("{name}.json"));
        let golden: Value =
            serde_json::from_slice(&std::fs::read(path).expect("the golden file")).expect("JSON");
        let trace = &golden["trace"];
        let all = cases(name);
        let case =
            all.iter().find(|c| c.name == trace["case"].as_str().expect("case")).expect("the traced case");
        let (mut ids, mut places) = (Vec::new(), Vec::new());
        let count = model
            .tokenize_with_places(&case.text, case.prompt, LongText::Truncate, &mut ids, &mut places)
            .expect("tokens");
        assert_eq!((&ids, count.total, places.len()), (&case.ids, case.total, ids.len()), "{name}");

        let width = model.config().hidden_size;
        let tokens = ids.len() as u32;
        let (mut hidden, mut rows) = (vec![0.0; ids.len() * width], vec![0.0; 512]);
        session(&model, 2)
            .embed_tokens(
                &ids,
                &[(0, tokens), (1, 2)],
                RAW_256,
                CancelFlag::default(),
                &mut hidden,
                &mut rows,
            )
            .expect("states");
        let last = trace["states"].as_array().expect("states").last().expect("a layer");
        let numbers = |value: &Value| -> Vec<f64> {
            value.as_array().expect("numbers").iter().map(|x| x.as_f64().expect("x")).collect()
        };
        // The reference records the last state before the final norm. Only Qwen2 has a final norm, so it cannot be compared.
        if name == "tiny-new" {
            close(&hidden[..width], &numbers(last), name);
        }
        let mean: Vec<f64> = (0..width)
            .map(|i| {
                hidden.iter().skip(i).step_by(width).map(|&x| f64::from(x)).sum::<f64>() / f64::from(tokens)
            })
            .collect();
        close(&mean.iter().map(|&x| x as f32).collect::<Vec<_>>(), &numbers(&trace["pooled"]), name);
        close(&rows[..256], &case.vector, name);

        // The head is linear, so the mean of the vectors of all tokens is the vector of the text.
        let each: Vec<(u32, u32)> = (0..tokens).map(|t| (t, t + 1)).collect();
        let mut vectors = vec![0.0; each.len() * 256];
        session(&model, 1)
            .embed_tokens(&ids, &each, RAW_256, CancelFlag::default(), &mut [], &mut vectors)
            .expect("vectors");
        assert_eq!(&vectors[256..512], &rows[256..], "{name}: a span does not depend on the others");
        let mean: Vec<f32> =
            (0..256).map(|i| vectors.iter().skip(i).step_by(256).sum::<f32>() / tokens as f32).collect();
        close(&mean, &case.vector, name);
    }
}

#[track_caller]
fn close(found: &[f32], expected: &[f64], name: &str) {
    assert_eq!(found.len(), expected.len());
    let off = found.iter().zip(expected).map(|(&f, &e)| (f64::from(f) - e).abs()).fold(0.0, f64::max);
    assert!(off < 1e-4, "{name}: off by {off}");
}

#[test]
fn places_cover_every_character_of_the_text() {
    let text = "The river 🌊 Ärger runs";
    for (name, prompt) in
        [("tiny-new", Some("document")), ("tiny-new", Some("s2p")), ("tiny-qwen2", Some("s2s"))]
    {
        let model = open(name);
        let (mut ids, mut places) = (Vec::new(), Vec::new());
        model.tokenize_with_places(text, prompt, LongText::Truncate, &mut ids, &mut places).expect("tokens");
        assert_eq!(ids.len(), places.len());
        assert!(places.iter().all(|&(b, e)| b <= e && e <= text.len()), "{name}: {places:?}");
        // The tokens together cover the text except for its spaces.
        let mut covered = vec![false; text.len()];
        for &(begin, end) in &places {
            covered[begin..end].fill(true);
        }
        for (at, c) in text.char_indices().filter(|(_, c)| !c.is_whitespace()) {
            assert!(covered[at], "{name}: no token covers {c:?} at {at}: {places:?}");
        }
    }
}
