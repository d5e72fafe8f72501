//! Folders in every layout that the Python libraries write: ids and vectors equal those of the float64 reference.
#![allow(clippy::expect_used, clippy::panic)]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use stella_core::base::limits::MAX_MAX_TOKENS;
use stella_core::encoder::{CancelFlag, EncoderKind};
use stella_core::files::folder::ModelFolder;
use stella_core::memory_estimate::Workload;
use stella_core::model::Model;
use stella_core::model_options::{ModelOptions, Precision};
use stella_core::session::{EmbedOptions, Session, SessionOptions};
use stella_core::text::tokenizer::LongText;

fn forms() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/forms")
}

/// Returns the golden files by the name of the folder.
fn goldens() -> Vec<(String, Value)> {
    let mut all: Vec<_> = std::fs::read_dir(forms().join("golden"))
        .expect("the goldens")
        .map(|entry| {
            let path = entry.expect("an entry").path();
            let name = path.file_stem().and_then(|name| name.to_str()).expect("a name").to_owned();
            (name, serde_json::from_slice(&std::fs::read(path).expect("read")).expect("JSON"))
        })
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(all.len() >= 24, "{} forms", all.len());
    all
}

fn open(form: &str) -> ModelFolder {
    ModelFolder::open(&forms().join("models").join(form), None).expect("a folder")
}

fn load(form: &str, options: &ModelOptions) -> Arc<Model> {
    Arc::new(Model::load(open(form), options).unwrap_or_else(|e| panic!("{form}: {}", e.chain().join(": "))))
}

fn number(value: &Value) -> usize {
    value.as_u64().and_then(|n| usize::try_from(n).ok()).expect("a number")
}

#[test]
fn settings_and_prompts_of_every_form_match_its_golden() {
    for (form, golden) in goldens() {
        let model = load(&form, &ModelOptions::default());
        assert_eq!(model.max_tokens(), number(&golden["max_tokens"]).min(MAX_MAX_TOKENS), "{form}");
        let dimensions: Vec<_> =
            golden["dimensions"].as_array().expect("a list").iter().map(number).collect();
        assert_eq!(model.dimensions(), dimensions, "{form}");
        assert_eq!(model.pooling().mode.name(), golden["pooling"].as_str().expect("a mode"), "{form}");
        assert_eq!(Some(model.pooling().include_prompt), golden["include_prompt"].as_bool(), "{form}");
        let prompts = model.prompts();
        let own = prompts.all().iter().filter(|prompt| !prompt.from_card);
        let found: HashMap<&str, &str> = own.map(|p| (p.name.as_str(), p.text.as_str())).collect();
        let expected = golden["prompts"].as_object().expect("prompts");
        let expected: HashMap<_, _> =
            expected.iter().map(|(name, text)| (name.as_str(), text.as_str().expect("a text"))).collect();
        assert_eq!(found, expected, "{form}");
        let default = prompts.default().map(|at| prompts.all()[at].name.as_str());
        assert_eq!(default, golden["default_prompt"].as_str(), "{form}");
    }
}

/// Compares the vectors of all folders with their golden files, by the smallest cosine and the largest difference.
fn compare(options: &ModelOptions, least_cosine: f64, largest_difference: f64) {
    for (form, golden) in goldens() {
        if options.encoder == EncoderKind::Candle && form.contains("linear") {
            let error = Model::load(open(&form), options)
                .expect_err("candle does not support this scaling")
                .to_string();
            assert!(error.contains("The candle encoder computes factors up to"), "{error}");
            continue;
        }
        let mut models: HashMap<Option<usize>, Arc<Model>> = HashMap::new();
        let (mut cosine, mut difference) = (1f64, 0f64);
        for case in golden["cases"].as_array().expect("cases") {
            let name = format!("{form}, {}", case["name"]);
            let max_tokens = case.get("max_tokens").map(number);
            let model = models
                .entry(max_tokens)
                .or_insert_with(|| load(&form, &ModelOptions { max_tokens, ..options.clone() }));
            let mut ids = Vec::new();
            let text = case["text"].as_str().expect("a text");
            let count = model
                .tokenize([text], case["prompt"].as_str(), LongText::Truncate, &mut ids)
                .unwrap_or_else(|e| panic!("{name}: {e}"))[0];
            let expected: Vec<_> = case["token_ids"].as_array().expect("ids").iter().map(number).collect();
            assert_eq!(ids.iter().map(|&id| id as usize).collect::<Vec<_>>(), expected, "{name}");
            assert_eq!(count.total, number(&case["token_count"]), "{name}");
            assert_eq!(count.left_out, number(&case["left_out"]), "{name}");
            let mut session = Session::new(Arc::clone(model), SessionOptions::default()).expect("a session");
            for (dimension, vector) in case["vectors"].as_object().expect("vectors") {
                let expected: Vec<f64> = vector
                    .as_array()
                    .expect("a vector")
                    .iter()
                    .map(|x| x.as_f64().expect("a number"))
                    .collect();
                let mut row = vec![0.0; expected.len()];
                let dimensions = [dimension.parse().expect("a number")];
                let embed = EmbedOptions { dimensions: &dimensions, l2_normalize: false };
                let left_out = [count.left_out as u32];
                session
                    .embed(&ids, &[0, ids.len() as u32], &left_out, embed, CancelFlag::default(), &mut row)
                    .unwrap_or_else(|e| panic!("{name}: {e}"));
                let row: Vec<f64> = row.into_iter().map(f64::from).collect();
                let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
                cosine =
                    cosine.min(dot(&row, &expected) / (dot(&row, &row) * dot(&expected, &expected)).sqrt());
                difference = row.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(difference, f64::max);
            }
        }
        eprintln!("{form}: 1 - cosine {:.2e}, difference {difference:.2e}", 1.0 - cosine);
        assert!(cosine > least_cosine && difference < largest_difference, "{form}: {cosine}, {difference}");
    }
}

#[test]
fn vectors_in_f32_match_the_reference() {
    compare(&ModelOptions { precision: Precision::F32, ..ModelOptions::default() }, 0.999_999, 1e-4);
}

#[test]
fn vectors_of_candle_match_the_reference() {
    let options = ModelOptions { encoder: EncoderKind::Candle, ..ModelOptions::default() };
    compare(&options, 0.999_999, 1e-4);
}

#[test]
fn vectors_in_bf16_are_close_to_the_reference() {
    compare(&ModelOptions { precision: Precision::Bf16, ..ModelOptions::default() }, 0.999, f64::INFINITY);
}

#[test]
fn vectors_in_int8_are_close_to_the_reference() {
    compare(&ModelOptions { precision: Precision::Int8, ..ModelOptions::default() }, 0.98, f64::INFINITY);
}

#[test]
fn every_form_can_be_estimated() {
    for (form, _) in goldens() {
        let estimate = Model::estimate(open(&form), &ModelOptions::default(), &Workload::default());
        assert!(estimate.expect("an estimate").total() > 0, "{form}");
    }
}
