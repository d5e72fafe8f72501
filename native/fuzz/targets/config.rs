//! Replaces one file of a model folder by arbitrary bytes: any file except the tokenizer and the weights. The first byte chooses
//! the file.
#![no_main]
#![allow(clippy::expect_used)]

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use stella_core::Result;
use stella_core::encoder::CancelFlag;
use stella_core::files::folder::ModelFolder;
use stella_core::memory_estimate::Workload;
use stella_core::model::Model;
use stella_core::model_options::ModelOptions;
use stella_core::session::{EmbedOptions, Session, SessionOptions};
use stella_core::text::tokenizer::LongText;
use stella_fuzz::{check_error, copy_of};

/// The index of the folder, and the file. The first byte of the input chooses the entry; the digit 0 is the first.
const FILES: [(usize, &str); 20] = [
    (0, "config.json"),
    (0, "modules.json"),
    (0, "1_Pooling/config.json"),
    (0, "2_Dense_256/config.json"),
    (0, "config_sentence_transformers.json"),
    (0, "stella.manifest.json"),
    (1, "config.json"),
    (1, "model.safetensors.index.json"),
    (2, "config.json"),
    (2, "1_Pooling/config.json"),
    (2, "2_Normalize/config.json"),
    (2, "sentence_bert_config.json"),
    (3, "config.json"),
    (3, "tokenizer_config.json"),
    (3, "special_tokens_map.json"),
    (3, "added_tokens.json"),
    (4, "config.json"),
    (4, "1_Pooling/config.json"),
    (4, "2_Dense/config.json"),
    (5, "config.json"),
];

static FOLDERS: LazyLock<[PathBuf; 6]> = LazyLock::new(|| {
    [
        copy_of("models/tiny-new"),
        copy_of("models/tiny-qwen2-sharded"),
        copy_of("forms/models/gte-native"),
        copy_of("forms/models/gte-qwen2-eos-config"),
        copy_of("forms/models/new-st6-one-head"),
        copy_of("forms/models/qwen2-tf5"),
    ]
});

fuzz_target!(|data: &[u8]| {
    let Some((&choice, content)) = data.split_first() else { return };
    let (folder, file) = FILES[usize::from(choice.wrapping_sub(b'0')) % FILES.len()];
    let folder = &FOLDERS[folder];
    let path = folder.join(file);
    let before = fs::read(&path).ok();
    fs::write(&path, content).expect("written");
    if let Err(error) = run(folder) {
        check_error(&error);
    }
    match before {
        Some(before) => fs::write(&path, before).expect("restored"),
        None => fs::remove_file(&path).expect("removed"),
    }
});

/// Estimates the model, loads it and embeds a text.
fn run(folder: &std::path::Path) -> Result<()> {
    let options = ModelOptions { max_tokens: Some(16), ..ModelOptions::default() };
    let open = || ModelFolder::open(folder, None);
    Model::estimate(open()?, &options, &Workload::default())?;
    let model = Arc::new(Model::load(open()?, &options)?);
    let mut ids = Vec::new();
    let prompt = model.prompts().all().first().map(|prompt| prompt.name.clone());
    let count = model.tokenize(["a river runs"], prompt.as_deref(), LongText::Truncate, &mut ids)?[0];
    let mut row = vec![0.0; model.default_dimension()];
    let mut session = Session::new(model, SessionOptions { threads: Some(1), ..Default::default() })?;
    let options = EmbedOptions { dimensions: &[], l2_normalize: true };
    let (cu_seqlens, left_out) = ([0, ids.len() as u32], [count.left_out as u32]);
    session.embed(&ids, &cu_seqlens, &left_out, options, CancelFlag::default(), &mut row)?;
    assert!(row.iter().all(|x| x.is_finite()));
    Ok(())
}
