//! Activations: rows of numbers in the format that a matrix product reads, and the conversion of `f32` rows to it.

use crate::arithmetic::{ActivationFormat, Arithmetic};
use crate::buffer::{Buffer, OutOfMemory, row_stride};
use crate::kernel::row_sink::{ConvertJob, RowSink};
use crate::numbers::Rows;
use crate::table::Kernels;
use crate::team::Team;

/// The memory of activations has a multiple of this many rows, because a tile may read more rows than it has.
pub const ROW_GRANULE: usize = 32;

/// A buffer of activations: rows of `width` numbers for products in one arithmetic.
///
/// The last step of a row is filled up with zeros. Rows are an odd number of cache lines apart.
#[derive(Debug)]
pub struct Activations {
    pub(crate) format: ActivationFormat,
    pub(crate) arithmetic: Arithmetic,
    pub(crate) width: usize,
    pub(crate) rows: usize,
    /// Bytes from row to row.
    pub(crate) stride: usize,
    pub(crate) data: Buffer<u8>,
    /// Scale of each row, if rows are quantized.
    pub(crate) row_scales: Buffer<f32>,
}

impl Activations {
    fn new(
        arithmetic: Arithmetic,
        format: ActivationFormat,
        rows: usize,
        width: usize,
    ) -> Result<Self, OutOfMemory> {
        let stride = Self::stride_for(arithmetic, format, width);
        let memory_rows = rows.next_multiple_of(ROW_GRANULE);
        let scales = if format == ActivationFormat::QuantizedU8 { rows } else { 0 };
        Ok(Self {
            format,
            arithmetic,
            width,
            rows,
            stride,
            data: Buffer::zeroed(memory_rows * stride)?,
            row_scales: Buffer::zeroed(scales)?,
        })
    }

    fn stride_for(arithmetic: Arithmetic, format: ActivationFormat, width: usize) -> usize {
        row_stride(arithmetic.steps(width) * arithmetic.step_numbers() * format.bytes())
    }

    /// Returns the arithmetic of the products that read these activations.
    pub fn arithmetic(&self) -> Arithmetic {
        self.arithmetic
    }

    /// Returns the first `rows` rows as `f32`, row-major `[rows, width]`.
    ///
    /// # Panics
    /// When the buffer has fewer rows, or the rows are quantized.
    pub fn widen(&self, rows: usize) -> Vec<f32> {
        assert!(rows <= self.rows, "The buffer has {} rows, not {rows}.", self.rows);
        assert!(self.format != ActivationFormat::QuantizedU8, "Quantized rows cannot be widened.");
        let mut wide = vec![0.0; rows * self.width];
        let pairs = wide.chunks_exact_mut(self.width).zip(self.data.chunks_exact(self.stride));
        for (wide, row) in pairs {
            let row = &row[..self.width * self.format.bytes()];
            match self.format {
                ActivationFormat::Bf16 => Rows::Bf16(bytemuck::cast_slice(row)).widen(wide),
                _ => Rows::F32(bytemuck::cast_slice(row)).widen(wide),
            }
        }
        wide
    }

    /// Returns a writer of the rows. `channel_scales` are multiplied with numbers before they are quantized.
    pub(crate) fn row_sink(&mut self, channel_scales: Option<&[f32]>) -> RowSink {
        assert!(
            channel_scales.is_none_or(|scales| scales.len() == self.width),
            "The number of channel scales must be {}.",
            self.width
        );
        RowSink {
            format: self.format,
            data: self.data.as_mut_ptr(),
            stride: self.stride,
            row_scales: self.row_scales.as_mut_ptr(),
            channel_scales: channel_scales.map(<[f32]>::as_ptr),
        }
    }
}

/// Returns the distance between `f32` rows of `width` numbers that are to be quantized, in numbers.
pub(crate) fn unquantized_stride(width: usize) -> usize {
    row_stride(4 * width) / 4
}

impl Kernels {
    /// Allocates an activation buffer of `rows` rows of `width` numbers.
    ///
    /// # Errors
    /// [`OutOfMemory`]
    pub fn activations(
        self,
        arithmetic: Arithmetic,
        rows: usize,
        width: usize,
    ) -> Result<Activations, OutOfMemory> {
        Activations::new(arithmetic, self.activation_format(arithmetic), rows, width)
    }

    /// Returns the memory that an activation buffer occupies once `rows` rows of `width` numbers are written, in bytes.
    pub fn activation_bytes(self, arithmetic: Arithmetic, rows: usize, width: usize) -> u64 {
        let format = self.activation_format(arithmetic);
        let scale = if format == ActivationFormat::QuantizedU8 { 4 } else { 0 };
        (rows * (Activations::stride_for(arithmetic, format, width) + scale)) as u64
    }

    /// Converts `x`, row-major `[rows, width]`, to activations. If `out` is quantized, numbers are multiplied by
    /// `channel_scales` before.
    ///
    /// # Panics
    /// When sizes do not match.
    pub fn convert_rows(
        self,
        team: &mut Team,
        x: &[f32],
        channel_scales: Option<&[f32]>,
        out: &mut Activations,
    ) {
        let rows = x.len() / out.width;
        assert_eq!(rows * out.width, x.len(), "The last row of {} numbers is incomplete.", out.width);
        self.convert_strided_rows(team, (x, out.width), rows, channel_scales, out);
    }

    /// Converts `rows` rows, which begin `from_stride` numbers apart in `from`, to activations.
    ///
    /// # Panics
    /// When sizes do not match.
    #[allow(unsafe_code)]
    pub(crate) fn convert_strided_rows(
        self,
        team: &mut Team,
        (from, from_stride): (&[f32], usize),
        rows: usize,
        channel_scales: Option<&[f32]>,
        out: &mut Activations,
    ) {
        let width = out.width;
        assert!(rows <= out.rows, "The output has {} rows, not {rows}.", out.rows);
        assert!(
            width <= from_stride && rows * from_stride <= from.len(),
            "The input must have {rows} rows of {width} numbers, {from_stride} apart."
        );
        let job = ConvertJob { from: from.as_ptr(), from_stride, width, to: out.row_sink(channel_scales) };
        team.run_row_blocks(rows, &|rows, _| {
            // SAFETY: the instruction set is available. The rows belong to this task alone, and the sizes of both sides
            // were checked above.
            unsafe { (self.table().convert_rows)(&job, rows) };
        });
    }
}
