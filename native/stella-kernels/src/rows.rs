//! What is done to whole rows: norms, and the form in which the next product reads them.
#![allow(unsafe_code, unsafe_op_in_unsafe_fn)]

use std::ops::Range;

use crate::activations::{Activations, BYTE_LIMIT, Format, ZERO_POINT};
use crate::kernels::Kernels;
use crate::simd::Simd;
use crate::team::Team;

/// Sums that are formed beside each other, so that none waits for the one before.
const CHAINS: usize = 4;

/// A norm over a row.
#[derive(Debug, Clone, Copy)]
pub struct Norm<'a> {
    /// What each number is multiplied by.
    pub weight: &'a [f32],
    /// What is then added. With a bias, the mean is taken off before (layer norm); without, it is not (RMS norm).
    pub bias: Option<&'a [f32]>,
    /// Is added to the mean square.
    pub epsilon: f32,
    /// What the numbers are multiplied by on their way into bytes; what is kept stays as it is.
    pub factors: Option<&'a [f32]>,
}

/// A norm under way.
pub(crate) struct NormJob {
    x: *mut f32,
    width: usize,
    weight: *const f32,
    bias: Option<*const f32>,
    epsilon: f32,
    keep: bool,
    out: Option<Out>,
}

/// Rows of activations that are being written.
pub(crate) struct Out {
    format: Format,
    data: *mut u8,
    stride: usize,
    scales: *mut f32,
    /// What numbers are multiplied by before they become bytes.
    factors: Option<*const f32>,
}

/// Rows that become activations.
pub(crate) struct SettleJob {
    from: *const f32,
    /// Numbers from row to row.
    from_stride: usize,
    width: usize,
    to: Out,
}

// SAFETY: tasks read and write rows of their own.
unsafe impl Sync for NormJob {}
// SAFETY: as above.
unsafe impl Sync for SettleJob {}

impl Out {
    fn of(activations: &mut Activations, factors: Option<&[f32]>) -> Self {
        Self {
            factors: factors.map(<[f32]>::as_ptr),
            format: activations.format,
            data: activations.data.as_mut_ptr(),
            stride: activations.stride,
            scales: activations.scales.as_mut_ptr(),
        }
    }
}

impl Kernels {
    /// Norms rows of `x`, row-major `[rows, weights]`. With `keep` they replace what was there; with `out` they become
    /// activations.
    ///
    /// # Panics
    /// When sizes do not fit.
    pub fn normalize(
        self,
        team: &mut Team,
        norm: Norm<'_>,
        x: &mut [f32],
        keep: bool,
        mut out: Option<&mut Activations>,
    ) {
        let width = norm.weight.len();
        let rows = x.len() / width;
        assert!(
            rows * width == x.len() && norm.bias.is_none_or(|b| b.len() == width),
            "whole rows of {width}"
        );
        if let Some(out) = &mut out {
            assert!(out.width == width && out.rows >= rows, "room for {rows} rows of {width}");
        }
        assert!(norm.factors.is_none_or(|f| f.len() == width), "a factor for each of {width}");
        let job = NormJob {
            x: x.as_mut_ptr(),
            width,
            weight: norm.weight.as_ptr(),
            bias: norm.bias.map(<[f32]>::as_ptr),
            epsilon: norm.epsilon,
            keep,
            out: out.map(|out| Out::of(out, norm.factors)),
        };
        by_rows(team, rows, &|rows, scratch| {
            assert!(scratch.len() >= width, "scratch memory for a row");
            // SAFETY: the level is there; the rows are this task's alone, and all sizes were compared above.
            unsafe { (self.table().normalize)(&job, rows, scratch.as_mut_ptr().cast()) };
        });
    }

    /// Makes activations of `x`, row-major `[rows, width]`. Before they become bytes they are multiplied by `factors`, as in
    /// [`Norm::factors`].
    ///
    /// # Panics
    /// When sizes do not fit.
    pub fn take(self, team: &mut Team, x: &[f32], factors: Option<&[f32]>, out: &mut Activations) {
        let rows = x.len() / out.width;
        assert_eq!(rows * out.width, x.len(), "whole rows of {}", out.width);
        self.settle(team, (x, out.width), rows, factors, out);
    }

    /// Makes activations of `rows` rows that begin `from_stride` numbers apart in `from`.
    ///
    /// # Panics
    /// When sizes do not fit.
    pub(crate) fn settle(
        self,
        team: &mut Team,
        (from, from_stride): (&[f32], usize),
        rows: usize,
        factors: Option<&[f32]>,
        out: &mut Activations,
    ) {
        let width = out.width;
        assert!(
            rows <= out.rows && width <= from_stride && rows * from_stride <= from.len(),
            "{rows} of at most {} rows of {width}",
            out.rows
        );
        assert!(factors.is_none_or(|f| f.len() == width), "a factor for each of {width}");
        let job = SettleJob { from: from.as_ptr(), from_stride, width, to: Out::of(out, factors) };
        by_rows(team, rows, &|rows, _| {
            // SAFETY: the level is there; the rows are this task's alone, and both sides were compared above.
            unsafe { (self.table().settle)(&job, rows) };
        });
    }
}

