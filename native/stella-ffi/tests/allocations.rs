//! A call allocates nothing if its session has run a batch as large before. The only test of its file, because the counter of
//! allocations belongs to the process.
#![allow(clippy::expect_used, clippy::panic)]

use std::path::Path;
use std::sync::Arc;

use stella_core::encoder::CancelFlag;
use stella_core::model_options::{ModelOptions, Precision};
use stella_core::model_registry;
use stella_core::session::{EmbedOptions, Session, SessionOptions};
use stella_interop::counters::{StellaCounter, stella_counter};

fn allocations() -> u64 {
    stella_counter(StellaCounter::Allocations as u32)
}

#[test]
fn a_call_allocates_nothing() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folders = ["src/StellaInterop.Models.Mini/model", "tests/fixtures/models/tiny-qwen2"];
    let normalized = EmbedOptions { dimensions: &[], l2_normalize: true };
    for folder in folders {
        for precision in [Precision::F32, Precision::Bf16, Precision::Int8] {
            for threads in [1, 3] {
                let options = ModelOptions { precision, ..ModelOptions::default() };
                let model = model_registry::open(&root.join(folder), &options).expect("opens");
                let limits = SessionOptions { threads: Some(threads), max_batch_tokens: Some(4096) };
                let mut session = Session::new(Arc::clone(&model), limits).expect("starts");
                let ids: Vec<u32> = (0..4096).map(|i| i * 7 % model.config().vocab_size as u32).collect();
                let mut out = vec![0.0; 8 * model.default_dimension()];
                let mut embed = |texts: &[u32]| {
                    let ids = &ids[..texts[texts.len() - 1] as usize];
                    session
                        .embed(ids, texts, &[], normalized, CancelFlag::default(), &mut out)
                        .expect("embeds");
                };
                embed(&[0, 512, 1024, 1536, 2048, 2560, 3072, 3584, 4096]);
                let before = allocations();
                for _ in 0..3 {
                    embed(&[0, 1]);
                    embed(&[0, 300, 317, 600]);
                    embed(&[0, 512, 1024, 1536, 2048, 2560, 3072, 3584, 4096]);
                }
                assert_eq!(allocations(), before, "{folder} {precision:?} on {threads} threads");
            }
        }
    }
    let before = allocations();
    drop(std::hint::black_box(Box::new(1)));
    assert_eq!(allocations(), before + 1, "an allocation is counted");
}
