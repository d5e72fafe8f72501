//! Converts rows of `f32` to the format that the next matrix product reads: copies them, rounds them to bfloat16, or
//! quantizes them to int8 with a scale for each row.
#![allow(unsafe_code, unsafe_op_in_unsafe_fn)]

use std::ops::Range;

use crate::arithmetic::{ActivationFormat, QUANT_MAX, ZERO_POINT};
use crate::numbers::bf16_bits;
use crate::simd::Simd;

/// Writer of rows of activations.
pub(crate) struct RowSink {
    pub(crate) format: ActivationFormat,
    pub(crate) data: *mut u8,
    /// Bytes from row to row.
    pub(crate) stride: usize,
    /// Scale of each row, if rows are quantized.
    pub(crate) row_scales: *mut f32,
    /// Factor of each channel, multiplied with numbers before they are quantized. Other formats ignore it.
    pub(crate) channel_scales: Option<*const f32>,
}

/// Rows to convert to activations.
pub(crate) struct ConvertJob {
    pub(crate) from: *const f32,
    /// Numbers from row to row.
    pub(crate) from_stride: usize,
    pub(crate) width: usize,
    pub(crate) to: RowSink,
}

// SAFETY: no two tasks access the same rows.
unsafe impl Sync for ConvertJob {}

/// Converts rows to activations.
///
/// # Safety
/// The instruction set of `S` is available. The job has the rows, and nobody else accesses them.
#[inline(always)]
pub(crate) unsafe fn convert_rows<S: Simd>(job: &ConvertJob, rows: Range<usize>) {
    for row in rows {
        write_row::<S>(&job.to, row, job.from.add(row * job.from_stride), job.width);
    }
}

/// Writes the numbers `y` as a row of activations.
///
/// # Safety
/// The instruction set of `S` is available. `y` has `width` numbers, and the sink has such a row, which nobody else
/// accesses.
#[inline(always)]
pub(crate) unsafe fn write_row<S: Simd>(sink: &RowSink, row: usize, y: *const f32, width: usize) {
    let to = sink.data.add(row * sink.stride);
    match sink.format {
        ActivationFormat::F32 => std::ptr::copy_nonoverlapping(y, to.cast(), width),
        ActivationFormat::Bf16 => round_row_to_bf16::<S>(y, to.cast(), width),
        ActivationFormat::QuantizedU8 => {
            *sink.row_scales.add(row) = quantize_row::<S>(y, sink.channel_scales, to, width);
        }
    }
}

/// Rounds a row to bfloat16.
#[inline(always)]
unsafe fn round_row_to_bf16<S: Simd>(y: *const f32, to: *mut u16, width: usize) {
    let whole = width / S::LANES * S::LANES;
    for i in (0..whole).step_by(S::LANES) {
        S::store_bf16(to.add(i), S::load(y.add(i)));
    }
    for i in whole..width {
        *to.add(i) = bf16_bits(*y.add(i));
    }
}

/// Quantizes a row of activations to int8, stored as unsigned bytes around [`ZERO_POINT`], and returns its scale.
///
/// The scale is the largest absolute value of the row divided by [`QUANT_MAX`]: symmetric quantization, chosen anew for
/// each row (token). Numbers are multiplied by `channel_scales` before, which smooths outlier channels (SmoothQuant). If a
/// number is not finite, the scale is not finite either, and so is no result of the product for this row.
#[inline(always)]
unsafe fn quantize_row<S: Simd>(
    y: *const f32,
    channel_scales: Option<*const f32>,
    to: *mut u8,
    width: usize,
) -> f32 {
    let whole = width / S::LANES * S::LANES;
    let vector = |i: usize| match channel_scales {
        Some(scales) => S::mul(S::load(y.add(i)), S::load(scales.add(i))),
        None => S::load(y.add(i)),
    };
    let number = |i: usize| *y.add(i) * channel_scales.map_or(1.0, |scales| *scales.add(i));
    // Comparing bits keeps NaN: its bits are larger than those of any number.
    let mut max = S::splat(0.0);
    for i in (0..whole).step_by(S::LANES) {
        max = S::max_bits(max, S::abs(vector(i)));
    }
    let mut max = S::max_lane_bits(max).to_bits();
    for i in whole..width {
        max = max.max(number(i).abs().to_bits());
    }
    let max = f32::from_bits(max);
    let inverse = if max > 0.0 { QUANT_MAX / max } else { 0.0 };
    let (factor, zero) = (S::splat(inverse), S::splat(ZERO_POINT as f32));
    for i in (0..whole).step_by(S::LANES) {
        S::store_u8(to.add(i), S::add(S::round(S::mul(vector(i), factor)), zero));
    }
    for i in whole..width {
        *to.add(i) = ((number(i) * inverse).round_ties_even() + ZERO_POINT as f32) as u8;
    }
    max / QUANT_MAX
}