/// Runs a task for each few rows.
fn by_rows(team: &mut Team, rows: usize, task: &(dyn Fn(Range<usize>, &mut [u32]) + Sync)) {
    let each = (rows / (4 * team.threads())).clamp(1, 16);
    team.run(rows.div_ceil(each), &|i, scratch| task(i * each..((i + 1) * each).min(rows), scratch));
}

/// Norms some rows.
///
/// # Safety
/// The instruction set of `S`; `rows` are rows of the job and the caller's alone; `spare` has room for one.
#[inline(always)]
pub(crate) unsafe fn normalize<S: Simd>(job: &NormJob, rows: Range<usize>, spare: *mut f32) {
    for row in rows {
        let x = job.x.add(row * job.width);
        let y = if job.keep { x } else { spare };
        normalize_row::<S>(job, x, y);
        if let Some(out) = &job.out {
            settle_row::<S>(out, row, y, job.width);
        }
    }
}

/// `f` of each number of a row, summed: by lanes, then lanes, then what is left.
#[inline(always)]
unsafe fn sum_row<S: Simd>(x: *const f32, width: usize, mean: f32, square: bool) -> f32 {
    let whole = width / S::LANES * S::LANES;
    let shift = S::splat(mean);
    let mut sums = [S::splat(0.0); CHAINS];
    let mut i = 0;
    while i < whole {
        for sum in &mut sums {
            if i < whole {
                let v = S::sub(S::load(x.add(i)), shift);
                *sum = if square { S::mul_add(v, v, *sum) } else { S::add(*sum, v) };
                i += S::LANES;
            }
        }
    }
    let mut total = S::sum(S::add(S::add(sums[0], sums[1]), S::add(sums[2], sums[3])));
    for i in whole..width {
        let v = *x.add(i) - mean;
        total += if square { v * v } else { v };
    }
    total
}

#[inline(always)]
unsafe fn normalize_row<S: Simd>(job: &NormJob, x: *const f32, y: *mut f32) {
    let width = job.width;
    let mean = if job.bias.is_some() { sum_row::<S>(x, width, 0.0, false) / width as f32 } else { 0.0 };
    let mean_square = sum_row::<S>(x, width, mean, true) / width as f32;
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

/// Makes activations of some rows.
///
/// # Safety
/// The instruction set of `S`; `rows` are rows of the job and the caller's alone.
#[inline(always)]
pub(crate) unsafe fn settle<S: Simd>(job: &SettleJob, rows: Range<usize>) {
    for row in rows {
        settle_row::<S>(&job.to, row, job.from.add(row * job.from_stride), job.width);
    }
}

#[inline(always)]
unsafe fn settle_row<S: Simd>(out: &Out, row: usize, y: *const f32, width: usize) {
    let to = out.data.add(row * out.stride);
    let whole = width / S::LANES * S::LANES;
    match out.format {
        Format::F32 => std::ptr::copy_nonoverlapping(y, to.cast(), width),
        Format::Bf16 => {
            let to = to.cast::<u16>();
            for i in (0..whole).step_by(S::LANES) {
                S::store_bf16(to.add(i), S::load(y.add(i)));
            }
            for i in whole..width {
                *to.add(i) = crate::simd::portable::bf16_bits(*y.add(i));
            }
        }
        Format::Bytes => {
            let many = |i: usize| match out.factors {
                Some(factors) => S::mul(S::load(y.add(i)), S::load(factors.add(i))),
                None => S::load(y.add(i)),
            };
            let one = |i: usize| *y.add(i) * out.factors.map_or(1.0, |factors| *factors.add(i));
            let mut largest = S::splat(0.0);
            for i in (0..whole).step_by(S::LANES) {
                largest = S::max_bits(largest, S::abs(many(i)));
            }
            // By bits, so that what is not finite makes the scale, and with it the result, not finite.
            let mut largest = S::largest_bits(largest).to_bits();
            for i in whole..width {
                largest = largest.max(one(i).abs().to_bits());
            }
            let largest = f32::from_bits(largest);
            *out.scales.add(row) = largest / BYTE_LIMIT;
            let inverse = if largest > 0.0 { BYTE_LIMIT / largest } else { 0.0 };
            let (factor, zero) = (S::splat(inverse), S::splat(ZERO_POINT as f32));
            for i in (0..whole).step_by(S::LANES) {
                S::store_bytes(to.add(i), S::add(S::round(S::mul(many(i), factor)), zero));
            }
            for i in whole..width {
                *to.add(i) = ((one(i) * inverse).round_ties_even() + ZERO_POINT as f32) as u8;
            }
        }
    }
}
