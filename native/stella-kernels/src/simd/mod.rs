//! What the kernels ask of an instruction set: arithmetic on vectors of `f32` ([`Simd`]) and products that are summed
//! ([`Dot`]). A kernel is written once over these traits and compiled once for each level.
#![allow(unsafe_code)]

pub(crate) mod portable;

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;

/// Vectors of `f32`.
///
/// # Safety
/// All functions need the instruction set of the implementation. They are inlined into kernels that are compiled for it,
/// and only those call them. Pointers are valid for a whole vector, and need no alignment.
pub(crate) trait Simd: Copy + 'static {
    /// A vector.
    type V: Copy;
    /// Numbers in a vector. Divides 16.
    const LANES: usize;

    unsafe fn splat(x: f32) -> Self::V;
    unsafe fn load(p: *const f32) -> Self::V;
    unsafe fn store(p: *mut f32, v: Self::V);
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`, rounded once where the instruction set can.
    unsafe fn mul_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The larger of two, and `b` where one is NaN.
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    /// The smaller of two, and `b` where one is NaN.
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn abs(v: Self::V) -> Self::V;
    /// Of two vectors without negative numbers, the larger by bits: NaN is the largest of all.
    unsafe fn max_bits(a: Self::V, b: Self::V) -> Self::V;
    /// `a` where `v` is negative, else `b`.
    unsafe fn where_negative(v: Self::V, a: Self::V, b: Self::V) -> Self::V;
    /// The nearest whole number, even ones of two.
    unsafe fn round(v: Self::V) -> Self::V;
    /// Two to the power of whole numbers from -126 to 127.
    unsafe fn exp2_whole(v: Self::V) -> Self::V;
    /// The numbers as an array, from which sums and maxima are taken in one order.
    unsafe fn lanes(v: Self::V) -> [f32; 16];
    /// Stores as bfloat16, rounded to nearest even; NaN stays NaN.
    unsafe fn store_bf16(p: *mut u16, v: Self::V);
    /// Stores whole numbers from 0 to 255 as bytes. What is NaN becomes any byte.
    unsafe fn store_bytes(p: *mut u8, v: Self::V);
    /// `*p - *q`, without rounding until it becomes `f32`.
    unsafe fn load_difference(p: *const i32, q: *const i32) -> Self::V;

    /// The sum of a vector, by halves.
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

    /// The largest number of a vector, none of which is NaN.
    #[inline(always)]
    unsafe fn largest(v: Self::V) -> f32 {
        // SAFETY: the trait's contract.
        let lanes = unsafe { Self::lanes(v) };
        lanes[1..Self::LANES].iter().fold(lanes[0], |a, &b| if a > b { a } else { b })
    }

    /// The largest number by bits of a vector without negative numbers: NaN where one is.
    #[inline(always)]
    unsafe fn largest_bits(v: Self::V) -> f32 {
        // SAFETY: the trait's contract.
        let lanes = unsafe { Self::lanes(v) };
        f32::from_bits(lanes[..Self::LANES].iter().fold(0, |a, b| a.max(b.to_bits())))
    }
}

/// Sums of products: rows of activations times columns of weights.
///
/// Weights come in steps. A step of a column is 32 bits: one `f32`, two bfloat16 or four bytes, and a vector holds
/// the same step of neighbouring columns. A step of a row of activations is as many numbers.
///
/// # Safety
/// As for [`Simd`].
pub(crate) trait Dot: 'static {
    /// A step of one row, in every lane.
    type A: Copy;
    /// A step of some columns.
    type B: Copy;
    /// Sums, 32 bits each.
    type Sum: Copy;
    /// Columns of a vector.
    const LANES: usize;
    /// Bytes of a step of activations.
    const A_BYTES: usize;

    unsafe fn zero() -> Self::Sum;
    unsafe fn load(p: *const u32) -> Self::Sum;
    unsafe fn store(p: *mut u32, sum: Self::Sum);
    unsafe fn a(p: *const u8) -> Self::A;
    unsafe fn b(p: *const u32) -> Self::B;
    unsafe fn step(sum: Self::Sum, a: Self::A, b: Self::B) -> Self::Sum;
    /// Asks for a line of memory that will be needed soon.
    unsafe fn prefetch(_p: *const u8) {}
}

/// Sums of a vector type of x86-64, by its instructions.
#[cfg(target_arch = "x86_64")]
macro_rules! sums {
    ($vector:ty, $zero:ident, $load:ident, $store:ident) => {
        type Sum = $vector;
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
        unsafe fn store(p: *mut u32, sum: $vector) {
            $store(p.cast(), sum);
        }
        #[inline(always)]
        unsafe fn prefetch(p: *const u8) {
            _mm_prefetch::<_MM_HINT_T1>(p.cast());
        }
    };
}
#[cfg(target_arch = "x86_64")]
pub(crate) use sums;
