//! Names and values from model files appear in messages and log records without their control characters.
#![cfg(unix)]
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, clippy::expect_used, clippy::panic)]

#[path = "../../stella-core/tests/common/mod.rs"]
mod common;

use std::ffi::c_void;
use std::fs;
use std::path::Path;
use std::ptr::{null, null_mut};
use std::sync::Mutex;

use serde_json::{Value, json};
use stella_interop::error::*;
use stella_interop::log::*;
use stella_interop::model::*;

/// A name that sets the title of a terminal, forges a line, clears the screen, and reverses the direction of text.
const HOSTILE: &str = "a\u{1b}]0;title\u{7}\nerror: all is well\r\u{9b}2J\u{202e}\u{2028}\u{7f}z";
/// A part of the escaped name.
const SHOWN: &str = r"error: all is well\r\u{9b}2J\u{202e}\u{2028}\u{7f}z";

unsafe extern "C" fn collect(
    records: *mut c_void,
    _: u32,
    _: *const u8,
    _: usize,
    message: *const u8,
    length: usize,
) {
    let records = unsafe { &*records.cast::<Mutex<Vec<String>>>() };
    let message = unsafe { std::slice::from_raw_parts(message, length) };
    records.lock().expect("nobody panics here").push(String::from_utf8_lossy(message).into_owned());
}

unsafe extern "C" fn forget(_: *mut c_void) {}

/// Opens a folder and frees all handles. Returns the messages of its error, and the log records.
fn open(folder: &Path) -> (Vec<String>, Vec<String>) {
    let path = folder.to_str().expect("UTF-8");
    let records: Mutex<Vec<String>> = Mutex::default();
    let (mut sink, mut model, mut messages) = (null_mut(), null_mut(), Vec::new());
    unsafe {
        let made = stella_log_sink_new(
            Some(collect),
            Some(forget),
            (&raw const records).cast_mut().cast(),
            0,
            &mut sink,
        );
        assert!(made.is_null());
        let error = stella_model_open(path.as_ptr(), path.len(), null(), sink, &mut model);
        for level in 0..stella_error_chain_length(error) {
            let mut text = vec![0; stella_error_message(error, level, null_mut(), 0)];
            stella_error_message(error, level, text.as_mut_ptr(), text.len());
            messages.push(String::from_utf8(text).expect("UTF-8"));
        }
        stella_error_free(error);
        stella_model_free(model);
        stella_log_sink_free(sink);
    }
    (messages, records.into_inner().expect("nobody panicked"))
}

#[track_caller]
fn assert_harmless(what: &str, texts: &[String]) {
    for text in texts {
        let raw = text.chars().find(|&c| c.is_control() || matches!(c, '\u{2028}'..='\u{202e}'));
        assert_eq!(raw, None, "{what}: {text:?}");
    }
}

fn edit(file: &Path, change: impl FnOnce(&mut Value)) {
    let mut value = serde_json::from_slice(&fs::read(file).expect("read")).expect("JSON");
    change(&mut value);
    fs::write(file, value.to_string()).expect("written");
}

/// Puts the hostile name into a copy of a fixture.
type Spoil = fn(&Path);

#[test]
fn hostile_names_and_values_in_files_are_escaped() {
    let cases: [(&str, &str, Spoil); 9] = [
        ("tensor in the index", "tiny-qwen2-sharded", |dir| {
            edit(&dir.join("model.safetensors.index.json"), |index| {
                let map = index["weight_map"].as_object_mut().expect("an object");
                let shard = map.values().next().expect("a tensor").clone();
                map.insert(HOSTILE.to_owned(), shard);
            });
        }),
        ("shard in the index", "tiny-qwen2-sharded", |dir| {
            edit(&dir.join("model.safetensors.index.json"), |index| {
                index["weight_map"]["x"] = json!(HOSTILE);
            });
        }),
        ("tensor of a file", "tiny-new", |dir| {
            let header = json!({HOSTILE: {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}).to_string();
            let length = (header.len() as u64).to_le_bytes();
            fs::write(dir.join("model.safetensors"), [&length[..], header.as_bytes(), &[0; 4]].concat())
                .expect("written");
        }),
        ("activation of a head", "tiny-new", |dir| {
            edit(&dir.join("2_Dense_256/config.json"), |head| head["activation_function"] = json!(HOSTILE));
        }),
        ("type of a module", "tiny-new", |dir| {
            edit(&dir.join("modules.json"), |modules| modules[0]["type"] = json!(HOSTILE));
        }),
        ("pooling mode", "tiny-new", |dir| {
            edit(&dir.join("1_Pooling/config.json"), |pooling| {
                pooling[format!("pooling_mode_{HOSTILE}")] = json!(true);
            });
        }),
        ("architecture", "tiny-new", |dir| {
            edit(&dir.join("config.json"), |config| config["architectures"] = json!([HOSTILE]));
        }),
        ("token", "tiny-new", |dir| {
            edit(&dir.join("tokenizer.json"), |tokenizer| {
                tokenizer["model"]["vocab"][HOSTILE] = json!(1_000_000);
            });
        }),
        ("folder of a head", "tiny-new", |dir| {
            let head = dir.join(format!("2_Dense_{HOSTILE}"));
            fs::create_dir(&head).expect("created");
            fs::write(head.join("config.json"), "{").expect("written");
            fs::write(head.join("model.safetensors"), "").expect("written");
        }),
    ];
    let mut seen = 0;
    for (what, fixture, spoil) in cases {
        let dir = common::copy_of(fixture);
        spoil(dir.path());
        let (messages, records) = open(dir.path());
        assert!(!messages.is_empty(), "{what}: the folder was opened");
        assert_harmless(what, &messages);
        assert_harmless(what, &records);
        seen += usize::from(messages.iter().any(|message| message.contains(SHOWN)));
    }
    // Other messages format the name by `{:?}` or do not contain it.
    assert!(seen >= 2, "{seen} messages contain the name");
}

#[test]
fn a_hostile_folder_name_in_a_warning_is_escaped() {
    let dir = common::copy_of("tiny-new");
    fs::create_dir(dir.path().join(format!("2_Dense_{HOSTILE}"))).expect("created");
    let (messages, records) = open(dir.path());
    assert!(messages.is_empty(), "{messages:?}");
    assert!(records.iter().any(|record| record.contains(SHOWN)), "{records:?}");
    assert_harmless("a warning", &records);
}
