//! Tests the cost of loading, the sharing of models, and files that change. The counters are global, so the tests run one at a
//! time.
#![allow(clippy::expect_used, clippy::panic)]

mod common;

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Mutex, MutexGuard, PoisonError};
use std::thread;

use common::{copy_of, write_manifest};
use stella_core::base::counters::{LOADS, MAPS, TENSORS};
use stella_core::encoder::CancelFlag;
use stella_core::model::Model;
use stella_core::model_options::ModelOptions;
use stella_core::session::{EmbedOptions, Session, SessionOptions};
use stella_core::text::tokenizer::LongText;
use stella_core::weights::weight_set::LoadMode;
use stella_core::{ErrorCode, model_registry};

static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn with_mode(mode: LoadMode) -> ModelOptions {
    ModelOptions { mode, ..ModelOptions::default() }
}

fn embed(model: Arc<Model>) -> Vec<u32> {
    let mut ids = Vec::new();
    model.tokenize(["a river runs"], Some("s2p"), LongText::Truncate, &mut ids).expect("tokenizes");
    let mut row = vec![0.0; model.default_dimension()];
    let mut session =
        Session::new(model, SessionOptions { threads: Some(1), ..Default::default() }).expect("starts");
    let options = EmbedOptions { dimensions: &[], l2_normalize: true };
    let ends = [0, ids.len() as u32];
    session.embed(&ids, &ends, &[], options, CancelFlag::default(), &mut row).expect("embeds");
    row.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn vectors_have_the_same_bits_in_both_load_modes_with_and_without_a_manifest() {
    let _turn = turn();
    for name in ["tiny-new", "tiny-new-f16", "tiny-qwen2-bf16", "tiny-qwen2-sharded"] {
        let dir = copy_of(name);
        let load = |mode| embed(model_registry::open(dir.path(), &with_mode(mode)).expect("loads"));
        let copied = load(LoadMode::Copied);
        let maps = MAPS.get();
        assert_eq!(load(LoadMode::Mapped), copied, "{name}");
        assert!(MAPS.get() > maps);
        write_manifest(dir.path());
        let maps = MAPS.get();
        assert_eq!(load(LoadMode::Copied), copied, "{name}");
        assert_eq!(MAPS.get(), maps, "the copying load mode maps no file");
        assert_eq!(load(LoadMode::Mapped), copied, "{name}");
    }
}

#[test]
fn a_file_that_contradicts_the_manifest_is_refused_in_both_load_modes() {
    let _turn = turn();
    let dir = copy_of("tiny-new");
    write_manifest(dir.path());
    let weights = dir.path().join("model.safetensors");
    let good = fs::read(&weights).expect("read");
    for (mode, at) in
        [(LoadMode::Copied, good.len() / 2), (LoadMode::Mapped, good.len() - 1), (LoadMode::Mapped, 100)]
    {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&weights, bad).expect("written");
        let (maps, tensors) = (MAPS.get(), TENSORS.get());
        let error = model_registry::open(dir.path(), &with_mode(mode)).expect_err("refused");
        let chain = error.chain().join(" / ");
        assert!(chain.contains("model.safetensors"), "{chain}");
        if mode == LoadMode::Mapped {
            assert_eq!(
                (MAPS.get(), TENSORS.get()),
                (maps, tensors),
                "a file is mapped only after its hash was checked"
            );
        }
    }
    fs::write(&weights, &good[..good.len() - 4]).expect("written");
    let tensors = TENSORS.get();
    let error = model_registry::open(dir.path(), &ModelOptions::default()).expect_err("refused");
    assert_eq!((error.code(), TENSORS.get()), (ErrorCode::ModelInconsistent, tensors), "{error}");
    let tokenizer = dir.path().join("tokenizer.json");
    fs::write(&weights, &good).expect("written");
    let text = fs::read_to_string(&tokenizer).expect("read");
    fs::write(&tokenizer, text.replacen(": ", ":\t", 1)).expect("written");
    let error = model_registry::open(dir.path(), &ModelOptions::default()).expect_err("refused");
    assert!(error.to_string().contains("tokenizer.json: The file has the SHA-256"), "{error}");
}

