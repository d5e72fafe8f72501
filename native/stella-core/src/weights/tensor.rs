//! The elements of tensors: reads them from a file in chunks, and checks each chunk while it is in the cache.

use std::collections::HashMap;
use std::io::{ErrorKind, Read};
use std::path::Path;

use bytemuck::Pod;
use bytemuck::allocation::try_zeroed_vec;
use half::{bf16, f16};
use safetensors::Dtype;
use stella_kernels::numbers::Rows;

use crate::base::error::{Error, Result};
use crate::weights::header::TensorEntry;

#[cfg(target_endian = "big")]
compile_error!("safetensors files are little-endian, so the target must be little-endian too");

/// Bytes of a chunk. Small enough to stay in the first cache levels until it has been checked.
const CHUNK_BYTES: usize = 64 << 10;

/// An error of reading a tensor.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// The file ended inside the tensor.
    Ended,
    Io(std::io::Error),
    OutOfMemory(u64),
    /// An element that is NaN or infinite.
    NotFinite {
        tensor: String,
        at: usize,
        value: f32,
    },
    /// The element type is not supported, which the check of the header should have refused.
    Dtype(Dtype),
}

impl ReadError {
    /// Converts to an error of the file `path`.
    pub(crate) fn of_file(self, path: &Path) -> Error {
        let path = path.to_owned();
        let invalid = |path, reason| Error::FileInvalid { path, reason, source: None };
        match self {
            Self::Ended => {
                invalid(path, "The file was cut while it was loaded. Load the model again.".to_owned())
            }
            Self::Io(source) => Error::FileUnreadable { path, source },
            Self::OutOfMemory(bytes) => {
                Error::OutOfMemory { what: format!("the weights of {}", path.display()), bytes }
            }
            Self::NotFinite { tensor, at, value } => invalid(
                path,
                format!("The tensor {tensor} has the value {value} at element {at}. Weights must be finite."),
            ),
            Self::Dtype(dtype) => Error::Internal(format!("The dtype {dtype:?} was not checked.")),
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

/// Reads the next elements of the tensor `entry` into `bytes`. The first of them is its element `begin`. With
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

/// Views bytes as rows of elements. The bytes must be aligned for the element type.
pub(crate) fn rows_of(dtype: Dtype, bytes: &[u8]) -> std::result::Result<Rows<'_>, ReadError> {
    match dtype {
        Dtype::F32 => Ok(Rows::F32(bytemuck::cast_slice(bytes))),
        Dtype::F16 => Ok(Rows::F16(bytemuck::cast_slice(bytes))),
        Dtype::BF16 => Ok(Rows::Bf16(bytemuck::cast_slice(bytes))),
        other => Err(ReadError::Dtype(other)),
    }
}

/// Returns whether no number is NaN or infinite.
#[inline(always)]
fn all_finite(rows: Rows<'_>) -> bool {
    match rows {
        Rows::F32(numbers) => <f32 as Element>::all_finite(numbers),
        Rows::F16(numbers) => <f16 as Element>::all_finite(numbers),
        Rows::Bf16(numbers) => <bf16 as Element>::all_finite(numbers),
    }
}

/// An element type of weights.
trait Element: Pod {
    fn all_finite(numbers: &[Self]) -> bool;
}

macro_rules! element {
    ($type:ty, $bits:ty, $exponent:literal) => {
        impl Element for $type {
            #[inline(always)]
            fn all_finite(numbers: &[Self]) -> bool {
                // The exponent of NaN and infinity is all ones, so that adding one to it carries into the highest bit. The
                // loop has no branches, so that it vectorizes on every instruction set and runs at the speed of the cache.
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

/// Whole tensors in f32 by name: their shapes, and their elements in row-major order.
#[derive(Debug, Default)]
pub struct Tensors(HashMap<String, (Vec<usize>, Vec<f32>)>);

impl Tensors {
    /// Widens rows of a tensor to f32 and stores them, beginning at row `first`.
    pub(crate) fn write_rows(&mut self, entry: &TensorEntry, first: usize, rows: Rows<'_>) -> Result<()> {
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
            .ok_or_else(|| {
                Error::Internal(format!("The tensor {} has more rows than its shape.", entry.name))
            })
    }

    /// Returns whether there is a tensor of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Removes and returns a tensor.
    ///
    /// # Errors
    /// [`Error::Internal`] for a tensor that was not loaded or was taken before.
    pub fn take(&mut self, name: &str) -> Result<(Vec<usize>, Vec<f32>)> {
        self.0
            .remove(name)
            .ok_or_else(|| Error::Internal(format!("The tensor {name} was not loaded, or was taken before.")))
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
        tensors.write_rows(&entry, 0, rows_of(dtype, &room).map_err(|e| e.of_file(Path::new("m")))?)?;
        tensors.take("w").map(|(_, numbers)| numbers)
    }

    /// Encodes numbers in a type. Returns the bytes, and the numbers after rounding to the type.
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
        fn finite_numbers_are_read_without_a_change(numbers in proptest::collection::vec(-60000f32..60000.0, 0..99)) {
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
                let says = format!("tensor w has the value {bad} at element {at}.");
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
    fn a_tensor_larger_than_the_memory_is_an_error() {
        let entry =
            TensorEntry { name: "w".to_owned(), dtype: Dtype::F32, shape: vec![1 << 60], range: 0..1 << 62 };
        let error = Tensors::default().write_rows(&entry, 0, Rows::F32(&[])).unwrap_err();
        assert!(matches!(error, Error::OutOfMemory { bytes, .. } if bytes == 1 << 62), "{error}");
    }
}
