//! The strict reader of safetensors headers beside the one of the `safetensors` crate, on any bytes.
#![no_main]
#![allow(clippy::panic)]

#[path = "../../stella-core/tests/oracle/mod.rs"]
mod oracle;

use libfuzzer_sys::{Corpus, fuzz_target};
use safetensors::tensor::{Metadata, SafeTensors};
use stella_core::header::{Header, LENGTH_BYTES};

/// Longest file that is built around a header.
const MAX_FILE: usize = 1 << 16;

fuzz_target!(|json: &[u8]| -> Corpus {
    whole_file(json);
    // The number of bytes that the header itself asks for lets it through; one more is a fault that both must see.
    let wanted = serde_json::from_slice::<Metadata>(json).map_or(0, |m| m.data_len());
    for data_len in [wanted, wanted.saturating_add(1)] {
        if let Err(difference) = oracle::compare(json, data_len as u64) {
            panic!("{difference}");
        }
    }
    if json.len() + wanted < MAX_FILE {
        let mut file = (json.len() as u64).to_le_bytes().to_vec();
        file.extend_from_slice(json);
        file.resize(file.len() + wanted, 0);
        whole_file(&file);
    }
    Corpus::Keep
});

/// Whatever we read as a file of weights, the crate reads too.
fn whole_file(file: &[u8]) {
    let Some((length, rest)) = file.split_first_chunk::<{ LENGTH_BYTES as usize }>() else { return };
    let theirs = SafeTensors::deserialize(file);
    let ours = Header::check_length(*length, file.len() as u64).and_then(|length| {
        let (json, data) = rest.split_at(length as usize);
        Header::parse(json, data.len() as u64)
    });
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => {
            assert_eq!(ours.tensors().len(), theirs.len());
            for tensor in ours.tensors() {
                let bytes = tensor.range.end - tensor.range.start;
                let same = theirs.tensor(&tensor.name).is_ok_and(|t| t.data().len() as u64 == bytes);
                assert!(same, "{tensor:?}");
            }
        }
        (Ok(_), Err(e)) => panic!("accepted against the crate: {e}"),
        (Err(fault), Ok(_)) => assert!(fault.is_stricter(), "{fault} is not on the list"),
        (Err(_), Err(_)) => {}
    }
}
