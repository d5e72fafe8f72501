//! The memory estimate compared with the peak memory of processes, over a grid of models and workloads. The operating system
//! reports the peak of a process that runs only the workload.
#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, clippy::panic)]

mod synthetic;

use std::path::{Path, PathBuf};
use std::process::Command;

use safetensors::Dtype;
use serde_json::Value;
use synthetic::Shape;

const NEW: Shape = Shape {
    family: "tiny-new",
    hidden: 512,
    layers: 2,
    heads: 8,
    kv_heads: 8,
    inner: 2048,
    vocabulary: 20_000,
    dtype: Dtype::F32,
    shards: 1,
};
const QWEN2: Shape = Shape { family: "tiny-qwen2", kv_heads: 2, inner: 3072, vocabulary: 30_000, ..NEW };

/// Runs examples/measure.rs, which cargo builds with the tests.
fn measure(folder: &Path, workload: &str) -> Value {
    let tests = std::env::current_exe().expect("a path");
    let target = tests.ancestors().nth(2).map(PathBuf::from).expect("the target folder");
    let run = Command::new(target.join("examples/measure"))
        .arg(folder)
        .args(workload.split(' '))
        .output()
        .expect("examples/measure runs; cargo test builds it");
    assert!(run.status.success(), "{workload}: {}", String::from_utf8_lossy(&run.stderr));
    serde_json::from_slice(&run.stdout).expect("JSON")
}

fn check(shape: Shape, workloads: &[&str]) {
    let dir = tempfile::tempdir().expect("a folder");
    shape.write(dir.path());
    let mut wrong = Vec::new();
    for workload in workloads {
        let found = measure(dir.path(), workload);
        let (estimate, measured) = (mebibytes(&found, "estimate"), mebibytes(&found, "measured"));
        let most = measured.max(simultaneous_peak(dir.path(), workload));
        let line = format!(
            "{:?} {}: {workload}: estimate {estimate:.1} MiB, measured {measured:.1}, at most {most:.1} ({:.2}), loaded \
             {:.1}, peak of loading {:.1}; {}",
            shape.dtype,
            shape.family,
            estimate / most,
            mebibytes(&found, "loaded"),
            mebibytes(&found, "loading_peak"),
            found["parts"]
        );
        println!("{line}");
        if estimate < measured || estimate > 2.0 * most {
            wrong.push(line);
        }
    }
    assert!(
        wrong.is_empty(),
        "estimates below the measured peak or above twice the peak:\n{}",
        wrong.join("\n")
    );
}

/// Returns the memory of several sessions that are at their peak at the same time, which is the case that an estimate is for. A
/// run may have no such moment, depending on the scheduler, so the memory is computed from that of one session.
fn simultaneous_peak(folder: &Path, workload: &str) -> f64 {
    let [arithmetic, mode, text, batch, sessions, threads] = workload.split(' ').collect::<Vec<_>>()[..]
    else {
        panic!("six parts: {workload}");
    };
    let sessions: f64 = sessions.parse().expect("a number");
    if sessions == 1.0 {
        return 0.0;
    }
    let one = measure(folder, &format!("{arithmetic} {mode} {text} {batch} 1 {threads}"));
    let loaded = mebibytes(&one, "loaded");
    loaded + sessions * (mebibytes(&one, "working") - loaded)
}

fn mebibytes(found: &Value, name: &str) -> f64 {
    found[name].as_f64().expect("a number") / f64::from(1 << 20)
}

/// Precision or the reference encoder, load mode, tokens per text, tokens per batch, sessions, threads.
const GRID: [&str; 12] = [
    "f32 copied 512 512 1 1",
    "f32 copied 64 2048 4 2",
    "f32 mapped 512 1024 3 2",
    "bf16 copied 512 4096 1 2",
    "bf16 copied 2048 2048 1 2",
    "bf16 mapped 512 512 1 2",
    "int8 copied 64 2048 1 2",
    "int8 copied 512 1024 4 1",
    "int8 mapped 512 512 1 2",
    "candle copied 512 4096 1 2",
    "candle copied 512 1024 4 1",
    "candle mapped 64 2048 2 2",
];

#[test]
fn the_400m_architecture_in_32_bits_takes_what_was_estimated() {
    check(NEW, &GRID);
}

#[test]
fn the_400m_architecture_in_16_bits_takes_what_was_estimated() {
    check(Shape { dtype: Dtype::F16, ..NEW }, &GRID);
}

#[test]
fn the_1500m_architecture_in_shards_takes_what_was_estimated() {
    check(Shape { dtype: Dtype::BF16, shards: 3, ..QWEN2 }, &GRID);
}
