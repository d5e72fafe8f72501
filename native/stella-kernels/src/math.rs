//! Elementwise functions on vectors: `exp` (for the softmax), and the activation functions GELU and SiLU of the feed-forward
//! gate. All use polynomials, without tables or branches. `tanh` is not needed: GELU is the exact form by erf.
#![allow(unsafe_code, unsafe_op_in_unsafe_fn)]

use crate::simd::Simd;

/// Smallest argument of `exp`, near the logarithm of the smallest normal `f32`. Smaller arguments are clamped.
const EXP_LOWEST: f32 = -87.3;
/// Largest argument of `exp`, near the logarithm of the largest power of two in `f32`. Larger arguments are clamped.
const EXP_HIGHEST: f32 = 88.3;

/// `c[0] + c[1] x + ... + c[6] x^6`, by halves (Estrin's scheme): the chain of dependent steps is three long, not six.
#[inline(always)]
unsafe fn polynomial<S: Simd>(x: S::V, c: [f32; 7]) -> S::V {
    let pair = |i: usize| S::mul_add(x, S::splat(c[i + 1]), S::splat(c[i]));
    let square = S::mul(x, x);
    let low = S::mul_add(pair(2), square, pair(0));
    let high = S::mul_add(S::splat(c[6]), square, pair(4));
    S::mul_add(high, S::mul(square, square), low)
}

/// `e^x` with a relative error below 2e-7 from -87.3 to 88.3. Beyond this range it returns the value at the nearer end.
/// NaN stays NaN.
///
/// Reduces `x` to `n ln 2 + r` and multiplies `2^n` by a polynomial of degree 6 in `r`.
///
/// # Safety
/// As for [`Simd`].
#[inline(always)]
pub(crate) unsafe fn exp<S: Simd>(x: S::V) -> S::V {
    // With NaN, `min` and `max` return the second operand.
    let x = S::min(S::splat(EXP_HIGHEST), S::max(S::splat(EXP_LOWEST), x));
    // x = n ln 2 + r. ln 2 is split into two parts, so that n times the first part is exact.
    let n = S::round(S::mul(x, S::splat(std::f32::consts::LOG2_E)));
    let r = S::mul_add(n, S::splat(-0.693_359_4), x);
    let r = S::mul_add(n, S::splat(2.121_944_4e-4), r);
    // Minimax coefficients for |r| <= ln(2) / 2, with a relative error of 3e-9 before rounding.
    const E: [f32; 7] =
        [1.0, 1.0, 0.499_999_94, 0.166_665_21, 0.041_668_39, 0.008_368_717_5, 0.001_381_460_2];
    S::mul(polynomial::<S>(r, E), S::exp2_integer(n))
}

/// GELU in its exact form by erf, not the approximation by tanh: `x Φ(x)`, where Φ is the normal distribution function.
/// Its absolute error is below 4e-7 for `x` up to 8, and its relative error below 2e-7 beyond.
///
/// # Safety
/// As for [`Simd`].
#[inline(always)]
pub(crate) unsafe fn gelu<S: Simd>(x: S::V) -> S::V {
    // With z = |x| / sqrt(2), 1 - Φ(|x|) = erfc(z) / 2 and erfc(z) = exp(-z²) P(t) with t = 1 / (1 + 0.4 z). P is a
    // minimax fit of x Φ(x), with an error of 6e-9 before rounding.
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
    S::select_negative(x, half, S::sub(x, half))
}

/// SiLU (swish), the activation function of SwiGLU: `x / (1 + e^-x)`, with a relative error below 4e-7.
///
/// # Safety
/// As for [`Simd`].
#[inline(always)]
pub(crate) unsafe fn silu<S: Simd>(x: S::V) -> S::V {
    S::div(x, S::add(S::splat(1.0), exp::<S>(S::sub(S::splat(0.0), x))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::portable::Portable;

    type Function = unsafe fn(&mut [f32]);

    /// Applies a function to each whole vector of a slice.
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

    /// Returns `exp`, `gelu` and `silu` for each vector type that this machine has.
    fn functions() -> Vec<[Function; 3]> {
        #[cfg(target_arch = "x86_64")]
        {
            use crate::cpu::CpuLevel;
            let wider = [
                (CpuLevel::Avx2, functions!(crate::simd::avx2::Avx2)),
                (CpuLevel::Avx512, functions!(crate::simd::avx512::Avx512)),
            ];
            let available =
                wider.into_iter().filter(|(level, _)| level.is_available()).map(|(_, functions)| functions);
            std::iter::once(functions!(Portable)).chain(available).collect()
        }
        #[cfg(not(target_arch = "x86_64"))]
        vec![functions!(Portable)]
    }

    /// Returns numbers evenly spaced over a range, and small numbers of all magnitudes.
    fn numbers(lowest: f32, highest: f32) -> Vec<f32> {
        let steps = 16 * 4096;
        let even = (0..steps).map(|i| lowest + (highest - lowest) * (i as f32 / steps as f32));
        let small =
            (0..16 * 32).map(|i| 1.5f32.powi(i / 2 % 200 - 190) * if i % 2 == 0 { 1.0 } else { -1.0 });
        even.chain(small).collect()
    }

    /// Returns the largest error over `x`, divided by `size` of the exact value.
    fn worst(f: Function, x: &[f32], exact: impl Fn(f64) -> f64, size: impl Fn(f64) -> f64) -> f64 {
        let mut y = x.to_vec();
        // SAFETY: `functions` lists only available instruction sets.
        unsafe { f(&mut y) };
        let error = |(&x, &y): (&f32, &f32)| {
            let want = exact(f64::from(x));
            (f64::from(y) - want).abs() / size(want)
        };
        x.iter().zip(&y).map(error).fold(0.0, f64::max)
    }

    /// The normal distribution function in 64 bits: its series near zero, and the continued fraction of its tail elsewhere.
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
    fn exp_is_accurate_and_stays_in_range() {
        for [exp, _, _] in functions() {
            let error = worst(exp, &numbers(-87.0, 88.0), f64::exp, |y| y);
            assert!(error < 2e-7, "{error}");
            let mut far = [-1e9, f32::NEG_INFINITY, 1e9, f32::INFINITY].repeat(4);
            // SAFETY: the instruction set is available.
            unsafe { exp(&mut far) };
            assert!(far.iter().all(|y| y.is_normal()), "{far:?}");
        }
    }

    #[test]
    fn gelu_is_accurate_against_the_normal_distribution() {
        for [_, gelu, _] in functions() {
            let x = numbers(-9.0, 9.0);
            let error = worst(gelu, &x, |x| x * phi(x), |y| y.abs().max(1.0));
            assert!(error < 4e-7, "{error}");
            // For |x| < 4 even small results are accurate relative to their size.
            let small: Vec<f32> = x.into_iter().filter(|x| x.abs() < 4.0).collect();
            let error = worst(gelu, &small[..small.len() / 16 * 16], |x| x * phi(x), |y| y.abs().max(1e-30));
            assert!(error < 4e-6, "{error}");
        }
    }

    #[test]
    fn silu_is_accurate() {
        for [_, _, silu] in functions() {
            let error =
                worst(silu, &numbers(-80.0, 80.0), |x| x / (1.0 + (-x).exp()), |y| y.abs().max(1e-30));
            assert!(error < 4e-7, "{error}");
        }
    }

    #[test]
    fn functions_of_nan_are_nan() {
        for functions in functions() {
            for f in functions {
                let mut x = [f32::NAN; 16];
                // SAFETY: the instruction set is available.
                unsafe { f(&mut x) };
                assert!(x.iter().all(|x| x.is_nan()));
            }
        }
    }
}
