//! The softmax of attention scores.
#![allow(unsafe_code, unsafe_op_in_unsafe_fn)]

use crate::math;
use crate::simd::Simd;

/// Softmax numerator: replaces each of the `count` scores by `exp(score - max)`, zero-fills up to `padded`, and returns the
/// sum. A row of attention probabilities is the numerators divided by this sum.
///
/// # Safety
/// The instruction set of `S` is available. `scores` is valid for `padded` numbers: at least `count`, and a multiple of the
/// vector width.
#[inline(always)]
pub(crate) unsafe fn softmax_numerator<S: Simd>(scores: *mut f32, count: usize, padded: usize) -> f32 {
    let whole = count / S::LANES * S::LANES;
    let mut max = f32::NEG_INFINITY;
    if whole > 0 {
        let mut v = S::load(scores);
        for i in (S::LANES..whole).step_by(S::LANES) {
            v = S::max(v, S::load(scores.add(i)));
        }
        max = S::max_lane(v);
    }
    for i in whole..count {
        max = max.max(*scores.add(i));
    }
    let shift = S::splat(max);
    let mut sum = S::splat(0.0);
    for i in (0..whole).step_by(S::LANES) {
        let e = math::exp::<S>(S::sub(S::load(scores.add(i)), shift));
        S::store(scores.add(i), e);
        sum = S::add(sum, e);
    }
    let mut total = S::sum(sum);
    if whole < count {
        // The last vector extends beyond the last score. Overwrite the stale memory there before computing `exp`.
        for i in count..padded {
            *scores.add(i) = max;
        }
        S::store(scores.add(whole), math::exp::<S>(S::sub(S::load(scores.add(whole)), shift)));
        for i in whole..count {
            total += *scores.add(i);
        }
    }
    for i in count..padded {
        *scores.add(i) = 0.0;
    }
    total
}
