//! Rows of activations in the form that a matrix product reads.

use crate::buffer::{ALIGNMENT, Buffer, OutOfMemory};
use crate::pack::Rows;

/// What the numbers of a matrix product are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Arithmetic {
    /// 32-bit floating point.
    F32,
    /// Weights in bfloat16, sums in 32 bits. Activations are rounded to bfloat16 where the processor multiplies that
    /// by itself, and stay in 32 bits where weights are widened.
    Bf16,
    /// Weights in signed bytes with a scale for each column, activations in bytes with a scale for each row, sums of whole
    /// numbers.
    Int8,
}

/// What an element of activations is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    F32,
    Bf16,
    /// A whole number plus [`ZERO_POINT`]; times the scale of the row it is what it stands for.
    Bytes,
}

/// The byte that stands for zero.
pub(crate) const ZERO_POINT: i32 = 128;
/// Numbers are scaled to at most this in bytes.
pub(crate) const BYTE_LIMIT: f32 = 127.0;
/// Steps of a row are a multiple of this, so that tiles need no remainder.
pub(crate) const STEP_GRANULE: usize = 16;
/// Rows of memory are a multiple of this: a tile may read more rows than it is asked for.
pub const ROW_GRANULE: usize = 32;

impl Format {
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
            Self::Bytes => 1,
        }
    }
}

/// Numbers of a step of weights.
pub(crate) fn step_numbers(arithmetic: Arithmetic) -> usize {
    match arithmetic {
        Arithmetic::F32 => 1,
        Arithmetic::Bf16 => 2,
        Arithmetic::Int8 => 4,
    }
}

/// Steps of a row of `inputs` numbers.
pub(crate) fn steps(arithmetic: Arithmetic, inputs: usize) -> usize {
    inputs.div_ceil(step_numbers(arithmetic)).next_multiple_of(STEP_GRANULE)
}

/// Numbers from row to row of rows of `width` that wait for a scale.
pub(crate) fn unscaled_stride(width: usize) -> usize {
    apart(4 * width) / 4
}

/// Bytes from row to row for rows of so many: an odd number of cache lines.
fn apart(bytes: usize) -> usize {
    (bytes.div_ceil(ALIGNMENT) | 1) * ALIGNMENT
}

/// Rows of `width` numbers each, for products in one arithmetic.
///
/// Behind the last number of a row are zeros, up to a whole step. Rows lie apart by an odd number of cache lines, so that
/// the same place of many rows does not fall into the same few places of the cache.
#[derive(Debug)]
pub struct Activations {
    pub(crate) format: Format,
    pub(crate) arithmetic: Arithmetic,
    pub(crate) width: usize,
    pub(crate) rows: usize,
    /// Bytes from row to row.
    pub(crate) stride: usize,
    pub(crate) data: Buffer<u8>,
    /// For each row of bytes, what one of them is worth.
    pub(crate) scales: Buffer<f32>,
}

impl Activations {
    pub(crate) fn new(
        arithmetic: Arithmetic,
        format: Format,
        rows: usize,
        width: usize,
    ) -> Result<Self, OutOfMemory> {
        let stride = Self::stride_for(arithmetic, format, width);
        let memory_rows = rows.next_multiple_of(ROW_GRANULE);
        let scaled = if format == Format::Bytes { rows } else { 0 };
        Ok(Self {
            format,
            arithmetic,
            width,
            rows,
            stride,
            data: Buffer::zeroed(memory_rows * stride)?,
            scales: Buffer::zeroed(scaled)?,
        })
    }

    /// Bytes of memory that are written when `rows` rows are used.
    pub(crate) fn bytes_for(arithmetic: Arithmetic, format: Format, rows: usize, width: usize) -> u64 {
        let scale = if format == Format::Bytes { 4 } else { 0 };
        (rows * (Self::stride_for(arithmetic, format, width) + scale)) as u64
    }

    fn stride_for(arithmetic: Arithmetic, format: Format, width: usize) -> usize {
        apart(steps(arithmetic, width) * step_numbers(arithmetic) * format.bytes())
    }

    /// The arithmetic that it is for.
    pub fn arithmetic(&self) -> Arithmetic {
        self.arithmetic
    }

    /// The first `rows` rows as numbers in 32 bits, row-major `[rows, width]`.
    ///
    /// # Panics
    /// When there are fewer rows, or when they are bytes.
    pub fn widen(&self, rows: usize) -> Vec<f32> {
        assert!(rows <= self.rows && self.format != Format::Bytes, "{rows} rows that are not bytes");
        let mut wide = vec![0.0; rows * self.width];
        let each = wide.chunks_exact_mut(self.width).zip(self.data.chunks_exact(self.stride));
        for (wide, row) in each {
            let row = &row[..self.width * self.format.bytes()];
            match self.format {
                Format::Bf16 => Rows::Bf16(bytemuck::cast_slice(row)).widen(wide),
                _ => Rows::F32(bytemuck::cast_slice(row)).widen(wide),
            }
        }
        wide
    }
}