#[test]
fn invalid_settings_are_refused_before_any_weight_is_read_or_mapped() {
    let _turn = turn();
    let edits: [(&str, &str, &str); 5] = [
        ("config.json", r#""num_hidden_layers": 3"#, r#""num_hidden_layers": 4"#),
        ("config.json", r#""num_attention_heads": 4"#, r#""num_attention_heads": 5"#),
        ("config.json", r#""intermediate_size": 128"#, r#""intermediate_size": 127"#),
        ("2_Dense_256/config.json", r#""out_features": 256"#, r#""out_features": 257"#),
        ("tokenizer.json", "{", "["),
    ];
    for (file, from, to) in edits {
        for mode in [LoadMode::Copied, LoadMode::Mapped] {
            let dir = copy_of("tiny-new");
            let text = fs::read_to_string(dir.path().join(file)).expect("read");
            assert!(text.contains(from), "{file} does not contain {from}");
            fs::write(dir.path().join(file), text.replacen(from, to, 1)).expect("written");
            let before = (LOADS.get(), MAPS.get(), TENSORS.get());
            let error = model_registry::open(dir.path(), &with_mode(mode)).expect_err("refused");
            assert_eq!((LOADS.get(), MAPS.get(), TENSORS.get()), before, "{file}: {error}");
        }
    }
}

/// Flips one bit in a byte of an open file.
fn flip(file: &fs::File, bytes: &mut [u8], at: usize) {
    bytes[at] ^= 1;
    let mut file = file;
    file.seek(SeekFrom::Start(at as u64)).expect("seeks");
    file.write_all(&bytes[at..=at]).expect("written");
}

#[test]
fn a_header_with_one_flipped_bit_is_refused_before_memory_is_allocated_for_tensors() {
    let _turn = turn();
    let dir = copy_of("tiny-new");
    let path = dir.path().join("model.safetensors");
    let mut bytes = fs::read(&path).expect("read");
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes")) as usize;
    let file = fs::OpenOptions::new().write(true).open(&path).expect("opens");
    // The texts in __metadata__ are not used, so a flipped bit in them has no effect.
    let (mut refused, mut accepted) = (0, Vec::new());
    for at in 0..header {
        flip(&file, &mut bytes, at);
        let mode = if at % 2 == 0 { LoadMode::Copied } else { LoadMode::Mapped };
        let before = (LOADS.get(), MAPS.get(), TENSORS.get());
        match model_registry::open(dir.path(), &with_mode(mode)) {
            Err(error) => {
                let chain = error.chain().join(" / ");
                assert!(chain.contains("model.safetensors"), "byte {at}: {chain}");
                assert_eq!((LOADS.get(), MAPS.get(), TENSORS.get()), before, "byte {at}: {chain}");
                refused += 1;
            }
            Ok(_) => accepted.push(at),
        }
        flip(&file, &mut bytes, at);
    }
    let metadata = header_text(&bytes, header).find("\"__metadata__\"").expect("the fixture has it");
    let end = header_text(&bytes, header)[metadata..].find('}').expect("an object") + metadata;
    assert!(refused > 3000, "{refused}");
    assert!(accepted.iter().all(|at| (8 + metadata..8 + end).contains(at)), "{accepted:?} are accepted");
}

fn header_text(bytes: &[u8], header: usize) -> &str {
    std::str::from_utf8(&bytes[8..header]).expect("UTF-8")
}

#[test]
fn with_a_manifest_every_flipped_bit_of_the_weights_is_found_before_they_are_mapped() {
    let _turn = turn();
    let dir = copy_of("tiny-new");
    write_manifest(dir.path());
    let path = dir.path().join("model.safetensors");
    let mut bytes = fs::read(&path).expect("read");
    let file = fs::OpenOptions::new().write(true).open(&path).expect("opens");
    let mut at = 0;
    for turn in 0..1000 {
        // The step and the length are coprime, so the positions spread over the whole file.
        at = (at + 700_001) % bytes.len();
        let mode = if turn % 2 == 0 { LoadMode::Copied } else { LoadMode::Mapped };
        flip(&file, &mut bytes, at);
        let before = (MAPS.get(), TENSORS.get());
        let error = model_registry::open(dir.path(), &with_mode(mode)).expect_err("refused");
        let chain = error.chain().join(" / ");
        assert!(chain.contains("model.safetensors"), "byte {at}: {chain}");
        if mode == LoadMode::Mapped {
            assert_eq!((MAPS.get(), TENSORS.get()), before, "byte {at}");
        }
        flip(&file, &mut bytes, at);
    }
    model_registry::open(dir.path(), &ModelOptions::default()).expect("the restored file is valid");
}

#[test]
fn a_model_that_many_threads_open_is_loaded_once_and_freed_with_its_last_user() {
    let _turn = turn();
    let dir = copy_of("tiny-new");
    let loads = LOADS.get();
    let barrier = Barrier::new(64);
    let models: Vec<Arc<Model>> = thread::scope(|scope| {
        let open = || {
            barrier.wait();
            model_registry::open(dir.path(), &ModelOptions::default()).expect("loads")
        };
        let threads: Vec<_> = (0..64).map(|_| scope.spawn(open)).collect();
        threads.into_iter().map(|t| t.join().expect("no panic")).collect()
    });
    assert_eq!(LOADS.get(), loads + 1);
    assert!(models.iter().all(|m| Arc::ptr_eq(m, &models[0])));

    // A different spelling of the path leads to the same model, and different options lead to another model.
    let same =
        model_registry::open(&dir.path().join("2_Dense_256/.."), &ModelOptions::default()).expect("opens");
    assert!(Arc::ptr_eq(&same, &models[0]));
    let other = ModelOptions { max_tokens: Some(64), ..ModelOptions::default() };
    drop(model_registry::open(dir.path(), &other).expect("loads"));
    assert_eq!(LOADS.get(), loads + 2);

    let watch = Arc::downgrade(&models[0]);
    drop((models, same));
    assert!(watch.upgrade().is_none(), "the registry does not keep a model alive");
    drop(model_registry::open(dir.path(), &ModelOptions::default()).expect("loads again"));
    assert_eq!(LOADS.get(), loads + 3);
}

#[test]
fn a_folder_with_replaced_files_is_loaded_as_another_model() {
    let _turn = turn();
    let dir = copy_of("tiny-new");
    let first = model_registry::open(dir.path(), &ModelOptions::default()).expect("loads");
    let weights = dir.path().join("model.safetensors");
    let mut bytes = fs::read(&weights).expect("read");
    let last = bytes.len() - 2;
    bytes[last] ^= 0x40;
    fs::write(dir.path().join("new"), bytes).expect("written");
    fs::rename(dir.path().join("new"), &weights).expect("renamed");
    let second = model_registry::open(dir.path(), &ModelOptions::default()).expect("loads");
    assert!(!Arc::ptr_eq(&first, &second));
    assert_ne!(embed(first), embed(second), "the first keeps the weights that it loaded");
}

#[test]
fn a_rewritten_manifest_outside_the_folder_is_compared_with_the_files_again() {
    let _turn = turn();
    let (dir, outside) = (copy_of("tiny-new"), tempfile::tempdir().expect("a folder"));
    write_manifest(dir.path());
    let manifest = outside.path().join("manifest.json");
    fs::rename(dir.path().join("stella.manifest.json"), &manifest).expect("moved");
    let options = ModelOptions { manifest: Some(manifest.clone()), ..ModelOptions::default() };
    let first = model_registry::open(dir.path(), &options).expect("loads");
    let good = fs::read_to_string(&manifest).expect("read");
    let start = good.rfind("\"sha256\":\"").expect("a hash") + "\"sha256\":\"".len();
    let mut bad = good.clone();
    bad.replace_range(start..start + 64, &"0".repeat(64));
    fs::write(&manifest, bad).expect("written");
    let error = model_registry::open(dir.path(), &options).expect_err("refused");
    assert_eq!(error.code(), ErrorCode::ModelInconsistent, "{error}");
    // With its original bytes the manifest leads to the same model again, although its times differ.
    fs::write(&manifest, good).expect("written");
    let again = model_registry::open(dir.path(), &options).expect("opens");
    assert!(Arc::ptr_eq(&first, &again));
}

/// A change of a file that an open model must detect.
type Change = fn(&Path);

fn replace(path: &Path) {
    // Changes a weight without a change of the shape: the last byte of a number in the middle.
    let mut bytes = fs::read(path).expect("read");
    let middle = bytes.len() / 2 / 4 * 4 + 3;
    bytes[middle] ^= 0x80;
    fs::write(path.with_extension("next"), bytes).expect("written");
    fs::rename(path.with_extension("next"), path).expect("replaced");
}

fn rewrite(path: &Path) {
    let bytes = fs::read(path).expect("read");
    fs::write(path, bytes).expect("rewritten");
}

fn truncate(path: &Path) {
    let file = fs::OpenOptions::new().write(true).open(path).expect("opens");
    file.set_len(fs::metadata(path).expect("metadata").len() / 2).expect("truncated");
}

fn remove(path: &Path) {
    fs::remove_file(path).expect("removed");
}

#[test]
fn a_changed_file_of_a_head_is_an_error_and_other_heads_still_load() {
    let _turn = turn();
    let changes: [(&str, Change); 4] =
        [("replaced", replace), ("rewritten", rewrite), ("truncated", truncate), ("removed", remove)];
    for (what, change) in changes {
        for mode in [LoadMode::Copied, LoadMode::Mapped] {
            for hashed in [false, true] {
                let dir = copy_of("tiny-new");
                if hashed {
                    write_manifest(dir.path());
                }
                let model = model_registry::open(dir.path(), &with_mode(mode)).expect("loads");
                let before = embed(Arc::clone(&model));
                change(&dir.path().join("2_Dense_256/model.safetensors"));
                for _ in 0..2 {
                    let error = model.head(256).expect_err("refused");
                    assert_eq!(error.code(), ErrorCode::ModelFileInvalid, "{what}: {error}");
                    let text = error.to_string();
                    assert!(
                        text.contains("2_Dense_256") && text.ends_with("Load the model again."),
                        "{text}"
                    );
                }
                model.head(768).expect("another head");
                assert_eq!(embed(Arc::clone(&model)), before, "{what}");
            }
        }
    }
}

#[test]
fn a_loaded_head_is_kept_after_its_file_is_removed() {
    let _turn = turn();
    let dir = copy_of("tiny-new");
    let model = model_registry::open(dir.path(), &ModelOptions::default()).expect("loads");
    let first = std::ptr::from_ref(model.head(256).expect("loads"));
    remove(&dir.path().join("2_Dense_256/model.safetensors"));
    assert!(std::ptr::eq(model.head(256).expect("kept"), first));
}

#[test]
fn heads_that_are_loaded_after_the_model_are_not_mapped() {
    let _turn = turn();
    let dir = copy_of("tiny-new");
    let model = model_registry::open(dir.path(), &with_mode(LoadMode::Mapped)).expect("loads");
    let maps = MAPS.get();
    model.head(256).expect("loads");
    model.head(768).expect("loads");
    assert_eq!(MAPS.get(), maps);
}

#[test]
fn a_failed_load_is_an_error_for_every_waiting_caller_and_the_next_call_loads_again() {
    let _turn = turn();
    let dir = copy_of("tiny-new");
    let config = dir.path().join("config.json");
    let good = fs::read(&config).expect("read");
    fs::write(&config, "{").expect("written");
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let error = model_registry::open(dir.path(), &ModelOptions::default()).expect_err("refused");
                assert_eq!((error.code(), error.chain().len()), (ErrorCode::ModelFileInvalid, 2), "{error}");
            });
        }
    });
    fs::write(&config, good).expect("written");
    model_registry::open(dir.path(), &ModelOptions::default()).expect("loads");
}

