//! One file of a model folder but the tokenizer and the weights is any bytes; the first of them chooses the file.
#![no_main]
#![allow(clippy::expect_used)]

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use stella_core::Result;
use stella_core::encoder::CancelFlag;
use stella_core::folder::ModelFolder;
use stella_core::memory::Workload;
use stella_core::model::{Model, ModelOptions};
use stella_core::prompt::Prompt;
use stella_core::session::{EmbedOptions, Session, SessionOptions};
use stella_core::tokenizer::LongText;
use stella_fuzz::{check_error, copy_of};

/// Folder and file; the first byte of the input, a digit in the corpus, chooses.
const FILES: [(usize, &str); 8] = [
    (0, "config.json"),
    (0, "modules.json"),
    (0, "1_Pooling/config.json"),
    (0, "2_Dense_256/config.json"),
    (0, "config_sentence_transformers.json"),
    (0, "stella.manifest.json"),
    (1, "config.json"),
    (1, "model.safetensors.index.json"),
];

static FOLDERS: LazyLock<[PathBuf; 2]> =
    LazyLock::new(|| [copy_of("tiny-new"), copy_of("tiny-qwen2-sharded")]);

fuzz_target!(|data: &[u8]| {
    let Some((&choice, content)) = data.split_first() else { return };
    let (folder, file) = FILES[choice as usize % FILES.len()];
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

/// What is estimated can be loaded, and what is loaded gives a vector or says why not.
fn run(folder: &std::path::Path) -> Result<()> {
    let options = ModelOptions { max_tokens: 16, ..ModelOptions::default() };
    let open = || ModelFolder::open(folder, None);
    Model::estimate(open()?, &options, &Workload::default())?;
    let model = Arc::new(Model::load(open()?, &options)?);
    let mut ids = Vec::new();
    model.tokenize(["a river runs"], Prompt::S2p, LongText::Truncate, &mut ids)?;
    let mut row = vec![0.0; model.default_dimension()];
    let mut session = Session::new(model, SessionOptions { threads: Some(1), ..Default::default() })?;
    let options = EmbedOptions { dimension: None, normalize: true };
    session.embed(&ids, &[0, ids.len() as u32], options, CancelFlag::default(), &mut row)?;
    assert!(row.iter().all(|x| x.is_finite()));
    Ok(())
}
