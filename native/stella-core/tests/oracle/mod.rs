//! Compares the strict header reader with the reader of the `safetensors` crate. The property test and the fuzz target share this
//! module.

use std::collections::BTreeMap;

use safetensors::tensor::{Metadata, SafeTensors};
use stella_core::weights::header::{Header, TensorEntry};
use stella_core::weights::header_fault::LENGTH_BYTES;

/// The compared content of a header: the type, shape and byte range of each tensor by name.
type Tensors = BTreeMap<String, (String, Vec<usize>, (u64, u64))>;

/// The result of the two readers for one header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Both readers accept the header and return the same tensors.
    Both,
    /// Our reader refuses the header for one of the listed stricter reasons.
    Stricter,
    /// Both readers refuse the header.
    Neither,
}

/// Reads a header that `data_len` bytes of data follow with the crate.
fn by_crate(json: &[u8], data_len: u64) -> Option<Tensors> {
    let metadata: Metadata = serde_json::from_slice(json).ok()?;
    (metadata.data_len() as u64 == data_len).then(|| {
        metadata
            .tensors()
            .into_iter()
            .map(|(name, t)| {
                let range = (t.data_offsets.0 as u64, t.data_offsets.1 as u64);
                (name, (format!("{:?}", t.dtype), t.shape.clone(), range))
            })
            .collect()
    })
}

/// Reads a header with both readers.
///
/// # Errors
/// The difference between their results, unless it is one of the listed stricter reasons.
pub fn compare(json: &[u8], data_len: u64) -> Result<Verdict, String> {
    let shown = || String::from_utf8_lossy(json);
    match (Header::parse(json, data_len), by_crate(json, data_len)) {
        (Ok(header), Some(theirs)) => {
            let ours: Tensors = header
                .tensors()
                .iter()
                .map(|t| {
                    let range = (t.range.start, t.range.end);
                    (t.name.clone(), (format!("{:?}", t.dtype), t.shape.clone(), range))
                })
                .collect();
            if ours == theirs {
                Ok(Verdict::Both)
            } else {
                Err(format!("Our reader returns {ours:?}, but the crate {theirs:?}: {}", shown()))
            }
        }
        (Ok(_), None) => Err(format!("Our reader accepts a header that the crate refuses: {}", shown())),
        (Err(fault), Some(_)) if fault.is_stricter() => Ok(Verdict::Stricter),
        (Err(fault), Some(_)) => Err(format!("{fault} is not a listed stricter reason: {}", shown())),
        (Err(_), None) => Ok(Verdict::Neither),
    }
}

/// Returns a file with this header and `data_len` zero bytes of data.
pub fn file(json: &[u8], data_len: usize) -> Vec<u8> {
    let mut file = (json.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(json);
    file.resize(file.len() + data_len, 0);
    file
}

/// Reads a whole file with both readers. Calls the public entry point of the crate.
///
/// # Errors
/// The difference between their results, unless it is one of the listed stricter reasons.
pub fn compare_files(file: &[u8]) -> Result<Verdict, String> {
    let theirs = SafeTensors::deserialize(file);
    let Some((length, rest)) = file.split_first_chunk::<{ LENGTH_BYTES as usize }>() else {
        return theirs.map_or(Ok(Verdict::Neither), |_| {
            Err("The crate accepts a file without a header length.".to_owned())
        });
    };
    let ours = Header::check_length(*length, file.len() as u64).and_then(|length| {
        let (json, data) = rest.split_at(length as usize);
        Header::parse(json, data.len() as u64)
    });
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => {
            let same = |tensor: &TensorEntry| {
                theirs.tensor(&tensor.name).is_ok_and(|other| {
                    let bytes = tensor.range.end - tensor.range.start;
                    (other.dtype(), other.shape(), other.data().len() as u64)
                        == (tensor.dtype, &tensor.shape[..], bytes)
                })
            };
            match ours.tensors().iter().find(|tensor| !same(tensor)) {
                None if ours.tensors().len() == theirs.len() => Ok(Verdict::Both),
                other => Err(format!("The crate returns {other:?} differently, or returns more tensors.")),
            }
        }
        (Ok(_), Err(e)) => Err(format!("Our reader accepts a file that the crate refuses: {e}")),
        (Err(fault), Ok(_)) if fault.is_stricter() => Ok(Verdict::Stricter),
        (Err(fault), Ok(_)) => Err(format!("{fault} is not a listed stricter reason.")),
        (Err(_), Err(_)) => Ok(Verdict::Neither),
    }
}
