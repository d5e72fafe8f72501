//! The numbers of tensors out of a file, a piece at a time, each looked at while it is in the cache.

use std::collections::HashMap;
use std::io::{ErrorKind, Read};
use std::path::Path;

use bytemuck::Pod;
use bytemuck::allocation::try_zeroed_vec;
use half::{bf16, f16};
use safetensors::Dtype;
use stella_kernels::pack::Rows;

use crate::base::error::{Error, Result};
use crate::weights::header::TensorEntry;

#[cfg(target_endian = "big")]
compile_error!("safetensors files are little-endian, and so must be the machine that reads them by copying");

/// Bytes that are read at once: few enough to stay in the first caches until they have been looked at.
const CHUNK_BYTES: usize = 64 << 10;

/// Why a tensor could not be read.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// The file ended before the tensor.
    Ended,
    Io(std::io::Error),
    OutOfMemory(u64),
    /// An element that is NaN or infinite.
    NotFinite {
        tensor: String,
        at: usize,
        value: f32,
    },
    /// A type that should have been refused before.
    Dtype(Dtype),
}

impl ReadError {
    /// As an error of the file `path`.
    pub(crate) fn of_file(self, path: &Path) -> Error {
        let path = path.to_owned();
        let invalid = |path, reason| Error::FileInvalid { path, reason, source: None };
        match self {
            Self::Ended => {
                invalid(path, "was cut while it was being loaded. Load the model anew.".to_owned())
            }
            Self::Io(source) => Error::FileUnreadable { path, source },
            Self::OutOfMemory(bytes) => {
                Error::OutOfMemory { what: format!("the weights of {}", path.display()), bytes }
            }
            Self::NotFinite { tensor, at, value } => invalid(
                path,
                format!("tensor {tensor} holds {value} at element {at}; weights must be finite"),
            ),
            Self::Dtype(dtype) => Error::Internal(format!("dtype {dtype:?} was never checked")),
        }
    }
}

/// Fills `bytes` from `source`.
pub(crate) fn read_exact(source: &mut dyn Read, bytes: &mut [u8]) -> std::result::Result<(), ReadError> {
    source.read_exact(bytes).map_err(|e| match e.kind() {
        ErrorKind::UnexpectedEof => ReadError::Ended,
        _ => ReadError::Io(e),
    })
}

/// Fills `bytes` with the next elements of the tensor `entry`, of which the first is its element `begin`. With
/// `check_finite`, an element that is NaN or infinite is an error.
pub(crate) fn read_elements(
    source: &mut dyn Read,
    entry: &TensorEntry,
    begin: usize,
    bytes: &mut [u8],
    check_finite: bool,
) -> std::result::Result<(), ReadError> {
    let vectors = pulp::Arch::new();
    let size = entry.dtype.bitsize() / 8;
    for (i, chunk) in bytes.chunks_mut(CHUNK_BYTES).enumerate() {
        read_exact(source, chunk)?;
        let rows = rows_of(entry.dtype, chunk)?;
        if check_finite && !vectors.dispatch(|| all_finite(rows)) {
            let mut values = vec![0.0; rows.len()];
            rows.widen(&mut values);
            let first = begin + i * CHUNK_BYTES / size;
            if let Some((at, value)) = (first..).zip(values).find(|(_, value)| !value.is_finite()) {
                return Err(ReadError::NotFinite { tensor: entry.name.clone(), at, value });
            }
        }
    }
    Ok(())
}

/// Bytes as the elements that they are. They begin where any element may.
pub(crate) fn rows_of(dtype: Dtype, bytes: &[u8]) -> std::result::Result<Rows<'_>, ReadError> {
    match dtype {
        Dtype::F32 => Ok(Rows::F32(bytemuck::cast_slice(bytes))),
        Dtype::F16 => Ok(Rows::F16(bytemuck::cast_slice(bytes))),
        Dtype::BF16 => Ok(Rows::Bf16(bytemuck::cast_slice(bytes))),
        other => Err(ReadError::Dtype(other)),
    }
}

/// Whether none of the numbers is NaN or infinite.
#[inline(always)]
fn all_finite(rows: Rows<'_>) -> bool {
    match rows {
        Rows::F32(numbers) => <f32 as Element>::all_finite(numbers),
        Rows::F16(numbers) => <f16 as Element>::all_finite(numbers),
        Rows::Bf16(numbers) => <bf16 as Element>::all_finite(numbers),
    }
}

/// A type that weights come in.
trait Element: Pod {
    fn all_finite(numbers: &[Self]) -> bool;
}

macro_rules! element {
    ($type:ty, $bits:ty, $exponent:literal) => {
        impl Element for $type {
            #[inline(always)]
            fn all_finite(numbers: &[Self]) -> bool {
                // A number is not finite when its exponent is all ones, and then adding one to the exponent carries
                // into the highest bit. No branch and no comparison: every vector unit can do this at the speed
                // of the cache.
                const LOWEST: $bits = $exponent & <$bits>::wrapping_neg($exponent);
                let carried = numbers.iter().fold(0, |any, x| any | ((x.to_bits() & $exponent) + LOWEST));
                carried >> (<$bits>::BITS - 1) == 0
            }
        }
    };
}

element!(f32, u32, 0x7f80_0000);
element!(f16, u16, 0x7c00);
element!(bf16, u16, 0x7f80);

