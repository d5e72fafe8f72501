//! Tests that the error for wrong tensor names contains the expected names.
#![allow(clippy::expect_used, clippy::panic)]

mod common;

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};
use stella_core::ErrorCode;
use stella_core::files::folder::ModelFolder;
use stella_core::model::Model;
use stella_core::model_options::ModelOptions;

/// Changes the header of a safetensors file, and appends `more` to its data.
fn rewrite(path: &Path, change: impl Fn(&mut Map<String, Value>, usize), more: &[u8]) {
    let bytes = fs::read(path).expect("read");
    let end = 8 + u64::from_le_bytes(bytes[..8].try_into().expect("a length")) as usize;
    let mut header: Map<String, Value> = serde_json::from_slice(&bytes[8..end]).expect("a header");
    change(&mut header, bytes.len() - end);
    let header = Value::Object(header).to_string();
    let header = format!("{header:<width$}", width = header.len().next_multiple_of(8));
    let length = (header.len() as u64).to_le_bytes();
    fs::write(path, [&length, header.as_bytes(), &bytes[end..], more].concat()).expect("written");
}

fn renamed(header: &mut Map<String, Value>, name: impl Fn(&str) -> String) {
    let is_tensor = |key: &str| key != "__metadata__";
    *header = std::mem::take(header)
        .into_iter()
        .map(|(key, value)| if is_tensor(&key) { (name(&key), value) } else { (key, value) })
        .collect();
}

fn load(folder: &Path) -> Result<(), (ErrorCode, String)> {
    ModelFolder::open(folder, None)
        .and_then(|folder| Model::load(folder, &ModelOptions::default()))
        .map(|_| ())
        .map_err(|error| (error.code(), error.to_string()))
}

#[test]
fn an_unknown_prefix_of_all_tensor_names_is_in_the_error() {
    for model in ["tiny-new", "tiny-qwen2"] {
        for wrapper in ["_orig_mod.", "module.", "base_model.model."] {
            let dir = common::copy_of(model);
            let prefixed =
                |header: &mut Map<String, Value>, _| renamed(header, |key| format!("{wrapper}{key}"));
            rewrite(&dir.path().join("model.safetensors"), prefixed, &[]);
            let (code, text) = load(dir.path()).expect_err("wrapped");
            assert_eq!(code, ErrorCode::ModelUnsupported, "{text}");
            assert!(text.contains(wrapper) && text.contains("Supported: "), "{text}");
        }
    }
}

#[test]
fn each_missing_tensor_is_in_the_error() {
    for form in ["forms/models/new-bare", "forms/models/gte-native", "forms/models/qwen2-tf5"] {
        let source = common::fixture("..").join(form);
        let bytes = fs::read(source.join("model.safetensors")).expect("read");
        let end = 8 + u64::from_le_bytes(bytes[..8].try_into().expect("a length")) as usize;
        let header: Map<String, Value> = serde_json::from_slice(&bytes[8..end]).expect("a header");
        for name in header.keys().filter(|name| *name != "__metadata__") {
            let dir = tempfile::tempdir().expect("a folder");
            common::copy(&source, dir.path());
            let other = |key: &str| if key == name { format!("old_{key}") } else { key.to_owned() };
            rewrite(&dir.path().join("model.safetensors"), |header, _| renamed(header, other), &[]);
            let (code, text) = load(dir.path()).expect_err("missing");
            assert_eq!(code, ErrorCode::ModelInconsistent, "{text}");
            assert!(text.contains(&format!("tensor {name} is missing")), "{form}: {text}");
        }
    }
}

#[test]
fn an_additional_tensor_in_the_file_of_a_head_is_refused() {
    for name in ["residual.weight", "linear.bias2"] {
        let dir = common::copy_of("tiny-new");
        let add = |header: &mut Map<String, Value>, data: usize| {
            let entry = json!({"dtype": "F32", "shape": [1], "data_offsets": [data, data + 4]});
            header.insert(name.to_owned(), entry);
        };
        rewrite(&dir.path().join("2_Dense_256/model.safetensors"), add, &[0; 4]);
        let (code, text) = load(dir.path()).expect_err("one more");
        assert_eq!(code, ErrorCode::ModelInconsistent, "{text}");
        assert!(text.contains("2_Dense_256") && text.contains(name), "{text}");
    }
    // The configuration switches the bias off, but the file still has it.
    let dir = common::copy_of("tiny-new");
    let path = dir.path().join("2_Dense_256/config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).expect("read")).expect("JSON");
    config["bias"] = json!(false);
    fs::write(&path, config.to_string()).expect("written");
    let (_, text) = load(dir.path()).expect_err("a bias");
    assert!(text.contains("linear.bias"), "{text}");
}

#[test]
fn a_duplicate_key_is_refused_at_every_depth() {
    for (file, text) in [
        ("sentence_bert_config.json", r#"{"max_seq_length": 40, "max_seq_length": 40}"#),
        ("config_sentence_transformers.json", r#"{"prompts": {"a": "x", "a": "y"}}"#),
        ("modules.json", r#"[{"path": "", "type": "Transformer", "type": "Pooling"}]"#),
        ("tokenizer_config.json", r#"{"added_tokens_decoder": {"0": {"content": "a", "content": "b"}}}"#),
    ] {
        let dir = common::copy_of("tiny-new");
        fs::write(dir.path().join(file), text).expect("written");
        let error = ModelFolder::open(dir.path(), None)
            .and_then(|folder| Model::load(folder, &ModelOptions::default()))
            .map(|_| ())
            .expect_err("twice");
        assert!(error.chain().concat().contains("is listed twice"), "{file}: {error}");
    }
}
