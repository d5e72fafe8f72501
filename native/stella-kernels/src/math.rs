//! Functions of one number, on vectors. None looks anything up, so all lanes take the same time.
#![allow(unsafe_code, unsafe_op_in_unsafe_fn)]

use crate::simd::Simd;

/// Below this `exp` is not told from the smallest normal number any more.
const EXP_LOWEST: f32 = -87.3;
const EXP_HIGHEST: f32 = 88.3;

/// `c[0] + c[1] x + ... + c[6] x^6`, by halves: three steps one after the other where six would wait for each other.
#[inline(always)]
unsafe fn polynomial<S: Simd>(x: S::V, c: [f32; 7]) -> S::V {
    let pair = |i: usize| S::mul_add(x, S::splat(c[i + 1]), S::splat(c[i]));
    let square = S::mul(x, x);
    let low = S::mul_add(pair(2), square, pair(0));
    let high = S::mul_add(S::splat(c[6]), square, pair(4));
    S::mul_add(high, S::mul(square, square), low)
}

/// `e^x` with a relative error below 2e-7 from -87.3 to 88.3, and the value at the nearer end beyond. NaN stays NaN.
///
/// # Safety
/// [`Simd`]'s.
#[inline(always)]
pub(crate) unsafe fn exp<S: Simd>(x: S::V) -> S::V {
    // The second operand is what a comparison with NaN gives.
    let x = S::min(S::splat(EXP_HIGHEST), S::max(S::splat(EXP_LOWEST), x));
    // x = n ln 2 + r, with ln 2 in two parts, the first of which times n is exact.
    let n = S::round(S::mul(x, S::splat(std::f32::consts::LOG2_E)));
    let r = S::mul_add(n, S::splat(-0.693_359_4), x);
    let r = S::mul_add(n, S::splat(2.121_944_4e-4), r);
    // Least largest relative error over |r| <= ln(2) / 2: 3e-9, before rounding.
    const E: [f32; 7] =
        [1.0, 1.0, 0.499_999_94, 0.166_665_21, 0.041_668_39, 0.008_368_717_5, 0.001_381_460_2];
    S::mul(polynomial::<S>(r, E), S::exp2_whole(n))
}

/// `x Φ(x)`, with Φ the normal distribution (the GELU that is computed by erf), with an absolute error below 4e-7 for
/// all `x` up to 8 and a relative one below 2e-7 beyond.
///
/// # Safety
/// [`Simd`]'s.
#[inline(always)]
pub(crate) unsafe fn gelu<S: Simd>(x: S::V) -> S::V {
    // With z = |x| / sqrt(2), 1 - Φ(|x|) = erfc(z) / 2 and erfc(z) = exp(-z²) P(t) with t = 1 / (1 + 0.4 z). P was
    // fitted for the least largest error of x Φ(x): 6e-9, before rounding.
    const P: [f32; 7] =
        [0.0, 0.233_718_6, 0.150_430_48, 0.496_967_9, -0.406_789_95, 0.731_432_15, -0.205_759_37];
    let size = S::abs(x);
    let t = S::div(
        S::splat(1.0),
        S::mul_add(size, S::splat(0.4 * std::f32::consts::FRAC_1_SQRT_2), S::splat(1.0)),
    );
    let square = S::mul(S::mul(x, x), S::splat(-0.5));
    let tail = S::mul(polynomial::<S>(t, P), exp::<S>(square));
    let half = S::mul(S::mul(x, S::splat(0.5)), tail);
    S::where_negative(x, half, S::sub(x, half))
}

