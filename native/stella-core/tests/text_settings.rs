//! Tests the text settings besides `tokenizer.json`: each is applied, agrees with the tokenizer, or is refused with a reason.
#![allow(clippy::expect_used, clippy::panic)]

mod common;

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use stella_core::ErrorCode::{self, ModelFileInvalid, ModelInconsistent, ModelUnsupported, TokenizerInvalid};
use stella_core::files::folder::ModelFolder;
use stella_core::files::hash::{Algorithm, Hasher};
use stella_core::model::Model;
use stella_core::model_options::ModelOptions;

const CONFIG: &str = "tokenizer_config.json";
const TOKENIZER: &str = "tokenizer.json";
const MAP: &str = "special_tokens_map.json";
const SENTENCE: &str = "sentence_bert_config.json";

/// A folder with a BERT tokenizer and all files with settings.
const BERT: &str = "gte-base";
/// A folder with the Qwen2 tokenizer, whose template adds the end token.
const TEMPLATE: &str = "gte-qwen2-template";
/// A folder with the Qwen2 tokenizer, to which a setting adds the end token.
const SETTING: &str = "gte-qwen2-eos-config";

/// An edit: the file, the key as a JSON pointer, and its value. `null` removes the key.
type Edit<'a> = (&'static str, &'a str, Value);

fn edit(folder: &Path, (file, pointer, value): &Edit) {
    let path = folder.join(file);
    let mut whole: Value = match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).expect("JSON"),
        Err(_) => json!({}),
    };
    let Some((parent, key)) = pointer.rsplit_once('/') else {
        fs::write(path, value.to_string()).expect("written");
        return;
    };
    let parent = whole.pointer_mut(parent).expect("a parent");
    match parent {
        Value::Object(members) if value.is_null() => drop(members.remove(key)),
        parent => parent[key] = value.clone(),
    }
    fs::write(path, whole.to_string()).expect("written");
}

/// Loads a copy of a fixture folder after some edits. Returns its token limit, or the error.
fn load(form: &str, edits: &[Edit]) -> Result<usize, (ErrorCode, String)> {
    let dir = tempfile::tempdir().expect("a folder");
    common::copy(&common::fixture("../forms/models").join(form), dir.path());
    edits.iter().for_each(|e| edit(dir.path(), e));
    ModelFolder::open(dir.path(), None)
        .and_then(|folder| Model::load(folder, &ModelOptions::default()))
        .map(|model| model.max_tokens())
        .map_err(|error| (error.code(), error.to_string()))
}

fn refused(form: &str, edits: &[Edit], code: ErrorCode, says: &[&str]) {
    match load(form, edits) {
        Ok(_) => panic!("{form} with {edits:?} loads"),
        Err((found, text)) => {
            assert_eq!(found, code, "{text}");
            assert!(says.iter().all(|part| text.contains(part)), "{text} lacks one of {says:?}");
        }
    }
}

#[test]
fn the_token_limit_comes_from_the_first_file_that_sets_one() {
    let roberta = "sentence_roberta_config.json";
    for (edits, limit) in [
        (vec![(SENTENCE, "/max_seq_length", json!(40))], 40),
        (vec![(SENTENCE, "/max_seq_length", json!(40)), (roberta, "/max_seq_length", json!(30))], 40),
        // The first file has no limit, but it exists, so the next one is not read.
        (
            vec![
                (SENTENCE, "/max_seq_length", Value::Null),
                (roberta, "/max_seq_length", json!(30)),
                (CONFIG, "/model_max_length", json!(50)),
            ],
            50,
        ),
        (vec![(SENTENCE, "/max_seq_length", Value::Null), (CONFIG, "/model_max_length", json!(1e30))], 512),
        // sentence-transformers skips a file whose object is empty.
        (vec![(SENTENCE, "", json!({})), (roberta, "/max_seq_length", json!(30))], 30),
        // The positions of the model reduce the limit.
        (
            vec![
                (SENTENCE, "/max_seq_length", json!(9000)),
                ("config.json", "/max_position_embeddings", json!(70)),
            ],
            70,
        ),
        (
            vec![
                (SENTENCE, "/max_seq_length", json!(9000)),
                ("config.json", "/max_position_embeddings", json!(9000)),
            ],
            8192,
        ),
    ] {
        assert_eq!(load(BERT, &edits).expect("loads"), limit, "{edits:?}");
    }
}

