//! Tests the fingerprint of a model: it depends on the content of all files that a load opens, and is computed on request.
#![allow(clippy::expect_used, clippy::panic)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use common::{copy, copy_of, files_of, fixture, sha256, write_manifest};
use stella_core::model::Model;
use stella_core::model_options::ModelOptions;
use stella_core::{ErrorCode, model_registry};

/// Files that no load opens. Their content is also in `tokenizer.json`.
const NOT_OPENED: [&str; 3] = ["vocab.txt", "vocab.json", "merges.txt"];

fn open(folder: &Path) -> Arc<Model> {
    model_registry::open(folder, &ModelOptions::default()).expect("opens")
}

fn hex(fingerprint: [u8; 32]) -> String {
    fingerprint.iter().map(|b| format!("{b:02x}")).collect()
}

fn fingerprint(folder: &Path) -> String {
    hex(open(folder).fingerprint(None).expect("a fingerprint"))
}

/// Returns the fingerprints of all heads.
fn fingerprints(folder: &Path) -> Vec<String> {
    let model = open(folder);
    let of = |dimension| hex(model.fingerprint(Some(dimension)).expect("a fingerprint"));
    model.dimensions().into_iter().map(of).collect()
}

/// Computes a fingerprint from the names and hashes of files.
fn of_hashes(hashes: &BTreeMap<String, String>) -> String {
    let lines: String = hashes.iter().map(|(name, hash)| format!("{hash}  {name}\n")).collect();
    sha256(lines.as_bytes())
}

fn hashes(folder: &Path, names: &[&str]) -> BTreeMap<String, String> {
    let hash = |name: &str| sha256(&fs::read(folder.join(name)).expect("read"));
    names.iter().map(|&name| (name.to_owned(), hash(name))).collect()
}

const TINY_NEW: [&str; 8] = [
    "1_Pooling/config.json",
    "2_Dense_1024/config.json",
    "2_Dense_1024/model.safetensors",
    "config.json",
    "config_sentence_transformers.json",
    "model.safetensors",
    "modules.json",
    "tokenizer.json",
];

#[test]
fn the_fingerprint_is_the_hash_of_the_output_of_sha256sum() {
    let with_sentence =
        |names: &[&str]| hashes(&fixture("tiny-new"), &[names, &["sentence_bert_config.json"]].concat());
    assert_eq!(fingerprint(&fixture("tiny-new")), of_hashes(&with_sentence(&TINY_NEW)));
    let sharded = [
        "1_Pooling/config.json",
        "2_Dense_256/config.json",
        "2_Dense_256/model.safetensors",
        "config.json",
        "config_sentence_transformers.json",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
        "modules.json",
        "sentence_bert_config.json",
        "tokenizer.json",
    ];
    let folder = fixture("tiny-qwen2-sharded");
    assert_eq!(fingerprint(&folder), of_hashes(&hashes(&folder, &sharded)));
    let form = [
        "1_Pooling/config.json",
        "added_tokens.json",
        "config.json",
        "config_sentence_transformers.json",
        "model.safetensors",
        "modules.json",
        "sentence_bert_config.json",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ];
    let folder = fixture("../forms/models/gte-qwen2-eos-config");
    assert_eq!(fingerprint(&folder), of_hashes(&hashes(&folder, &form)));
}

#[test]
#[cfg(target_os = "linux")]
fn sha256sum_computes_the_fingerprint() {
    let folder = fixture("tiny-new");
    let model = open(&folder);
    let run = std::process::Command::new("sh")
        .args(["-c", "sha256sum \"$@\" | sha256sum", "sh"])
        .args(
            model
                .files()
                .iter()
                .filter(|file| !file.starts_with("2_Dense_256") && !file.starts_with("2_Dense_768")),
        )
        .current_dir(&folder)
        .env("LC_ALL", "C")
        .output()
        .expect("sha256sum runs");
    let found = String::from_utf8(run.stdout).expect("UTF-8");
    assert_eq!(found.split(' ').next(), Some(hex(model.fingerprint(None).expect("a fingerprint")).as_str()));
}

/// Changes a file so that the model still loads: appends a space to a JSON file, or flips the last bit of the first weight.
fn change(path: &Path) {
    let mut bytes = fs::read(path).expect("read");
    if path.extension().is_some_and(|extension| extension == "safetensors") {
        let header = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"));
        bytes[8 + usize::try_from(header).expect("fits")] ^= 1;
    } else {
        bytes.push(b' ');
    }
    fs::write(path, bytes).expect("written");
}

