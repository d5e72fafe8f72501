//! Tests that every key of every settings file is read, refused, or on the list of keys without effect on vectors.
#![allow(clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use stella_core::Result;
use stella_core::files::config::ModelConfig;
use stella_core::files::folder::ModelFolder;
use stella_core::files::layout::Layout;
use stella_core::model::Model;
use stella_core::model_options::ModelOptions;
use stella_core::text::prompt::Prompts;
use stella_core::text::text_settings::TextSettings;

/// Keys that may have any value, by file. For `modules.json` these are the keys of its entries.
const WITHOUT_EFFECT: &[(&str, &[&str])] = &[
    (
        "config.json",
        &[
            "_name_or_path",
            "attention_dropout",
            "attention_probs_dropout_prob",
            "bos_token_id",
            "classifier_dropout",
            "eos_token_id",
            "hidden_dropout_prob",
            "initializer_range",
            "logn_attention_clip1",
            "max_window_layers",
            "pad_token_id",
            "sliding_window",
            "tie_word_embeddings",
            "transformers_version",
            "unpad_inputs",
            "use_cache",
            "use_memory_efficient_attention",
        ],
    ),
    // `auto_map` has no effect if `is_causal` is set or the architecture has no causal mask.
    ("config.json", &["auto_map"]),
    ("modules.json", &["idx"]),
    ("config_sentence_transformers.json", &["__version__", "similarity_fn_name"]),
    (
        "tokenizer_config.json",
        &[
            "backend",
            "chat_template",
            "clean_up_tokenization_spaces",
            "errors",
            "is_local",
            "max_length",
            "pad_to_multiple_of",
            "pad_token_type_id",
            "padding_side",
            "stride",
            "truncation_strategy",
        ],
    ),
];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures")
}

/// The tested folders. Together they have every key of all fixtures.
const FOLDERS: [&str; 9] = [
    "models/tiny-new",
    "models/tiny-qwen2",
    "forms/models/gte-base",
    "forms/models/gte-native",
    "forms/models/gte-packed",
    "forms/models/gte-qwen2-eos-config",
    "forms/models/new-st5",
    "forms/models/new-st6-one-head",
    "forms/models/qwen2-tf5",
];

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("listed") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).expect("copied");
        }
    }
}

/// Reads all settings of a folder.
fn read(folder: &Path) -> Result<String> {
    let folder = ModelFolder::open(folder, None)?;
    let config = ModelConfig::read(&folder)?;
    let layout = Layout::read(&folder, config.hidden_size)?;
    let prompts = Prompts::read(&folder, layout.has_dense())?;
    Ok(format!("{config:?} {layout:?} {prompts:?} {:?}", TextSettings::read(&folder)?))
}

/// Returns whether the settings of the folder differ from `before`, or the folder is refused.
fn differs(folder: &Path, before: &str) -> bool {
    match read(folder) {
        Ok(after) if after == before => {
            let opened = ModelFolder::open(folder, None).expect("a folder");
            Model::load(opened, &ModelOptions::default()).is_err()
        }
        _ => true,
    }
}

/// Collects the JSON pointers of all keys of a file: its own keys, keys of objects in a list, and keys of the objects that
/// group settings.
fn keys(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (key, inner) in members {
                let place = format!("{at}/{key}");
                if ["rope_scaling", "rope_parameters", "modality_config", "text"].contains(&key.as_str()) {
                    keys(inner, &place, found);
                }
                found.push(place);
            }
        }
        Value::Array(items) => {
            items
                .iter()
                .enumerate()
                .for_each(|(at_item, item)| keys(item, &format!("{at}/{at_item}"), found));
        }
        _ => {}
    }
}

#[test]
fn every_key_of_every_settings_file_is_read_or_refused_or_listed_as_without_effect() {
    let probes =
        [json!("odd"), json!(7), json!(-0.5), json!(true), json!(false), json!(["odd"]), json!({"odd": 1})];
    let mut walked = BTreeSet::new();
    let mut ignored = BTreeSet::new();
    for source in FOLDERS.map(|folder| fixtures().join(folder)) {
        let dir = tempfile::tempdir().expect("a folder");
        copy(&source, dir.path());
        let before = read(dir.path()).expect("reads");
        let modules = fs::read_dir(dir.path()).expect("listed").map(|entry| entry.expect("an entry").path());
        let files =
            modules.flat_map(|path| if path.is_dir() { vec![path.join("config.json")] } else { vec![path] });
        for path in files.filter(|path| path.is_file()).collect::<Vec<_>>() {
            let file = path.strip_prefix(dir.path()).expect("inside").to_str().expect("UTF-8").to_owned();
            let is_settings = file.ends_with(".json")
                && !["tokenizer.json", "vocab.json", "added_tokens.json"].contains(&file.as_str());
            if !is_settings {
                continue;
            }
            let bytes = fs::read(&path).expect("read");
            let value: Value = serde_json::from_slice(&bytes).expect("JSON");
            let mut places = Vec::new();
            keys(&value, "", &mut places);
            for place in places {
                let key = place.rsplit('/').next().expect("a key").to_owned();
                walked.insert((file.clone(), key.clone()));
                let mut has_effect = false;
                for probe in &probes {
                    let mut changed = value.clone();
                    *changed.pointer_mut(&place).expect("a place") = probe.clone();
                    fs::write(&path, changed.to_string()).expect("written");
                    has_effect |=
                        *value.pointer(&place).expect("a place") != *probe && differs(dir.path(), &before);
                    if has_effect {
                        break;
                    }
                }
                if !has_effect {
                    ignored.insert((file.clone(), key));
                }
            }
            fs::write(&path, bytes).expect("restored");
        }
    }
    let is_known = |(file, key): &&(String, String)| {
        WITHOUT_EFFECT.iter().any(|(known, keys)| known == file && keys.contains(&key.as_str()))
    };
    let unknown: Vec<_> = ignored.iter().filter(|entry| !is_known(entry)).collect();
    assert!(unknown.is_empty(), "these keys are ignored: {unknown:?}");
    for (file, keys) in WITHOUT_EFFECT {
        for key in *keys {
            let entry = ((*file).to_owned(), (*key).to_owned());
            assert!(!walked.contains(&entry) || ignored.contains(&entry), "{key} of {file} has an effect");
        }
    }
    assert!(walked.len() > 100, "{} keys", walked.len());
    for (file, key) in &walked {
        let what =
            if ignored.contains(&(file.clone(), key.clone())) { "no effect" } else { "read or refused" };
        println!("{file}\t{key}\t{what}");
    }
}
