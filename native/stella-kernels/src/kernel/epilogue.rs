//! The epilogue of a matrix product: turns finished sums of a panel into output while they are in the cache.
//!
//! It dequantizes the sums of an int8 product and adds the bias. Then it stores the result, adds it to the output (residual
//! connection), or multiplies the two halves of the gated feed-forward layer: `up * GELU(gate)` in Stella 400M, and
//! `up * SiLU(gate)`, which is SwiGLU, in Stella 1.5B. `math.rs` has the activation functions.
#![allow(unsafe_code, unsafe_op_in_unsafe_fn)]

use std::ops::Range;

use crate::arithmetic::ActivationFormat;
use crate::math;
use crate::simd::Simd;
use crate::tile::{HALF_PANEL, PANEL};

/// The activation function of a gated layer, applied to the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// GELU, `x Φ(x)` with the normal distribution function (Stella 400M).
    Gelu,
    /// SiLU, `x / (1 + e^-x)`, which makes the layer a SwiGLU (Stella 1.5B).
    Silu,
}

/// The last operation of an epilogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Overwrites the output.
    Store,
    /// Adds to the output.
    Add,
    /// Multiplies the first half of a panel by GELU of its second half.
    GateGelu,
    /// Multiplies the first half of a panel by SiLU of its second half.
    GateSilu,
}

/// Type of the sums of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SumType {
    F32,
    /// Integers that the scales of row and column dequantize.
    I32,
}

/// Operands of an epilogue.
pub(crate) struct EpilogueJob {
    pub(crate) operation: Operation,
    pub(crate) sum_type: SumType,
    /// `[panels, PANEL]`, like the scales and offsets of columns.
    pub(crate) bias: *const f32,
    pub(crate) column_scales: *const f32,
    pub(crate) column_offsets: *const i32,
    pub(crate) row_scales: *const f32,
    pub(crate) out: *mut u8,
    /// Bytes from row to row of the output.
    pub(crate) out_stride: usize,
    /// `F32` or `Bf16`. Int8 rows are quantized after the product, when they are complete.
    pub(crate) out_format: ActivationFormat,
    pub(crate) outputs: usize,
}

/// Applies the epilogue to the sums of some rows of a panel.
///
/// # Safety
/// The instruction set of `S` is available. `sums` has [`PANEL`] sums for each row, and the pointers of `job` are valid for
/// the panel and the rows.
#[inline(always)]
pub(crate) unsafe fn apply_epilogue<S: Simd>(
    job: &EpilogueJob,
    sums: *const u32,
    rows: Range<usize>,
    panel: usize,
) {
    use Operation::{Add, GateGelu, GateSilu, Store};
    match (job.operation, job.sum_type) {
        (Store, SumType::F32) => write_rows::<S, FloatSums, Overwrite>(job, sums, rows, panel),
        (Store, SumType::I32) => write_rows::<S, IntegerSums, Overwrite>(job, sums, rows, panel),
        (Add, SumType::F32) => write_rows::<S, FloatSums, AddToOutput>(job, sums, rows, panel),
        (Add, SumType::I32) => write_rows::<S, IntegerSums, AddToOutput>(job, sums, rows, panel),
        (GateGelu, SumType::F32) => write_gated_rows::<S, FloatSums, Gelu>(job, sums, rows, panel),
        (GateGelu, SumType::I32) => write_gated_rows::<S, IntegerSums, Gelu>(job, sums, rows, panel),
        (GateSilu, SumType::F32) => write_gated_rows::<S, FloatSums, Silu>(job, sums, rows, panel),
        (GateSilu, SumType::I32) => write_gated_rows::<S, IntegerSums, Silu>(job, sums, rows, panel),
    }
}

/// A [`SumType`] known at compile time.
///
/// # Safety
/// As for [`apply_epilogue`].
trait Sums {
    unsafe fn row_scale(job: &EpilogueJob, row: usize) -> f32;
    /// Dequantizes a vector of sums of one row, if they are integers, and adds the bias.
    unsafe fn values<S: Simd>(job: &EpilogueJob, sums: *const u32, row_scale: f32, column: usize) -> S::V;
}

struct FloatSums;

impl Sums for FloatSums {
    #[inline(always)]
    unsafe fn row_scale(_: &EpilogueJob, _: usize) -> f32 {
        1.0
    }
    #[inline(always)]
    unsafe fn values<S: Simd>(job: &EpilogueJob, sums: *const u32, _: f32, column: usize) -> S::V {
        let bias = S::load(job.bias.add(column));
        S::add(S::load(sums.cast()), bias)
    }
}

struct IntegerSums;

