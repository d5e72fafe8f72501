//! One tensor in memory, in the type that its file has.

use std::io::{ErrorKind, Read};
use std::path::Path;

use bytemuck::Pod;
use bytemuck::allocation::try_zeroed_vec;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use safetensors::Dtype;

use crate::counters::TENSORS;
use crate::error::{Error, Result};
use crate::header::TensorEntry;

#[cfg(target_endian = "big")]
compile_error!("safetensors files are little-endian, and so must be the machine that reads them by copying");

/// Bytes that are read at once: few enough to stay in the cache until they have been looked at.
const CHUNK_BYTES: usize = 64 << 10;
/// Bytes that are handed on at once to who hashes them.
pub(crate) const PIECE_BYTES: usize = 1 << 20;

/// A tensor as its file has it.
#[derive(Debug)]
pub struct RawTensor {
    shape: Vec<usize>,
    data: Data,
}

#[derive(Debug)]
enum Data {
    F32(Vec<f32>),
    F16(Vec<f16>),
    Bf16(Vec<bf16>),
}

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
            Self::Ended => invalid(path, "was cut while it was being loaded".to_owned()),
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

impl RawTensor {
    /// Room for the tensor `entry`. The memory is asked of the system as zeros, which costs nothing before it is touched.
    pub(crate) fn zeroed(entry: &TensorEntry) -> Result<Self, ReadError> {
        let data = match entry.dtype {
            Dtype::F32 => Data::F32(zeros(entry)?),
            Dtype::F16 => Data::F16(zeros(entry)?),
            Dtype::BF16 => Data::Bf16(zeros(entry)?),
            other => return Err(ReadError::Dtype(other)),
        };
        TENSORS.add_one();
        Ok(Self { shape: entry.shape.clone(), data })
    }

    /// Reads the tensor `entry`, for which this was made and whose bytes come next in `source`, and hands them to `done`
    /// in pieces. With `check_finite`, an element that is NaN or infinite is an error.
    pub(crate) fn fill<'a>(
        &'a mut self,
        entry: &TensorEntry,
        source: &mut impl Read,
        check_finite: bool,
        done: impl FnMut(&'a [u8]),
    ) -> Result<(), ReadError> {
        match &mut self.data {
            Data::F32(numbers) => read_numbers(numbers, entry, source, check_finite, done),
            Data::F16(numbers) => read_numbers(numbers, entry, source, check_finite, done),
            Data::Bf16(numbers) => read_numbers(numbers, entry, source, check_finite, done),
        }
    }

    /// The tensor `entry`, read in one go: [`Self::zeroed`] and [`Self::fill`].
    pub(crate) fn read(
        entry: &TensorEntry,
        source: &mut impl Read,
        check_finite: bool,
    ) -> Result<Self, ReadError> {
        let mut tensor = Self::zeroed(entry)?;
        tensor.fill(entry, source, check_finite, |_| ())?;
        Ok(tensor)
    }

    /// Its bytes, as they are in the file.
    #[cfg(test)]
    fn bytes(&self) -> &[u8] {
        match &self.data {
            Data::F32(numbers) => bytemuck::cast_slice(numbers),
            Data::F16(numbers) => bytemuck::cast_slice(numbers),
            Data::Bf16(numbers) => bytemuck::cast_slice(numbers),
        }
    }

    /// Its shape, and its elements as `f32`. Exact: every F16 and BF16 value is an F32 value.
    pub(crate) fn into_f32(self) -> (Vec<usize>, Vec<f32>) {
        let numbers = match self.data {
            Data::F32(numbers) => numbers,
            Data::F16(numbers) => numbers.to_f32_vec(),
            Data::Bf16(numbers) => numbers.to_f32_vec(),
        };
        (self.shape, numbers)
    }
}

/// A type that weights come in.
trait Element: Pod + Into<f32> {
    /// Whether none of `numbers` is NaN or infinite.
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

/// Room for the numbers of a tensor.
fn zeros<T: Element>(entry: &TensorEntry) -> Result<Vec<T>, ReadError> {
    let bytes = entry.range.end - entry.range.start;
    let out_of_memory = || ReadError::OutOfMemory(bytes);
    let count = usize::try_from(bytes / size_of::<T>() as u64).map_err(|_| out_of_memory())?;
    let mut numbers: Vec<T> = try_zeroed_vec(count).map_err(|()| out_of_memory())?;
    stella_kernels::buffer::prefer_huge_pages(&mut numbers);
    Ok(numbers)
}

/// Reads the numbers of a tensor, in chunks that are still in the cache when they are looked at.
fn read_numbers<'a, T: Element>(
    numbers: &'a mut [T],
    entry: &TensorEntry,
    source: &mut impl Read,
    check_finite: bool,
    mut done: impl FnMut(&'a [u8]),
) -> Result<(), ReadError> {
    let vectors = pulp::Arch::new();
    let mut begin = 0;
    for piece in numbers.chunks_mut(PIECE_BYTES / size_of::<T>()) {
        for chunk in piece.chunks_mut(CHUNK_BYTES / size_of::<T>()) {
            source.read_exact(bytemuck::cast_slice_mut(chunk)).map_err(|e| match e.kind() {
                ErrorKind::UnexpectedEof => ReadError::Ended,
                _ => ReadError::Io(e),
            })?;
            if check_finite && !vectors.dispatch(|| T::all_finite(chunk)) {
                let values = chunk.iter().map(|&x| x.into());
                let found = (begin..).zip(values).find(|(_, value): &(usize, f32)| !value.is_finite());
                if let Some((at, value)) = found {
                    return Err(ReadError::NotFinite { tensor: entry.name.clone(), at, value });
                }
            }
            begin += chunk.len();
        }
        done(bytemuck::cast_slice(piece));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Reads `bytes` as a tensor of one dimension.
    fn read(dtype: Dtype, bytes: &[u8]) -> Result<RawTensor> {
        let shape = vec![bytes.len() * 8 / dtype.bitsize()];
        let entry = TensorEntry { name: "w".to_owned(), dtype, shape, range: 0..bytes.len() as u64 };
        RawTensor::read(&entry, &mut &*bytes, true).map_err(|e| e.of_file(Path::new("m")))
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
                let tensor = read(dtype, &bytes).unwrap();
                prop_assert_eq!(tensor.bytes(), &bytes);
                prop_assert_eq!(tensor.into_f32(), (vec![numbers.len()], values));
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
        assert!(matches!(RawTensor::read(&entry, &mut &[0u8; 7][..], true), Err(ReadError::Ended)));
    }

    #[test]
    fn more_than_there_is_memory_is_an_error() {
        let entry =
            TensorEntry { name: "w".to_owned(), dtype: Dtype::F32, shape: vec![1 << 60], range: 0..1 << 62 };
        let error = RawTensor::read(&entry, &mut std::io::empty(), true).unwrap_err();
        assert!(matches!(error, ReadError::OutOfMemory(bytes) if bytes == 1 << 62));
    }
}