#[test]
fn a_changed_byte_in_any_file_of_a_load_changes_the_fingerprint() {
    let forms = fs::read_dir(fixture("../forms/models"))
        .expect("listed")
        .map(|entry| entry.expect("an entry").path());
    let folders = forms.chain(["tiny-new", "tiny-qwen2-sharded"].map(fixture));
    let mut changed = 0;
    for source in folders {
        let dir = tempfile::tempdir().expect("a folder");
        copy(&source, dir.path());
        let before = fingerprints(dir.path());
        let mut unseen = Vec::new();
        for name in files_of(dir.path()) {
            let path = dir.path().join(&name);
            let bytes = fs::read(&path).expect("read");
            change(&path);
            match fingerprints(dir.path()) == before {
                true => unseen.push(name),
                false => changed += 1,
            }
            fs::write(&path, bytes).expect("restored");
        }
        unseen.retain(|name| !NOT_OPENED.contains(&name.as_str()));
        assert!(unseen.is_empty(), "{}: {unseen:?}", source.display());
        assert_eq!(fingerprints(dir.path()), before, "the same bytes with other file times");
    }
    assert!(changed > 200, "{changed} files");
}

#[test]
fn a_fingerprint_covers_one_head_and_does_not_depend_on_the_others() {
    let dir = copy_of("tiny-new");
    let of = |dimension| open(dir.path()).fingerprint(dimension).expect("a fingerprint");
    let (default, narrow) = (of(None), of(Some(256)));
    assert_ne!(default, narrow);
    assert_eq!(of(Some(1024)), default);
    let narrow_by_default = ModelOptions { dimension: Some(256), ..ModelOptions::default() };
    let model = model_registry::open(dir.path(), &narrow_by_default).expect("opens");
    assert_eq!(model.fingerprint(None).expect("a fingerprint"), narrow);
    assert_eq!(model.fingerprint(Some(512)).expect_err("no head").code(), ErrorCode::UnknownDimension);
    drop(model);
    change(&dir.path().join("2_Dense_256/model.safetensors"));
    assert_eq!(of(None), default);
    assert_ne!(of(Some(256)), narrow);
    fs::remove_dir_all(dir.path().join("2_Dense_256")).expect("removed");
    assert_eq!(of(None), default);
}

#[test]
fn the_files_of_a_model_include_the_files_of_every_head() {
    let dir = copy_of("tiny-new");
    let model = open(dir.path());
    let files = model.files().clone();
    for dimension in model.dimensions() {
        model.head(dimension).expect("loads");
    }
    drop(model);
    fs::remove_dir_all(dir.path().join("2_Dense_256")).expect("removed");
    let fewer = open(dir.path()).files().clone();
    let removed: Vec<_> = files.difference(&fewer).collect();
    assert_eq!(removed, ["2_Dense_256/config.json", "2_Dense_256/model.safetensors"]);
}

/// Creates a snapshot of a Hugging Face cache from a model folder. Weights and tokenizer are links to blobs whose names `name`
/// returns. Settings are links to blobs with names of 40 digits, as in a real cache.
#[cfg(unix)]
fn snapshot(of: &Path, root: &Path, name: impl Fn(&[u8]) -> String) -> std::path::PathBuf {
    let (repository, revision) = (root.join("models--org--name"), "0123456789abcdef0123456789abcdef01234567");
    let snapshot = repository.join("snapshots").join(revision);
    fs::create_dir_all(repository.join("blobs")).expect("created");
    for file in files_of(of) {
        let bytes = fs::read(of.join(&file)).expect("read");
        let is_large = file.ends_with(".safetensors") || file == "tokenizer.json";
        let blob = if is_large { name(&bytes) } else { sha256(file.as_bytes())[..40].to_owned() };
        fs::write(repository.join("blobs").join(&blob), bytes).expect("written");
        let link = snapshot.join(&file);
        fs::create_dir_all(link.parent().expect("a folder")).expect("created");
        let up = "../".repeat(2 + file.matches('/').count());
        std::os::unix::fs::symlink(format!("{up}blobs/{blob}"), link).expect("linked");
    }
    snapshot
}

#[cfg(unix)]
#[test]
fn a_folder_a_manifest_and_a_cache_lead_to_the_same_fingerprint() {
    for name in ["tiny-new", "tiny-qwen2-sharded"] {
        let expected = fingerprint(&fixture(name));
        let dir = copy_of(name);
        assert_eq!(fingerprint(dir.path()), expected, "{name}: another folder");
        write_manifest(dir.path());
        assert_eq!(fingerprint(dir.path()), expected, "{name}: with a manifest");
        let cache = tempfile::tempdir().expect("a folder");
        let snapshot = snapshot(&fixture(name), cache.path(), sha256);
        assert_eq!(fingerprint(&snapshot), expected, "{name}: in a cache");
        write_manifest(&snapshot);
        assert_eq!(fingerprint(&snapshot), expected, "{name}: in a cache, with a manifest");
    }
}

