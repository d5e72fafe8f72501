//! Measures the cost of the checks of a load: `loading FOLDER warm|cold [ROUNDS]`
//!
//! Loads the model in turns with the default options, without the check for weights that are not finite, mapped, with a
//! manifest of SHA-256, and with a manifest of BLAKE3. Prints one line of JSON: the median seconds of each, and the relative
//! cost of each check. `warm` loads from the cache of the system. Before each `cold` load, GNU dd drops the weights from the
//! cache. `read` is the time to read the weights into memory, and `passed` the time to read them piece by piece.
#![allow(clippy::expect_used, clippy::panic)]

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde_json::{Map, Value, json};
use stella_core::files::folder::ModelFolder;
use stella_core::files::hash::{Algorithm, Hasher};
use stella_core::model::Model;
use stella_core::model_options::ModelOptions;
use stella_core::weights::weight_set::LoadMode;
// For the allocator of the library.
use stella_interop as _;

/// The default number of loads of each kind.
const ROUNDS: usize = 7;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (folder, from, rounds) = match args.as_slice() {
        [folder, from] => (Path::new(folder), from, ROUNDS),
        [folder, from, rounds] => (Path::new(folder), from, rounds.parse().expect("a number")),
        _ => panic!("Usage: loading FOLDER warm|cold [ROUNDS]"),
    };
    let weights = folder.join("model.safetensors");
    let prepare = || match from.as_str() {
        "warm" => (),
        "cold" => drop_from_cache(&weights),
        other => panic!("Unknown cache state {other}. Use warm or cold."),
    };
    let dir = tempfile::tempdir().expect("a folder");
    let manifest = |algorithm| Some(write_manifest(folder, algorithm, dir.path()));
    let kinds = [
        ModelOptions::default(),
        ModelOptions { check_weights: false, ..ModelOptions::default() },
        ModelOptions { mode: LoadMode::Mapped, ..ModelOptions::default() },
        ModelOptions { manifest: manifest(Algorithm::Sha256), ..ModelOptions::default() },
        ModelOptions { manifest: manifest(Algorithm::Blake3), ..ModelOptions::default() },
    ];
    let mut seconds = [const { Vec::new() }; 5];
    let each = |run: &dyn Fn()| {
        median(
            (0..rounds)
                .map(|_| {
                    prepare();
                    timed(run)
                })
                .collect(),
        )
    };
    let read = each(&|| drop(fs::read(&weights).expect("read")));
    let passed = each(&|| pass(&weights, |_| ()));
    // The first round does not count: it includes the page faults of memory that later rounds reuse.
    for round in 0..=rounds {
        for (options, seconds) in kinds.iter().zip(&mut seconds) {
            prepare();
            let taken = load(folder, options);
            if round > 0 {
                seconds.push(taken);
            }
        }
    }
    let [plain, unchecked, mapped, sha256, blake3] = seconds.map(median);
    let out = json!({
        "read": read, "passed": passed, "plain": plain, "unchecked": unchecked, "mapped": mapped, "sha256": sha256, "blake3": blake3,
        "check_cost": plain / unchecked - 1.0, "sha256_cost": sha256 / plain - 1.0, "blake3_cost": blake3 / plain - 1.0,
    });
    println!("{out}");
}

fn timed(run: impl FnOnce()) -> f64 {
    let start = Instant::now();
    run();
    start.elapsed().as_secs_f64()
}

fn load(folder: &Path, options: &ModelOptions) -> f64 {
    let mut model = None;
    let seconds = timed(|| {
        let folder = ModelFolder::open(folder, options.manifest.as_deref()).expect("opens");
        model = Some(Model::load(folder, options).expect("loads"));
    });
    drop(model);
    seconds
}

/// Drops a file from the cache of the system.
fn drop_from_cache(path: &Path) {
    let mut dd = Command::new("dd");
    dd.arg(format!("if={}", path.display())).args(["iflag=nocache", "count=0", "status=none"]);
    assert!(dd.status().expect("GNU dd").success(), "dd");
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

/// Writes a manifest of all files in `folder` into `to`.
fn write_manifest(folder: &Path, algorithm: Algorithm, to: &Path) -> PathBuf {
    let mut files = Map::new();
    list(folder, "", algorithm, &mut files);
    let version = if algorithm == Algorithm::Sha256 { 1 } else { 2 };
    let path = to.join(algorithm.name());
    fs::write(&path, json!({"version": version, "files": files}).to_string()).expect("written");
    path
}

fn list(folder: &Path, prefix: &str, algorithm: Algorithm, files: &mut Map<String, Value>) {
    for entry in fs::read_dir(folder).expect("listed") {
        let path = entry.expect("an entry").path();
        let name = format!("{prefix}{}", path.file_name().and_then(|name| name.to_str()).expect("UTF-8"));
        if path.is_dir() {
            list(&path, &format!("{name}/"), algorithm, files);
            continue;
        }
        let size = fs::metadata(&path).expect("there").len();
        let mut file = json!({"size": size, "sha256": hash(&path, Algorithm::Sha256)});
        if algorithm == Algorithm::Blake3 {
            file["blake3"] = json!(hash(&path, algorithm));
        }
        files.insert(name, file);
    }
}

fn hash(path: &Path, algorithm: Algorithm) -> String {
    let mut hash = Hasher::new(algorithm);
    pass(path, |bytes| hash.update(bytes));
    hash.finish().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads a file piece by piece.
fn pass(path: &Path, mut take: impl FnMut(&[u8])) {
    let mut file = File::open(path).expect("opens");
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).expect("read") {
            0 => break,
            read => take(&buffer[..read]),
        }
    }
}