impl Sums for IntegerSums {
    #[inline(always)]
    unsafe fn row_scale(job: &EpilogueJob, row: usize) -> f32 {
        *job.row_scales.add(row)
    }
    #[inline(always)]
    unsafe fn values<S: Simd>(job: &EpilogueJob, sums: *const u32, row_scale: f32, column: usize) -> S::V {
        let bias = S::load(job.bias.add(column));
        let integers = S::load_i32_difference(sums.cast(), job.column_offsets.add(column));
        let scale = S::mul(S::load(job.column_scales.add(column)), S::splat(row_scale));
        S::mul_add(integers, scale, bias)
    }
}

/// How [`write_rows`] combines values with the output, known at compile time.
trait Write {
    const READS_OUTPUT: bool;
    /// # Safety
    /// As for [`Simd`]. `out` is valid for a vector.
    unsafe fn combine<S: Simd>(out: *const f32, y: S::V) -> S::V;
}

struct Overwrite;

impl Write for Overwrite {
    const READS_OUTPUT: bool = false;
    #[inline(always)]
    unsafe fn combine<S: Simd>(_: *const f32, y: S::V) -> S::V {
        y
    }
}

struct AddToOutput;

impl Write for AddToOutput {
    const READS_OUTPUT: bool = true;
    #[inline(always)]
    unsafe fn combine<S: Simd>(out: *const f32, y: S::V) -> S::V {
        S::add(S::load(out), y)
    }
}

/// Writes the values of a panel to rows of `f32`.
#[inline(always)]
unsafe fn write_rows<S: Simd, T: Sums, W: Write>(
    job: &EpilogueJob,
    mut sums: *const u32,
    rows: Range<usize>,
    panel: usize,
) {
    let first = panel * PANEL;
    let count = PANEL.min(job.outputs - first);
    for row in rows {
        let row_scale = T::row_scale(job, row);
        let out = job.out.add(row * job.out_stride).cast::<f32>().add(first);
        let mut values = [0.0f32; PANEL];
        // The last panel may be wider than the rest of the row, so it is written to `values` first.
        let to = if count == PANEL { out } else { values.as_mut_ptr() };
        if W::READS_OUTPUT && count < PANEL {
            std::ptr::copy_nonoverlapping(out, to, count);
        }
        for v in (0..PANEL).step_by(S::LANES) {
            let y = T::values::<S>(job, sums.add(v), row_scale, first + v);
            S::store(to.add(v), W::combine::<S>(to.add(v), y));
        }
        if count < PANEL {
            std::ptr::copy_nonoverlapping(to, out, count);
        }
        sums = sums.add(PANEL);
    }
}

/// A [`Gate`] known at compile time.
trait GateFunction {
    /// # Safety
    /// As for [`Simd`].
    unsafe fn apply<S: Simd>(gate: S::V) -> S::V;
}

struct Gelu;

impl GateFunction for Gelu {
    #[inline(always)]
    unsafe fn apply<S: Simd>(gate: S::V) -> S::V {
        math::gelu::<S>(gate)
    }
}

struct Silu;

impl GateFunction for Silu {
    #[inline(always)]
    unsafe fn apply<S: Simd>(gate: S::V) -> S::V {
        math::silu::<S>(gate)
    }
}

/// Writes `up * function(gate)` of a panel of a gated layer to rows of activations.
#[inline(always)]
unsafe fn write_gated_rows<S: Simd, T: Sums, G: GateFunction>(
    job: &EpilogueJob,
    mut sums: *const u32,
    rows: Range<usize>,
    panel: usize,
) {
    let first = panel * HALF_PANEL;
    let count = HALF_PANEL.min(job.outputs - first);
    let size = job.out_format.bytes();
    for row in rows {
        let row_scale = T::row_scale(job, row);
        let out = job.out.add(row * job.out_stride + first * size);
        let mut values = [0u32; HALF_PANEL];
        let to = if count == HALF_PANEL { out } else { values.as_mut_ptr().cast() };
        for v in (0..HALF_PANEL).step_by(S::LANES) {
            let column = panel * PANEL + v;
            let up = T::values::<S>(job, sums.add(v), row_scale, column);
            let gate = T::values::<S>(job, sums.add(HALF_PANEL + v), row_scale, column + HALF_PANEL);
            let y = S::mul(up, G::apply::<S>(gate));
            match job.out_format {
                ActivationFormat::Bf16 => S::store_bf16(to.add(v * size).cast(), y),
                _ => S::store(to.add(v * size).cast(), y),
            }
        }
        if count < HALF_PANEL {
            std::ptr::copy_nonoverlapping(to, out, count * size);
        }
        sums = sums.add(PANEL);
    }
}
