//! Tests that incomplete and inconsistent model folders are refused with the name of the file.
#![allow(clippy::expect_used, clippy::panic)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::copy_of;
use stella_core::ErrorCode;
use stella_core::model_options::ModelOptions;
use stella_core::model_registry;

#[track_caller]
fn refused(folder: &Path, code: ErrorCode, says: &[&str]) {
    let error = model_registry::open(folder, &ModelOptions::default()).expect_err("refused");
    assert_eq!(error.code(), code, "{error}");
    let chain = error.chain().join(" / ");
    for part in says {
        assert!(chain.contains(part), "{chain:?} does not say {part:?}");
    }
}

fn edit(path: &PathBuf, from: &str, to: &str) {
    let text = fs::read_to_string(path).expect("read");
    assert!(text.contains(from), "{from} is not in {}", path.display());
    fs::write(path, text.replacen(from, to, 1)).expect("written");
}

#[test]
fn the_error_for_a_missing_file_has_its_name() {
    let files = [
        "config.json",
        "tokenizer.json",
        "modules.json",
        "model.safetensors",
        "1_Pooling/config.json",
        "2_Dense_1024/config.json",
        "2_Dense_1024/model.safetensors",
    ];
    for file in files {
        let dir = copy_of("tiny-new");
        fs::remove_file(dir.path().join(file)).expect("removed");
        refused(dir.path(), ErrorCode::ModelFileMissing, &[file, "is missing"]);
    }
    let dir = copy_of("tiny-qwen2-sharded");
    fs::remove_file(dir.path().join("model-00002-of-00002.safetensors")).expect("removed");
    refused(dir.path(), ErrorCode::ModelFileMissing, &["model-00002-of-00002.safetensors"]);
}

#[test]
fn optional_files_may_be_missing() {
    let dir = copy_of("tiny-new");
    for file in ["config_sentence_transformers.json", "sentence_bert_config.json"] {
        fs::remove_file(dir.path().join(file)).expect("removed");
    }
    fs::remove_dir_all(dir.path().join("2_Dense_256")).expect("removed");
    let model = model_registry::open(dir.path(), &ModelOptions::default()).expect("opens");
    assert_eq!(model.dimensions(), [768, 1024]);
}

#[test]
fn the_error_for_settings_that_contradict_the_weights_has_the_setting_or_tensor() {
    let cases = [
        ("config.json", "\"num_hidden_layers\": 3", "\"num_hidden_layers\": 4", "layer.3"),
        (
            "config.json",
            "\"intermediate_size\": 128",
            "\"intermediate_size\": 64",
            "up_gate_proj.weight has the shape",
        ),
        (
            "config.json",
            "\"vocab_size\": 1216",
            "\"vocab_size\": 1200",
            "word_embeddings.weight has the shape",
        ),
        ("2_Dense_768/config.json", "\"in_features\": 64", "\"in_features\": 32", "in_features is 32"),
        (
            "2_Dense_768/config.json",
            "\"out_features\": 768",
            "\"out_features\": 769",
            "linear.weight has the shape",
        ),
    ];
    for (file, from, to, says) in cases {
        let dir = copy_of("tiny-new");
        edit(&dir.path().join(file), from, to);
        refused(dir.path(), ErrorCode::ModelInconsistent, &[says]);
    }
}

#[test]
fn the_error_for_a_damaged_file_has_its_name() {
    for file in ["config.json", "tokenizer.json", "modules.json", "2_Dense_256/config.json"] {
        let dir = copy_of("tiny-new");
        let path = dir.path().join(file);
        let half = fs::read(&path).expect("read");
        fs::write(&path, &half[..half.len() / 2]).expect("written");
        let code =
            if file == "tokenizer.json" { ErrorCode::TokenizerInvalid } else { ErrorCode::ModelFileInvalid };
        refused(dir.path(), code, &[file, "EOF"]);
    }
    for file in ["model.safetensors", "2_Dense_256/model.safetensors"] {
        let dir = copy_of("tiny-new");
        let path = dir.path().join(file);
        let bytes = fs::read(&path).expect("read");
        fs::write(&path, &bytes[..bytes.len() - 1]).expect("written");
        refused(dir.path(), ErrorCode::ModelFileInvalid, &[file, "offsets"]);
    }
}

#[test]
fn a_weight_that_is_not_finite_is_refused_at_load() {
    let dir = copy_of("tiny-new");
    let path = dir.path().join("model.safetensors");
    let mut bytes = fs::read(&path).expect("read");
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::INFINITY.to_le_bytes());
    fs::write(&path, bytes).expect("written");
    refused(dir.path(), ErrorCode::ModelFileInvalid, &["model.safetensors", "inf", "finite"]);
}

#[test]
fn a_tokenizer_with_an_id_outside_the_vocabulary_is_refused() {
    let dir = copy_of("tiny-new");
    edit(&dir.path().join("tokenizer.json"), "\"the\": 269", "\"the\": 5000");
    refused(dir.path(), ErrorCode::TokenizerInvalid, &["tokenizer.json", "5000", "1216"]);
}

#[test]
fn an_inconsistent_head_is_refused_for_any_requested_dimension() {
    let dir = copy_of("tiny-new");
    edit(&dir.path().join("2_Dense_256/config.json"), "\"out_features\": 256", "\"out_features\": 255");
    let options = ModelOptions { dimension: Some(256), ..ModelOptions::default() };
    let error = model_registry::open(dir.path(), &options).expect_err("refused");
    assert_eq!(error.code(), ErrorCode::ModelInconsistent, "{error}");
}

#[test]
fn a_token_limit_above_the_positions_of_the_model_is_refused_with_the_file() {
    let dir = copy_of("tiny-new");
    edit(
        &dir.path().join("config.json"),
        "\"max_position_embeddings\": 8192",
        "\"max_position_embeddings\": 16",
    );
    let open = |max_tokens| {
        model_registry::open(
            dir.path(),
            &ModelOptions { max_tokens: Some(max_tokens), ..ModelOptions::default() },
        )
    };
    let error = open(17).expect_err("refused");
    assert_eq!(error.code(), ErrorCode::InvalidArgument, "{error}");
    assert!(
        error.to_string().contains("16 positions according to") && error.to_string().contains("config.json"),
        "{error}"
    );
    open(16).expect("opens");
}