#[test]
fn the_error_for_an_impossible_token_limit_has_its_file() {
    for (edits, code, says) in [
        (
            vec![(SENTENCE, "/max_seq_length", json!(1))],
            ModelInconsistent,
            [SENTENCE, "max_seq_length is 1, but"],
        ),
        (vec![(SENTENCE, "/max_seq_length", json!(0))], ModelFileInvalid, [SENTENCE, "max_seq_length is 0"]),
        (
            vec![(SENTENCE, "/max_seq_length", Value::Null), (CONFIG, "/model_max_length", json!(1))],
            ModelInconsistent,
            [CONFIG, "model_max_length is 1, but"],
        ),
        (
            vec![("config.json", "/max_position_embeddings", json!(1))],
            ModelInconsistent,
            ["config.json", "max_position_embeddings is 1, but"],
        ),
        (vec![(CONFIG, "/model_max_length", json!(0))], ModelFileInvalid, [CONFIG, "model_max_length is 0"]),
        (
            vec![(CONFIG, "/model_max_length", json!(-1))],
            ModelFileInvalid,
            [CONFIG, "model_max_length is -1"],
        ),
        (
            vec![(CONFIG, "/model_max_length", json!(0.5))],
            ModelFileInvalid,
            [CONFIG, "model_max_length is 0.5"],
        ),
    ] {
        refused(BERT, &edits, code, &says);
    }
}

#[test]
fn flags_of_the_bert_class_and_their_defaults_must_agree_with_the_normalizer() {
    let bert = json!({
        "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true
    });
    let cased = |strip: Value| {
        let mut bert = bert.clone();
        bert["lowercase"] = json!(false);
        bert["strip_accents"] = strip;
        bert
    };
    for edits in [
        vec![(CONFIG, "/do_lower_case", Value::Null)],
        vec![(CONFIG, "/strip_accents", json!(true))],
        vec![(
            TOKENIZER,
            "/normalizer",
            json!({"type": "Sequence", "normalizers": [{"type": "NFC"}, bert.clone()]}),
        )],
        vec![(TOKENIZER, "/normalizer", cased(Value::Null)), (CONFIG, "/do_lower_case", json!(false))],
        vec![
            (TOKENIZER, "/normalizer", cased(json!(true))),
            (CONFIG, "/do_lower_case", json!(false)),
            (CONFIG, "/strip_accents", json!(true)),
        ],
        // Another tokenizer class has no such flags.
        vec![
            (TOKENIZER, "/normalizer", cased(Value::Null)),
            (CONFIG, "/tokenizer_class", json!("PreTrainedTokenizerFast")),
        ],
    ] {
        load(BERT, &edits).unwrap_or_else(|(_, text)| panic!("{edits:?}: {text}"));
    }
    for (edits, says) in [
        (vec![(CONFIG, "/do_lower_case", json!(false))], "do_lower_case is false, but true"),
        // A missing flag has the default of the BERT class.
        (
            vec![(TOKENIZER, "/normalizer", cased(Value::Null)), (CONFIG, "/do_lower_case", Value::Null)],
            "do_lower_case is true, but false",
        ),
        (
            vec![
                (TOKENIZER, "/normalizer", cased(json!(true))),
                (CONFIG, "/do_lower_case", json!(false)),
                (CONFIG, "/strip_accents", Value::Null),
            ],
            "strip_accents is false, but true",
        ),
        (
            vec![(CONFIG, "/tokenize_chinese_chars", json!(false))],
            "tokenize_chinese_chars is false, but true",
        ),
        (
            vec![(
                TOKENIZER,
                "/normalizer",
                json!({"type": "Sequence", "normalizers": [cased(Value::Null)]}),
            )],
            "do_lower_case is true, but false",
        ),
        (vec![(TOKENIZER, "/normalizer", json!({"type": "NFC"}))], "tokenizer_class is BertTokenizer, but"),
        (
            vec![
                (TOKENIZER, "/normalizer", json!({"type": "NFC"})),
                (CONFIG, "/tokenizer_class", Value::Null),
            ],
            "do_lower_case is true, but",
        ),
        (
            vec![
                (TOKENIZER, "/normalizer", json!({"type": "NFC"})),
                (CONFIG, "/tokenizer_class", Value::Null),
                (CONFIG, "/do_lower_case", Value::Null),
                (CONFIG, "/strip_accents", json!(true)),
            ],
            "strip_accents is true, but",
        ),
    ] {
        refused(BERT, &edits, ModelInconsistent, &[CONFIG, says]);
    }
}