/// Whole tensors in 32 bits, by name: row-major, with their shapes.
#[derive(Debug, Default)]
pub struct Tensors(HashMap<String, (Vec<usize>, Vec<f32>)>);

impl Tensors {
    /// Takes rows of a tensor, those from `first` on.
    pub(crate) fn put(&mut self, entry: &TensorEntry, first: usize, rows: Rows<'_>) -> Result<()> {
        if !self.0.contains_key(&entry.name) {
            let count = entry.shape.iter().product();
            let mut numbers: Vec<f32> = try_zeroed_vec(count).map_err(|()| Error::OutOfMemory {
                what: format!("the tensor {}", entry.name),
                bytes: (count as u64).saturating_mul(size_of::<f32>() as u64),
            })?;
            stella_kernels::buffer::prefer_huge_pages(&mut numbers);
            self.0.insert(entry.name.clone(), (entry.shape.clone(), numbers));
        }
        let begin = first * entry.row_len();
        self.0
            .get_mut(&entry.name)
            .and_then(|(_, numbers)| numbers.get_mut(begin..begin + rows.len()))
            .map(|to| rows.widen(to))
            .ok_or_else(|| Error::Internal(format!("tensor {} has rows beyond its shape", entry.name)))
    }

    /// Whether there is a tensor of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Takes a tensor. Each can be taken once.
    ///
    /// # Errors
    /// [`Error::Internal`] for one that was not loaded.
    pub fn take(&mut self, name: &str) -> Result<(Vec<usize>, Vec<f32>)> {
        self.0
            .remove(name)
            .ok_or_else(|| Error::Internal(format!("tensor {name} was not loaded, or taken before")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use stella_kernels::buffer::Buffer;

    /// Reads `bytes` as a tensor of one dimension.
    fn read(dtype: Dtype, mut bytes: &[u8]) -> Result<Vec<f32>> {
        let shape = vec![bytes.len() * 8 / dtype.bitsize()];
        let entry = TensorEntry { name: "w".to_owned(), dtype, shape, range: 0..bytes.len() as u64 };
        let mut room = Buffer::<u8>::zeroed(bytes.len()).unwrap();
        read_elements(&mut bytes, &entry, 0, &mut room, true).map_err(|e| e.of_file(Path::new("m")))?;
        let mut tensors = Tensors::default();
        tensors.put(&entry, 0, rows_of(dtype, &room).map_err(|e| e.of_file(Path::new("m")))?)?;
        tensors.take("w").map(|(_, numbers)| numbers)
    }

    /// The bytes of `numbers` in a type, and what they are in it.
    fn encode(numbers: &[f32], dtype: Dtype) -> (Vec<u8>, Vec<f32>) {
        let each = numbers.iter().map(|&x| match dtype {
            Dtype::F16 => (f16::from_f32(x).to_le_bytes().to_vec(), f16::from_f32(x).to_f32()),
            Dtype::BF16 => (bf16::from_f32(x).to_le_bytes().to_vec(), bf16::from_f32(x).to_f32()),
            _ => (x.to_le_bytes().to_vec(), x),
        });
        let (bytes, values): (Vec<_>, Vec<_>) = each.unzip();
        (bytes.concat(), values)
    }

    const TYPES: [Dtype; 3] = [Dtype::F32, Dtype::F16, Dtype::BF16];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn finite_numbers_arrive_as_they_are(numbers in proptest::collection::vec(-60000f32..60000.0, 0..99)) {
            for dtype in TYPES {
                let (bytes, values) = encode(&numbers, dtype);
                prop_assert_eq!(read(dtype, &bytes).unwrap(), values);
            }
        }

        #[test]
        fn the_first_number_that_is_not_finite_is_found_in_every_type(
            at in 0usize..150_000, bad in prop_oneof![Just(f32::NAN), Just(f32::INFINITY), Just(f32::NEG_INFINITY)]
        ) {
            // More than one chunk in every type, with the largest numbers of the smallest type before and after.
            let mut numbers = vec![f32::from(f16::MAX); 150_000];
            numbers[at] = bad;
            numbers[149_999] = f32::NAN;
            let bad = if at == 149_999 { f32::NAN } else { bad };
            for dtype in TYPES {
                let error = read(dtype, &encode(&numbers, dtype).0).unwrap_err().to_string();
                let says = format!("tensor w holds {bad} at element {at};");
                prop_assert!(error.contains(&says), "{}", error);
            }
        }
    }

    #[test]
    fn a_file_that_ends_early_is_an_error() {
        let entry = TensorEntry { name: "w".to_owned(), dtype: Dtype::F32, shape: vec![2], range: 0..8 };
        let mut room = Buffer::<u8>::zeroed(8).unwrap();
        let error = read_elements(&mut &[0u8; 7][..], &entry, 0, &mut room, true);
        assert!(matches!(error, Err(ReadError::Ended)));
    }

    #[test]
    fn more_than_there_is_memory_is_an_error() {
        let entry =
            TensorEntry { name: "w".to_owned(), dtype: Dtype::F32, shape: vec![1 << 60], range: 0..1 << 62 };
        let error = Tensors::default().put(&entry, 0, Rows::F32(&[])).unwrap_err();
        assert!(matches!(error, Error::OutOfMemory { bytes, .. } if bytes == 1 << 62), "{error}");
    }
}
