//! Layer norm and RMS norm of rows.
//!
//! Mean and sum of squares are accumulated in `f32`: in four independent vectors of partial sums, added in a fixed order.
//! Layer norm takes two passes: first the mean, then the squares of the differences from the mean.
#![allow(unsafe_code, unsafe_op_in_unsafe_fn)]

use std::ops::Range;

use crate::kernel::row_sink::{RowSink, write_row};
use crate::simd::Simd;

/// Vectors of partial sums. Independent sums do not wait for each other's additions.
const PARTIAL_SUMS: usize = 4;

/// The values that a norm leaves in its input rows, the residual stream of the layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Residual {
    /// The normalized values: a post-norm model (Stella 400M) continues with them.
    Normalized,
    /// The input: a pre-norm model (Stella 1.5B) adds the result of the next block to it.
    Unchanged,
}

/// Rows to normalize.
pub(crate) struct NormJob {
    pub(crate) x: *mut f32,
    pub(crate) width: usize,
    pub(crate) weight: *const f32,
    /// With a bias, the norm is a layer norm. Without, it is an RMS norm.
    pub(crate) bias: Option<*const f32>,
    pub(crate) epsilon: f32,
    pub(crate) residual: Residual,
    pub(crate) out: Option<RowSink>,
}

// SAFETY: no two tasks access the same rows.
unsafe impl Sync for NormJob {}

/// Normalizes rows.
///
/// # Safety
/// The instruction set of `S` is available. The job has the rows, and nobody else accesses them. `scratch` has memory for
/// one row.
#[inline(always)]
pub(crate) unsafe fn norm_rows<S: Simd>(job: &NormJob, rows: Range<usize>, scratch: *mut f32) {
    for row in rows {
        let x = job.x.add(row * job.width);
        let y = match job.residual {
            Residual::Normalized => x,
            Residual::Unchanged => scratch,
        };
        norm_row::<S>(job, x, y);
        if let Some(out) = &job.out {
            write_row::<S>(out, row, y, job.width);
        }
    }
}

/// Writes layer norm, `(x - mean) / sqrt(variance + epsilon) * weight + bias`, or RMS norm,
/// `x / sqrt(mean square + epsilon) * weight`, of one row to `y`.
#[inline(always)]
unsafe fn norm_row<S: Simd>(job: &NormJob, x: *const f32, y: *mut f32) {
    let width = job.width;
    let mean =
        if job.bias.is_some() { sum_row::<S>(x, width, 0.0, Term::Difference) / width as f32 } else { 0.0 };
    let mean_square = sum_row::<S>(x, width, mean, Term::SquaredDifference) / width as f32;
    let scale = 1.0 / (mean_square + job.epsilon).sqrt();
    let whole = width / S::LANES * S::LANES;
    let (shift, factor) = (S::splat(mean), S::splat(scale));
    for i in (0..whole).step_by(S::LANES) {
        let v = S::mul(S::sub(S::load(x.add(i)), shift), factor);
        let weight = S::load(job.weight.add(i));
        S::store(
            y.add(i),
            match job.bias {
                Some(bias) => S::mul_add(v, weight, S::load(bias.add(i))),
                None => S::mul(v, weight),
            },
        );
    }
    for i in whole..width {
        let v = (*x.add(i) - mean) * scale * *job.weight.add(i);
        *y.add(i) = v + job.bias.map_or(0.0, |bias| *bias.add(i));
    }
}

/// The terms of a sum over a row.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Term {
    /// `x - mean`
    Difference,
    /// `(x - mean)^2`
    SquaredDifference,
}

/// Sums a term over a row in `f32`: by lanes of four vectors of partial sums, then across the vectors and the lanes, then
/// the numbers after the last whole vector.
#[inline(always)]
unsafe fn sum_row<S: Simd>(x: *const f32, width: usize, mean: f32, term: Term) -> f32 {
    let whole = width / S::LANES * S::LANES;
    let shift = S::splat(mean);
    let mut sums = [S::splat(0.0); PARTIAL_SUMS];
    let mut i = 0;
    while i < whole {
        for sum in &mut sums {
            if i < whole {
                let v = S::sub(S::load(x.add(i)), shift);
                *sum = match term {
                    Term::Difference => S::add(*sum, v),
                    Term::SquaredDifference => S::mul_add(v, v, *sum),
                };
                i += S::LANES;
            }
        }
    }
    let mut total = S::sum(S::add(S::add(sums[0], sums[1]), S::add(sums[2], sums[3])));
    for i in whole..width {
        let v = *x.add(i) - mean;
        total += match term {
            Term::Difference => v,
            Term::SquaredDifference => v * v,
        };
    }
    total
}