#[test]
fn parts_that_a_tokenizer_class_builds_itself_must_agree_with_tokenizer_json() {
    let split = |pattern: &str, prefix_space: bool| {
        json!({"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false},
            {"type": "ByteLevel", "add_prefix_space": prefix_space, "trim_offsets": false, "use_regex": false},
        ]})
    };
    for (form, edits, says) in [
        (BERT, vec![(TOKENIZER, "/normalizer/clean_text", json!(false))], "clean_text"),
        (BERT, vec![(TOKENIZER, "/pre_tokenizer", json!({"type": "Whitespace"}))], "BertPreTokenizer"),
        (
            BERT,
            vec![(TOKENIZER, "/model/max_input_chars_per_word", json!(3))],
            "max_input_chars_per_word 100",
        ),
        (
            BERT,
            vec![(TOKENIZER, "/model/continuing_subword_prefix", json!("@@"))],
            "continuing_subword_prefix",
        ),
        (BERT, vec![(TOKENIZER, "/post_processor", Value::Null)], "\"[CLS]\" before and \"[SEP]\" after"),
        (
            BERT,
            vec![(CONFIG, "/cls_token", json!("[MASK]")), (MAP, "/cls_token", json!("[MASK]"))],
            "\"[MASK]\" before and \"[SEP]\" after",
        ),
        (
            BERT,
            vec![(CONFIG, "/unk_token", json!("[MASK]")), (MAP, "/unk_token", json!("[MASK]"))],
            "the unk_token \"[MASK]\"",
        ),
        (TEMPLATE, vec![(TOKENIZER, "/normalizer", Value::Null)], "the normalizer NFC"),
        (TEMPLATE, vec![(TOKENIZER, "/pre_tokenizer", split(".", false))], "the pattern of Qwen2"),
        (
            TEMPLATE,
            vec![(TOKENIZER, "/pre_tokenizer", split(".", true))],
            "add_prefix_space is false, but true",
        ),
        (TEMPLATE, vec![(CONFIG, "/add_prefix_space", json!(true))], "add_prefix_space is true, but false"),
    ] {
        refused(form, &edits, ModelInconsistent, &[CONFIG, says]);
    }
    let parts = "/pre_tokenizer/pretokenizers";
    for (part, value) in
        [("0/behavior", json!("Removed")), ("0/invert", json!(true)), ("1/use_regex", json!(true))]
    {
        let edits = [(TOKENIZER, &*format!("{parts}/{part}"), value)];
        refused(TEMPLATE, &edits, ModelInconsistent, &[CONFIG, "the pattern of Qwen2"]);
    }
    let other_class = (CONFIG, "/tokenizer_class", json!("PreTrainedTokenizerFast"));
    load(BERT, &[other_class.clone(), (TOKENIZER, "/normalizer/clean_text", json!(false))])
        .expect("other classes run the parts unchanged");
    load(TEMPLATE, &[other_class, (TOKENIZER, "/pre_tokenizer", split(".", false))])
        .expect("other classes run the parts unchanged");
}

#[test]
fn truncation_on_the_left_and_further_modalities_are_refused() {
    let left = json!({"direction": "Left", "max_length": 64, "strategy": "LongestFirst", "stride": 0});
    refused(
        BERT,
        &[(TOKENIZER, "/truncation", left)],
        TokenizerInvalid,
        &["truncation.direction is \"Left\""],
    );
    refused(
        BERT,
        &[(CONFIG, "/truncation_side", json!("left"))],
        ModelUnsupported,
        &["truncation_side is \"left\""],
    );
    let form = "new-st6-one-head";
    load(form, &[]).expect("loads");
    for (key, says) in [("message", "modality_config.message"), ("image", "modality_config.image")] {
        let pointer = format!("/modality_config/{key}");
        let value = json!({"method": "forward", "method_output_name": "last_hidden_state"});
        let edits = [
            (SENTENCE, "/modality_config", json!({"text": value.clone()})),
            (SENTENCE, pointer.as_str(), value),
        ];
        refused(form, &edits, ModelUnsupported, &[SENTENCE, says]);
    }
}

#[test]
fn special_tokens_that_tokenizer_json_lacks_are_refused() {
    let unlisted = "the";
    for (file, key, value) in [
        (CONFIG, "/bos_token", json!(unlisted)),
        (CONFIG, "/eos_token", json!({"content": unlisted, "special": true})),
        (CONFIG, "/additional_special_tokens", json!(["[PAD]", unlisted])),
        (CONFIG, "/extra_special_tokens", json!({"image_token": unlisted})),
        (CONFIG, "/model_specific_special_tokens", json!({"image_token": "<image>"})),
        (MAP, "/additional_special_tokens", json!([unlisted])),
        (MAP, "/bos_token", json!("<s>")),
    ] {
        let says = [file, key.trim_start_matches('/'), "added_tokens"];
        refused(BERT, &[(file, key, value)], ModelInconsistent, &says);
    }
    // The token is in the vocabulary with this id, but it is not an added token.
    let vocabulary: Value = serde_json::from_slice(
        &fs::read(common::fixture("../forms/models").join(BERT).join(TOKENIZER)).expect("read"),
    )
    .expect("JSON");
    let (token, id) = vocabulary["model"]["vocab"]
        .as_object()
        .expect("a vocabulary")
        .iter()
        .find(|(token, _)| token.chars().all(|c| c.is_ascii_alphabetic()))
        .expect("a word");
    let added = json!({id.to_string(): {"content": token, "special": true}});
    refused(
        BERT,
        &[(CONFIG, "/added_tokens_decoder", added)],
        ModelInconsistent,
        &[CONFIG, token, "added_tokens"],
    );
    refused(
        BERT,
        &[("added_tokens.json", &format!("/{token}"), id.clone())],
        ModelInconsistent,
        &["added_tokens.json", token],
    );
    refused(
        BERT,
        &[("added_tokens.json", "/[PAD]", json!(7))],
        ModelInconsistent,
        &["added_tokens.json", "[PAD]", "7"],
    );
    refused(
        BERT,
        &[(CONFIG, "/added_tokens_decoder/0/lstrip", json!(true))],
        ModelInconsistent,
        &["lstrip of the token \"[PAD]\" is true, but false"],
    );
    refused(
        BERT,
        &[(MAP, "/pad_token", json!("[MASK]"))],
        ModelInconsistent,
        &[MAP, "pad_token is \"[MASK]\", but \"[PAD]\" in tokenizer_config.json"],
    );
}