/// Checks a change of a file, which Windows refuses while a load maps the file.
fn unless_in_use(change: std::io::Result<()>) {
    if !cfg!(windows) {
        change.expect("changed");
    }
}

#[test]
fn a_file_that_changes_while_it_is_copied_never_leads_to_a_wrong_model() {
    let _turn = turn();
    let dir = copy_of("tiny-new");
    write_manifest(dir.path());
    let weights = dir.path().join("model.safetensors");
    let good = fs::read(&weights).expect("read");
    let right = embed(model_registry::open(dir.path(), &ModelOptions::default()).expect("loads"));
    let done = AtomicBool::new(false);
    let (mut loaded, mut refused) = (0, 0);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut bad = good.clone();
            bad.iter_mut().skip(good.len() / 2).for_each(|b| *b = 0xff);
            while !done.load(Ordering::Relaxed) {
                let file = fs::OpenOptions::new().write(true).open(&weights);
                unless_in_use(file.and_then(|file| file.set_len(good.len() as u64 / 3)));
                unless_in_use(fs::write(&weights, &bad));
                fs::write(dir.path().join("next"), &good).expect("written");
                unless_in_use(fs::rename(dir.path().join("next"), &weights));
                thread::yield_now();
            }
        });
        for _ in 0..200 {
            match model_registry::open(dir.path(), &ModelOptions::default()) {
                Ok(model) => {
                    loaded += 1;
                    assert_eq!(embed(model), right, "a loaded model agrees with the manifest");
                }
                Err(error) => {
                    refused += 1;
                    assert!(error.chain().join(" ").contains("model.safetensors"), "{:?}", error.chain());
                }
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    println!("{loaded} loaded, {refused} refused");
    assert!(refused > 0, "no load overlapped with a change of the file");
}