/// `x / (1 + e^-x)`, with a relative error below 4e-7.
///
/// # Safety
/// [`Simd`]'s.
#[inline(always)]
pub(crate) unsafe fn silu<S: Simd>(x: S::V) -> S::V {
    S::div(x, S::add(S::splat(1.0), exp::<S>(S::sub(S::splat(0.0), x))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::portable::Portable;

    type Function = unsafe fn(&mut [f32]);

    /// A function on whole vectors of a slice.
    #[inline(always)]
    unsafe fn each<S: Simd>(x: &mut [f32], f: unsafe fn(S::V) -> S::V) {
        for chunk in x.chunks_exact_mut(S::LANES) {
            S::store(chunk.as_mut_ptr(), f(S::load(chunk.as_ptr())));
        }
    }

    macro_rules! functions {
        ($simd:ty) => {{
            unsafe fn exps(x: &mut [f32]) {
                each::<$simd>(x, exp::<$simd>);
            }
            unsafe fn gelus(x: &mut [f32]) {
                each::<$simd>(x, gelu::<$simd>);
            }
            unsafe fn silus(x: &mut [f32]) {
                each::<$simd>(x, silu::<$simd>);
            }
            [exps, gelus, silus]
        }};
    }

    /// `exp`, `gelu` and `silu` of every vector that this machine has.
    fn functions() -> Vec<[Function; 3]> {
        let mut all: Vec<[Function; 3]> = vec![functions!(Portable)];
        #[cfg(target_arch = "x86_64")]
        {
            use crate::cpu::CpuLevel;
            if CpuLevel::Avx2.is_available() {
                all.push(functions!(crate::simd::avx2::Avx2));
            }
            if CpuLevel::Avx512.is_available() {
                all.push(functions!(crate::simd::avx512::Avx512));
            }
        }
        all
    }

    /// Numbers over all of a range, and of all small sizes.
    fn numbers(lowest: f32, highest: f32) -> Vec<f32> {
        let steps = 16 * 4096;
        let even = (0..steps).map(|i| lowest + (highest - lowest) * (i as f32 / steps as f32));
        let small =
            (0..16 * 32).map(|i| 1.5f32.powi(i / 2 % 200 - 190) * if i % 2 == 0 { 1.0 } else { -1.0 });
        even.chain(small).collect()
    }

    /// The largest error over `x`: of the value, divided by what `size` makes of it.
    fn worst(f: Function, x: &[f32], exact: impl Fn(f64) -> f64, size: impl Fn(f64) -> f64) -> f64 {
        let mut y = x.to_vec();
        // SAFETY: only functions of levels that there are were listed.
        unsafe { f(&mut y) };
        let error = |(&x, &y): (&f32, &f32)| {
            let want = exact(f64::from(x));
            (f64::from(y) - want).abs() / size(want)
        };
        x.iter().zip(&y).map(error).fold(0.0, f64::max)
    }

    /// The normal distribution to 64 bits: its series near zero, the continued fraction of its tail far from it.
    fn phi(x: f64) -> f64 {
        let density = (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
        if x.abs() < 3.0 {
            let terms = (1..80).scan(x, |term, i| {
                *term *= x * x / f64::from(2 * i + 1);
                Some(*term)
            });
            return 0.5 + density * (x + terms.sum::<f64>());
        }
        let fraction = (1..200).rev().fold(x.abs(), |below, i| x.abs() + f64::from(i) / below);
        if x < 0.0 { density / fraction } else { 1.0 - density / fraction }
    }

    #[test]
    fn exp_is_near_and_stays_in_range() {
        for [exp, _, _] in functions() {
            let error = worst(exp, &numbers(-87.0, 88.0), f64::exp, |y| y);
            assert!(error < 2e-7, "{error}");
            let mut far = [-1e9, f32::NEG_INFINITY, 1e9, f32::INFINITY].repeat(4);
            // SAFETY: the level is there.
            unsafe { exp(&mut far) };
            assert!(far.iter().all(|y| y.is_normal()), "{far:?}");
        }
    }

    #[test]
    fn gelu_is_that_of_the_normal_distribution() {
        for [_, gelu, _] in functions() {
            let x = numbers(-9.0, 9.0);
            let error = worst(gelu, &x, |x| x * phi(x), |y| y.abs().max(1.0));
            assert!(error < 4e-7, "{error}");
            // Small results keep their digits where the tail is not lost to the exponential function's own rounding.
            let small: Vec<f32> = x.into_iter().filter(|x| x.abs() < 4.0).collect();
            let error = worst(gelu, &small[..small.len() / 16 * 16], |x| x * phi(x), |y| y.abs().max(1e-30));
            assert!(error < 4e-6, "{error}");
        }
    }

    #[test]
    fn silu_is_near() {
        for [_, _, silu] in functions() {
            let error =
                worst(silu, &numbers(-80.0, 80.0), |x| x / (1.0 + (-x).exp()), |y| y.abs().max(1e-30));
            assert!(error < 4e-7, "{error}");
        }
    }

    #[test]
    fn nan_stays_nan() {
        for functions in functions() {
            for f in functions {
                let mut x = [f32::NAN; 16];
                // SAFETY: the level is there.
                unsafe { f(&mut x) };
                assert!(x.iter().all(|x| x.is_nan()));
            }
        }
    }
}