#[test]
fn settings_for_special_tokens_around_a_text_must_agree_with_the_tokenizer_or_its_code() {
    load(TEMPLATE, &[(CONFIG, "/add_eos_token", json!(true))]).expect("the setting agrees with the template");
    load(SETTING, &[]).expect("tokenizer code of the folder applies the setting");
    let without_code = [(CONFIG, "/add_eos_token", json!(false)), (CONFIG, "/auto_map", Value::Null)];
    load(TEMPLATE, &without_code).expect("only tokenizer code reads the setting");
    for (form, edits, code, says) in [
        (
            TEMPLATE,
            vec![
                (CONFIG, "/add_eos_token", json!(false)),
                (CONFIG, "/auto_map", json!({"AutoTokenizer": ["a.Slow", "a.Fast"]})),
            ],
            ModelInconsistent,
            "add_eos_token is false, but tokenizer.json adds id",
        ),
        (
            SETTING,
            vec![(CONFIG, "/auto_map", Value::Null)],
            ModelUnsupported,
            "auto_map names no code for AutoTokenizer",
        ),
        (
            SETTING,
            vec![(CONFIG, "/eos_token", Value::Null), (MAP, "/eos_token", Value::Null)],
            ModelFileInvalid,
            "eos_token is missing",
        ),
        (
            TEMPLATE,
            vec![
                (CONFIG, "/add_eos_token", json!(true)),
                (CONFIG, "/eos_token", json!("<|im_end|>")),
                (MAP, "/eos_token", Value::Null),
            ],
            ModelInconsistent,
            "The end token is \"<|im_end|>\"",
        ),
        (
            TEMPLATE,
            vec![(CONFIG, "/add_bos_token", json!(true))],
            ModelInconsistent,
            "add_bos_token is true, but tokenizer.json adds no token before a text",
        ),
    ] {
        refused(form, &edits, code, &[CONFIG, says]);
    }
}

#[test]
fn a_settings_file_that_the_manifest_does_not_list_is_refused() {
    for file in [CONFIG, MAP, SENTENCE, "added_tokens.json", "config_sentence_transformers.json"] {
        let dir = common::copy_of("tiny-new");
        if !dir.path().join(file).exists() {
            fs::write(dir.path().join(file), "{}").expect("written");
        }
        let listed: serde_json::Map<String, Value> =
            ["", "1_Pooling/", "2_Dense_1024/", "2_Dense_256/", "2_Dense_768/"]
                .iter()
                .flat_map(|folder| {
                    let entries = fs::read_dir(dir.path().join(folder)).into_iter().flatten();
                    entries.map(move |entry| (folder, entry.expect("an entry")))
                })
                .filter(|(_, entry)| entry.path().is_file() && entry.file_name() != file)
                .map(|(folder, entry)| {
                    let bytes = fs::read(entry.path()).expect("read");
                    let mut hash = Hasher::new(Algorithm::Sha256);
                    hash.update(&bytes);
                    let digits: String = hash.finish().iter().map(|byte| format!("{byte:02x}")).collect();
                    let name = format!("{folder}{}", entry.file_name().to_str().expect("UTF-8"));
                    (name, json!({"size": bytes.len(), "sha256": digits}))
                })
                .collect();
        let manifest = json!({"version": 1, "files": listed});
        fs::write(dir.path().join("stella.manifest.json"), manifest.to_string()).expect("written");
        let loaded = ModelFolder::open(dir.path(), None)
            .and_then(|folder| Model::load(folder, &ModelOptions::default()))
            .map(|_| ());
        let error = loaded.expect_err("unlisted").to_string();
        assert!(error.contains(file) && error.contains("not listed"), "{error}");
    }
}
