//! One tensor in memory, in the type that its file has.

use std::io::{ErrorKind, Read};
use std::path::Path;

use bytemuck::Pod;
use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};
use safetensors::Dtype;

use crate::error::{Error, Result};
use crate::header::TensorEntry;

#[cfg(target_endian = "big")]
compile_error!("safetensors files are little-endian, and so must be the machine that reads them by copying");

/// Numbers that pass through the cache at once while a tensor is read; 64 bits each, so that any element fits.
const SCRATCH_WORDS: usize = 32 << 10;

/// A tensor as its file has it.
#[derive(Debug)]
pub struct RawTensor {
    shape: Vec<usize>,
    data: Data,
}

#[derive(Debug)]
enum Data {
    F32(Vec<f32>),
    F16(Vec<u16>),
    Bf16(Vec<u16>),
}

/// Why a tensor could not be read.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// The file ended before the tensor.
    Ended,
    Io(std::io::Error),
    OutOfMemory(u64),
    /// A type that should have been refused before.
    Dtype(Dtype),
}

impl ReadError {
    /// As an error of the file `path`.
    pub(crate) fn of_file(self, path: &Path) -> Error {
        let path = path.to_owned();
        match self {
            Self::Ended => Error::FileInvalid {
                path,
                reason: "was cut while it was being loaded".to_owned(),
                source: None,
            },
            Self::Io(source) => Error::FileUnreadable { path, source },
            Self::OutOfMemory(bytes) => {
                Error::OutOfMemory { what: format!("the weights of {}", path.display()), bytes }
            }
            Self::Dtype(dtype) => Error::Internal(format!("dtype {dtype:?} was never checked")),
        }
    }
}

impl RawTensor {
    /// Reads the tensor `entry`, whose bytes come next in `source`.
    pub(crate) fn read(entry: &TensorEntry, source: &mut impl Read) -> Result<Self, ReadError> {
        let bytes = entry.range.end - entry.range.start;
        let data = match entry.dtype {
            Dtype::F32 => Data::F32(read_numbers(source, bytes)?),
            Dtype::F16 => Data::F16(read_numbers(source, bytes)?),
            Dtype::BF16 => Data::Bf16(read_numbers(source, bytes)?),
            other => return Err(ReadError::Dtype(other)),
        };
        Ok(Self { shape: entry.shape.clone(), data })
    }

    /// Its bytes, as they are in the file.
    pub(crate) fn bytes(&self) -> &[u8] {
        match &self.data {
            Data::F32(numbers) => bytemuck::cast_slice(numbers),
            Data::F16(numbers) | Data::Bf16(numbers) => bytemuck::cast_slice(numbers),
        }
    }

    /// # Errors
    /// [`Error::FileInvalid`] when an element is NaN or infinite.
    pub(crate) fn check_finite(&self, name: &str, path: &Path) -> Result<()> {
        let found = match &self.data {
            Data::F32(numbers) => first_not_finite(numbers, |x| x.to_bits() & 0x7f80_0000 == 0x7f80_0000),
            Data::F16(numbers) => first_not_finite(numbers, |b| b & 0x7c00 == 0x7c00),
            Data::Bf16(numbers) => first_not_finite(numbers, |b| b & 0x7f80 == 0x7f80),
        };
        let Some(at) = found else { return Ok(()) };
        let value = match &self.data {
            Data::F32(numbers) => numbers[at],
            Data::F16(numbers) => half::f16::from_bits(numbers[at]).to_f32(),
            Data::Bf16(numbers) => half::bf16::from_bits(numbers[at]).to_f32(),
        };
        let reason = format!("tensor {name} holds {value} at element {at}; weights must be finite");
        Err(Error::FileInvalid { path: path.to_owned(), reason, source: None })
    }

    /// Its shape, and its elements as `f32`. Exact: every F16 and BF16 value is an F32 value.
    pub(crate) fn into_f32(self) -> (Vec<usize>, Vec<f32>) {
        let numbers = match self.data {
            Data::F32(numbers) => numbers,
            Data::F16(numbers) => numbers.reinterpret_cast::<half::f16>().to_f32_vec(),
            Data::Bf16(numbers) => numbers.reinterpret_cast::<half::bf16>().to_f32_vec(),
        };
        (self.shape, numbers)
    }
}

/// The first of `numbers` that is not finite, which is when its exponent is all ones. Blocks are first asked as a
/// whole, without a branch: comparing for equality is what every vector unit can do.
fn first_not_finite<T: Copy>(numbers: &[T], not_finite: impl Fn(T) -> bool) -> Option<usize> {
    const BLOCK: usize = 4096;
    numbers.chunks(BLOCK).enumerate().find_map(|(block, chunk)| {
        let any = chunk.iter().fold(false, |any, &x| any | not_finite(x));
        let at = any.then(|| chunk.iter().position(|&x| not_finite(x)))??;
        Some(block * BLOCK + at)
    })
}

/// Reads `bytes` bytes as numbers. What is read goes through a buffer that stays in the cache, because memory that
/// is reserved and not yet written cannot be handed to a reader.
fn read_numbers<T: Pod>(source: &mut impl Read, bytes: u64) -> Result<Vec<T>, ReadError> {
    let count = usize::try_from(bytes / size_of::<T>() as u64).map_err(|_| ReadError::OutOfMemory(bytes))?;
    let mut numbers: Vec<T> = Vec::new();
    numbers.try_reserve_exact(count).map_err(|_| ReadError::OutOfMemory(bytes))?;
    let mut scratch = vec![0u64; SCRATCH_WORDS];
    let scratch: &mut [u8] = bytemuck::cast_slice_mut(&mut scratch);
    while numbers.len() < count {
        let want = scratch.len().min((count - numbers.len()) * size_of::<T>());
        source.read_exact(&mut scratch[..want]).map_err(|e| match e.kind() {
            ErrorKind::UnexpectedEof => ReadError::Ended,
            _ => ReadError::Io(e),
        })?;
        numbers.extend_from_slice(bytemuck::cast_slice(&scratch[..want]));
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_first_number_that_is_not_finite_is_found_in_every_type(
            before in 0usize..9000, bad in prop_oneof![Just(f32::NAN), Just(f32::INFINITY), Just(f32::NEG_INFINITY)]
        ) {
            let path = Path::new("m");
            let mut numbers = vec![f32::from(half::f16::MAX); 9001];
            let tensor = |data| RawTensor { shape: vec![9001], data };
            prop_assert!(tensor(Data::F32(numbers.clone())).check_finite("w", path).is_ok());
            numbers[before] = bad;
            let halves = |to_bits: fn(f32) -> u16| numbers.iter().map(|&x| to_bits(x)).collect::<Vec<_>>();
            let all = [
                Data::F16(halves(|x| half::f16::from_f32(x).to_bits())),
                Data::Bf16(halves(|x| half::bf16::from_f32(x).to_bits())),
                Data::F32(numbers),
            ];
            for data in all {
                let error = tensor(data).check_finite("w", path).unwrap_err().to_string();
                let says = format!("holds {bad} at element {before};");
                prop_assert!(error.contains(&says), "{}", error);
            }
        }
    }
}
