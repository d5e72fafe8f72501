//! Compares the estimated and the measured memory of a model, in a separate process:
//!
//! `measure FOLDER f32|bf16|int8|candle copied|mapped MAX_TOKENS BATCH_TOKENS SESSIONS THREADS`
//!
//! Loads the model. Then all sessions embed at once a batch of texts of the largest length. Prints one line of JSON, in bytes
//! and seconds. Linux only, because it reads the peak memory of the process from /proc.
//!
//! Every session embeds several batches, because the memory that the allocator keeps grows over the first calls.
#![allow(clippy::expect_used, clippy::panic)]

use std::path::Path;
use std::sync::{Arc, Barrier};
use std::time::Instant;

use stella_core::encoder::{CancelFlag, EncoderKind};
use stella_core::files::folder::ModelFolder;
use stella_core::memory_estimate::Workload;
use stella_core::model::Model;
use stella_core::model_options::{ModelOptions, Precision};
use stella_core::model_registry;
use stella_core::session::{EmbedOptions, Session, SessionOptions};
use stella_core::weights::weight_set::LoadMode;

/// The number of batches of each session.
const ROUNDS: usize = 3;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [folder, arithmetic, mode, numbers @ ..] = args.as_slice() else {
        panic!(
            "Usage: measure FOLDER f32|bf16|int8|candle copied|mapped MAX_TOKENS BATCH_TOKENS SESSIONS THREADS"
        );
    };
    let folder = Path::new(folder);
    let (encoder, precision) = match arithmetic.as_str() {
        "f32" => (EncoderKind::Kernels, Precision::F32),
        "bf16" => (EncoderKind::Kernels, Precision::Bf16),
        "int8" => (EncoderKind::Kernels, Precision::Int8),
        "candle" => (EncoderKind::Candle, Precision::F32),
        other => panic!("Unknown arithmetic {other}. Use f32, bf16, int8 or candle."),
    };
    let mode = match mode.as_str() {
        "copied" => LoadMode::Copied,
        "mapped" => LoadMode::Mapped,
        other => panic!("Unknown load mode {other}. Use copied or mapped."),
    };
    let numbers: Vec<usize> = numbers.iter().map(|n| n.parse().expect("a number")).collect();
    let [max_tokens, max_batch_tokens, sessions, threads] = numbers[..] else { panic!("four numbers") };

    let options =
        ModelOptions { encoder, precision, mode, max_tokens: Some(max_tokens), ..ModelOptions::default() };
    let workload = Workload { sessions, threads: Some(threads), max_batch_tokens: Some(max_batch_tokens) };
    let opened = ModelFolder::open(folder, None).expect("opens");
    let estimate = Model::estimate(opened, &options, &workload).expect("an estimate");

    let before = status("VmRSS");
    let begin = Instant::now();
    let model = model_registry::open(folder, &options).expect("loads");
    let seconds = begin.elapsed().as_secs_f64();
    let (loaded, loading_peak) = (status("VmRSS"), status("VmHWM"));
    // Resets the peak to the current memory.
    std::fs::write("/proc/self/clear_refs", "5").expect("Linux");
    let start = Arc::new(Barrier::new(sessions));
    let tokens = (max_batch_tokens / max_tokens * max_tokens) as f64;
    let tokens_per_second = std::thread::scope(|scope| {
        let mut threads_of_sessions = Vec::new();
        for _ in 0..sessions {
            let (model, start) = (Arc::clone(&model), Arc::clone(&start));
            threads_of_sessions.push(scope.spawn(move || {
                let options =
                    SessionOptions { threads: Some(threads), max_batch_tokens: Some(max_batch_tokens) };
                let mut session = Session::new(model, options).expect("starts");
                let mut seconds = 0.0;
                for _ in 0..ROUNDS {
                    start.wait();
                    let begin = Instant::now();
                    embed(&mut session);
                    // Only the last round counts, because earlier rounds include page faults of new memory.
                    seconds = begin.elapsed().as_secs_f64();
                }
                seconds
            }));
        }
        threads_of_sessions.into_iter().map(|thread| tokens / thread.join().expect("embeds")).sum::<f64>()
    });
    let working = status("VmHWM");
    let measured = working.max(loading_peak) - before;
    let out = serde_json::json!({
        "estimate": estimate.total(),
        "measured": measured,
        "ratio": estimate.total() as f64 / measured as f64,
        "working": working - before,
        "loaded": loaded - before,
        "loading_peak": loading_peak - before,
        "load_seconds": seconds,
        "tokens_per_second": tokens_per_second,
        "parts": format!("{estimate:?}"),
    });
    println!("{out}");
}

/// Embeds as many texts of the largest length as one call takes.
fn embed(session: &mut Session) {
    let (length, vocabulary) = (session.model().max_tokens(), session.model().config().vocab_size);
    let texts = session.max_batch_tokens() / length;
    let ids: Vec<u32> = (0..texts * length).map(|i| (i * 7919 % vocabulary) as u32).collect();
    let cu_seqlens: Vec<u32> = (0..=texts).map(|i| (i * length) as u32).collect();
    let mut rows = vec![0.0; texts * session.model().default_dimension()];
    let options = EmbedOptions { dimensions: &[], l2_normalize: true };
    session.embed(&ids, &cu_seqlens, &[], options, CancelFlag::default(), &mut rows).expect("embeds");
    assert!(rows.iter().all(|x| x.is_finite()));
}

/// Returns a field of /proc/self/status in bytes.
fn status(name: &str) -> u64 {
    let all = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = all.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).expect("the line");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}