#[cfg(unix)]
#[test]
fn the_fingerprint_uses_the_names_of_blobs_instead_of_their_content() {
    let cache = tempfile::tempdir().expect("a folder");
    // A wrong hash shows that the blob was not read.
    let wrong = |bytes: &[u8]| sha256(&[bytes, b"other"].concat());
    let snapshot = snapshot(&fixture("tiny-new"), cache.path(), wrong);
    let mut expected = hashes(&snapshot, &[&TINY_NEW[..], &["sentence_bert_config.json"]].concat());
    for (name, hash) in &mut expected {
        if name.ends_with(".safetensors") || name == "tokenizer.json" {
            *hash = wrong(&fs::read(snapshot.join(name)).expect("read"));
        }
    }
    assert_eq!(fingerprint(&snapshot), of_hashes(&expected));
    // The same files in a folder outside a cache.
    let loose = tempfile::tempdir().expect("a folder");
    copy(&snapshot, loose.path());
    assert_eq!(fingerprint(loose.path()), fingerprint(&fixture("tiny-new")));
}

#[test]
fn the_fingerprint_uses_the_sha256_of_a_manifest_that_also_has_blake3() {
    let dir = copy_of("tiny-new");
    let mut claimed = BTreeMap::new();
    let mut files = serde_json::Map::new();
    for name in files_of(dir.path()) {
        let bytes = fs::read(dir.path().join(&name)).expect("read");
        let mut hash = stella_core::files::hash::Hasher::new(stella_core::files::hash::Algorithm::Blake3);
        hash.update(&bytes);
        // The load checks only BLAKE3. A wrong SHA-256 shows that the fingerprint is computed from it.
        let other = sha256(&[&bytes, &b"other"[..]].concat());
        let entry = serde_json::json!({"size": bytes.len(), "sha256": other, "blake3": hex(hash.finish())});
        files.insert(name.clone(), entry);
        claimed.insert(name, other);
    }
    let manifest = serde_json::json!({"version": 2, "files": files}).to_string();
    fs::write(dir.path().join("stella.manifest.json"), manifest).expect("written");
    claimed.retain(|name, _| !name.starts_with("2_Dense_256") && !name.starts_with("2_Dense_768"));
    assert_eq!(fingerprint(dir.path()), of_hashes(&claimed));
}

#[test]
fn the_fingerprint_is_not_computed_by_the_load_and_refuses_changed_files() {
    for name in ["config.json", "2_Dense_1024/model.safetensors"] {
        let dir = copy_of("tiny-new");
        let model = open(dir.path());
        change(&dir.path().join(name));
        for _ in 0..2 {
            // A fingerprint from the load would be returned here.
            let error = model.fingerprint(None).expect_err("refused");
            assert_eq!(error.code(), ErrorCode::ModelFileInvalid, "{error}");
            let text = error.to_string();
            assert!(text.contains(name) && text.ends_with("Load the model again."), "{text}");
        }
        assert_ne!(open(dir.path()).fingerprint(None).expect("of the new files"), [0; 32]);
    }
}

#[test]
fn a_fingerprint_is_kept_and_shared_with_other_models_of_the_same_files() {
    let dir = copy_of("tiny-new");
    let first = open(dir.path());
    let options = ModelOptions { max_tokens: Some(64), ..ModelOptions::default() };
    let second = model_registry::open(dir.path(), &options).expect("opens");
    let found = first.fingerprint(None).expect("a fingerprint");
    fs::remove_file(dir.path().join("config.json")).expect("removed");
    assert_eq!(first.fingerprint(None).expect("kept"), found);
    assert_eq!(second.fingerprint(None).expect("shared"), found);
}

#[test]
fn models_of_different_files_in_one_folder_do_not_share_a_fingerprint() {
    let dir = copy_of("tiny-new");
    let first = open(dir.path());
    let before = first.fingerprint(None).expect("a fingerprint");
    change(&dir.path().join("config.json"));
    let second = open(dir.path());
    assert_ne!(second.fingerprint(None).expect("a fingerprint"), before);
    assert_eq!(first.fingerprint(None).expect("kept"), before);
}
