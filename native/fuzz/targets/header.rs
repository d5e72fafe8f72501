//! Compares the strict reader of safetensors headers with that of the `safetensors` crate, on arbitrary bytes.
#![no_main]
#![allow(clippy::panic)]

#[path = "../../stella-core/tests/oracle/mod.rs"]
mod oracle;

use libfuzzer_sys::{Corpus, fuzz_target};
use safetensors::tensor::Metadata;

/// The largest file that is built from a header, in bytes.
const MAX_FILE: usize = 1 << 16;

fuzz_target!(|json: &[u8]| -> Corpus {
    agreed(oracle::compare_files(json));
    // Both readers must agree about the file length that the header asks for, and about one byte more.
    let wanted = serde_json::from_slice::<Metadata>(json).map_or(0, |m| m.data_len());
    for data_len in [wanted, wanted.saturating_add(1)] {
        agreed(oracle::compare(json, data_len as u64));
    }
    if json.len() + wanted < MAX_FILE {
        agreed(oracle::compare_files(&oracle::file(json, wanted)));
    }
    Corpus::Keep
});

fn agreed(verdict: Result<oracle::Verdict, String>) {
    if let Err(difference) = verdict {
        panic!("{difference}");
    }
}
