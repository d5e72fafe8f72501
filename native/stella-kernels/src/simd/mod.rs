//! The two traits that an instruction set implements: arithmetic on vectors of `f32` ([`Simd`]) and sums of products
//! ([`Dot`]). A kernel is written once over these traits, and `table.rs` compiles it for each instruction set.
//!
//! `avx2.rs` and `avx512.rs` implement them for x86-64, `portable.rs` for every processor, Arm included. There is no
//! implementation for Neon. `cpu.rs` lists the steps to add an instruction set.
#![allow(unsafe_code)]

pub(crate) mod portable;

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;

/// Arithmetic on vectors of `f32`.
///
/// # Safety
/// All functions need the instruction set of the implementation. They are inlined into kernels that are compiled for the
/// instruction set, and only these kernels call them. Pointers are valid for a whole vector and need no alignment.
pub(crate) trait Simd: Copy + 'static {
    /// A vector.
    type V: Copy;
    /// Numbers in a vector. It divides 16.
    const LANES: usize;

    unsafe fn splat(x: f32) -> Self::V;
    unsafe fn load(p: *const f32) -> Self::V;
    unsafe fn store(p: *mut f32, v: Self::V);
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`, rounded once if the instruction set has a fused multiplication and addition.
    unsafe fn mul_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The larger number, or `b` if either is NaN.
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    /// The smaller number, or `b` if either is NaN.
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn abs(v: Self::V) -> Self::V;
    /// The number with the larger bits. Needs numbers without sign, of which NaN has the largest bits.
    unsafe fn max_bits(a: Self::V, b: Self::V) -> Self::V;
    /// Selects `a` in each lane in which `v` is negative, and `b` elsewhere.
    unsafe fn select_negative(v: Self::V, a: Self::V, b: Self::V) -> Self::V;
    /// Rounds to the nearest integer, ties to even.
    unsafe fn round(v: Self::V) -> Self::V;
    /// `2^v` for integers `v` from -126 to 127.
    unsafe fn exp2_integer(v: Self::V) -> Self::V;
    /// The numbers as an array, over which sums and maxima are computed in a fixed order.
    unsafe fn lanes(v: Self::V) -> [f32; 16];
    /// Stores bfloat16, rounded to nearest, ties to even. NaN stays NaN.
    unsafe fn store_bf16(p: *mut u16, v: Self::V);
    /// Stores integers from 0 to 255 as bytes. NaN becomes an arbitrary byte.
    unsafe fn store_u8(p: *mut u8, v: Self::V);
    /// Loads `*p - *q`, computed in 32-bit integers and then converted to `f32`.
    unsafe fn load_i32_difference(p: *const i32, q: *const i32) -> Self::V;

    /// The sum of all lanes, by halves: a pairwise sum in a fixed order.
    #[inline(always)]
    unsafe fn sum(v: Self::V) -> f32 {
        // SAFETY: the trait's contract.
        let mut lanes = unsafe { Self::lanes(v) };
        let mut half = Self::LANES / 2;
        while half > 0 {
            for i in 0..half {
                lanes[i] += lanes[i + half];
            }
            half /= 2;
        }
        lanes[0]
    }

    /// The largest number of a vector without NaN.
    #[inline(always)]
    unsafe fn max_lane(v: Self::V) -> f32 {
        // SAFETY: the trait's contract.
        let lanes = unsafe { Self::lanes(v) };
        lanes[1..Self::LANES].iter().fold(lanes[0], |a, &b| if a > b { a } else { b })
    }

    /// The number with the largest bits, so NaN if any lane is NaN. Needs numbers without sign.
    #[inline(always)]
    unsafe fn max_lane_bits(v: Self::V) -> f32 {
        // SAFETY: the trait's contract.
        let lanes = unsafe { Self::lanes(v) };
        f32::from_bits(lanes[..Self::LANES].iter().fold(0, |a, b| a.max(b.to_bits())))
    }
}

/// Sums of products of a row of activations and columns of weights.
///
/// A step of a column of weights is 32 bits: one `f32`, two bfloat16 or four int8 numbers. A vector of weights has the same
/// step of neighbouring columns. A step of a row of activations has as many numbers.
///
/// # Safety
/// As for [`Simd`].
pub(crate) trait Dot: 'static {
    /// A step of one row of activations, repeated in every lane.
    type Activation: Copy;
    /// A step of neighbouring columns of weights.
    type Weights: Copy;
    /// Accumulators, 32 bits each.
    type Sums: Copy;
    /// Columns in a vector.
    const LANES: usize;
    /// Bytes of a step of activations.
    const ACTIVATION_BYTES: usize;

    unsafe fn zero() -> Self::Sums;
    unsafe fn load(p: *const u32) -> Self::Sums;
    unsafe fn store(p: *mut u32, sums: Self::Sums);
    unsafe fn broadcast(p: *const u8) -> Self::Activation;
    unsafe fn load_weights(p: *const u32) -> Self::Weights;
    /// Adds the products of a step to the sums.
    unsafe fn step(sums: Self::Sums, x: Self::Activation, w: Self::Weights) -> Self::Sums;
    /// Prefetches a cache line.
    unsafe fn prefetch(_p: *const u8) {}
}

/// Implements the accumulators of [`Dot`] as one vector of x86-64.
#[cfg(target_arch = "x86_64")]
macro_rules! vector_sums {
    ($vector:ty, $zero:ident, $load:ident, $store:ident) => {
        type Sums = $vector;
        const LANES: usize = LANES;
        #[inline(always)]
        unsafe fn zero() -> $vector {
            $zero()
        }
        #[inline(always)]
        unsafe fn load(p: *const u32) -> $vector {
            $load(p.cast())
        }
        #[inline(always)]
        unsafe fn store(p: *mut u32, sums: $vector) {
            $store(p.cast(), sums);
        }
        #[inline(always)]
        unsafe fn prefetch(p: *const u8) {
            _mm_prefetch::<_MM_HINT_T1>(p.cast());
        }
    };
}
#[cfg(target_arch = "x86_64")]
pub(crate) use vector_sums;
