//! AVX2 and FMA: eight `f32` in a vector, sixteen registers.
// Each function is one instruction or a few. `Simd` and `Dot` state the safety conditions of all functions.
#![allow(unsafe_code, unsafe_op_in_unsafe_fn)]

use std::arch::x86_64::*;

use super::{Dot, Simd, vector_sums};

const LANES: usize = 8;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx2;

impl Simd for Avx2 {
    type V = __m256;
    const LANES: usize = LANES;

    #[inline(always)]
    unsafe fn splat(x: f32) -> __m256 {
        _mm256_set1_ps(x)
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> __m256 {
        _mm256_loadu_ps(p)
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: __m256) {
        _mm256_storeu_ps(p, v);
    }
    #[inline(always)]
    unsafe fn add(a: __m256, b: __m256) -> __m256 {
        _mm256_add_ps(a, b)
    }
    #[inline(always)]
    unsafe fn sub(a: __m256, b: __m256) -> __m256 {
        _mm256_sub_ps(a, b)
    }
    #[inline(always)]
    unsafe fn mul(a: __m256, b: __m256) -> __m256 {
        _mm256_mul_ps(a, b)
    }
    #[inline(always)]
    unsafe fn div(a: __m256, b: __m256) -> __m256 {
        _mm256_div_ps(a, b)
    }
    #[inline(always)]
    unsafe fn mul_add(a: __m256, b: __m256, c: __m256) -> __m256 {
        _mm256_fmadd_ps(a, b, c)
    }
    #[inline(always)]
    unsafe fn max(a: __m256, b: __m256) -> __m256 {
        _mm256_max_ps(a, b)
    }
    #[inline(always)]
    unsafe fn min(a: __m256, b: __m256) -> __m256 {
        _mm256_min_ps(a, b)
    }
    #[inline(always)]
    unsafe fn abs(v: __m256) -> __m256 {
        _mm256_andnot_ps(_mm256_set1_ps(-0.0), v)
    }
    #[inline(always)]
    unsafe fn max_bits(a: __m256, b: __m256) -> __m256 {
        _mm256_castsi256_ps(_mm256_max_epu32(_mm256_castps_si256(a), _mm256_castps_si256(b)))
    }
    #[inline(always)]
    unsafe fn select_negative(v: __m256, a: __m256, b: __m256) -> __m256 {
        _mm256_blendv_ps(b, a, v)
    }
    #[inline(always)]
    unsafe fn round(v: __m256) -> __m256 {
        _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(v)
    }
    #[inline(always)]
    unsafe fn exp2_integer(v: __m256) -> __m256 {
        let biased = _mm256_add_epi32(_mm256_cvtps_epi32(v), _mm256_set1_epi32(127));
        _mm256_castsi256_ps(_mm256_slli_epi32::<23>(biased))
    }
    #[inline(always)]
    unsafe fn lanes(v: __m256) -> [f32; 16] {
        let mut lanes = [0.0; 16];
        _mm256_storeu_ps(lanes.as_mut_ptr(), v);
        lanes
    }
    #[inline(always)]
    unsafe fn store_bf16(p: *mut u16, v: __m256) {
        let bits = _mm256_castps_si256(v);
        let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
        let rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
        let quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x40_0000));
        let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(v, v));
        let high = _mm256_srli_epi32::<16>(_mm256_blendv_epi8(rounded, quiet, nan));
        // `packus` packs within 128-bit halves. The permutation restores the order of the quarters.
        let packed = _mm256_permute4x64_epi64::<0b1000>(_mm256_packus_epi32(high, high));
        _mm_storeu_si128(p.cast(), _mm256_castsi256_si128(packed));
    }
    #[inline(always)]
    unsafe fn store_u8(p: *mut u8, v: __m256) {
        let whole = _mm256_cvtps_epi32(v);
        let words = _mm256_permute4x64_epi64::<0b1000>(_mm256_packus_epi32(whole, whole));
        let words = _mm256_castsi256_si128(words);
        _mm_storel_epi64(p.cast(), _mm_packus_epi16(words, words));
    }
    #[inline(always)]
    unsafe fn load_i32_difference(p: *const i32, q: *const i32) -> __m256 {
        _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_loadu_si256(p.cast()), _mm256_loadu_si256(q.cast())))
    }
}

/// `f32` times `f32`.
pub(crate) struct F32;

impl Dot for F32 {
    type Activation = __m256;
    type Weights = __m256;
    const ACTIVATION_BYTES: usize = 4;
    vector_sums!(__m256, _mm256_setzero_ps, _mm256_loadu_ps, _mm256_storeu_ps);

    #[inline(always)]
    unsafe fn broadcast(p: *const u8) -> __m256 {
        _mm256_set1_ps(p.cast::<f32>().read())
    }
    #[inline(always)]
    unsafe fn load_weights(p: *const u32) -> __m256 {
        _mm256_loadu_ps(p.cast())
    }
    #[inline(always)]
    unsafe fn step(sum: __m256, a: __m256, b: __m256) -> __m256 {
        _mm256_fmadd_ps(a, b, sum)
    }
}

/// `f32` times bfloat16, widened to `f32`.
pub(crate) struct WidenedBf16;

impl Dot for WidenedBf16 {
    type Activation = [__m256; 2];
    type Weights = [__m256; 2];
    const ACTIVATION_BYTES: usize = 8;
    vector_sums!(__m256, _mm256_setzero_ps, _mm256_loadu_ps, _mm256_storeu_ps);

    #[inline(always)]
    unsafe fn broadcast(p: *const u8) -> Self::Activation {
        let p = p.cast::<f32>();
        [_mm256_set1_ps(p.read()), _mm256_set1_ps(p.add(1).read())]
    }
    #[inline(always)]
    unsafe fn load_weights(p: *const u32) -> Self::Weights {
        let b = _mm256_loadu_si256(p.cast());
        let high = _mm256_and_si256(b, _mm256_set1_epi32(0xffff_0000_u32 as i32));
        [_mm256_castsi256_ps(_mm256_slli_epi32::<16>(b)), _mm256_castsi256_ps(high)]
    }
    #[inline(always)]
    unsafe fn step(sum: __m256, a: Self::Activation, b: Self::Weights) -> __m256 {
        _mm256_fmadd_ps(a[1], b[1], _mm256_fmadd_ps(a[0], b[0], sum))
    }
}

/// u8 times int8, both widened to 16 bits, because the instruction for bytes would saturate.
pub(crate) struct Int8;

impl Dot for Int8 {
    /// The bytes at even indices, and the bytes at odd indices.
    type Activation = [__m256i; 2];
    type Weights = [__m256i; 2];
    const ACTIVATION_BYTES: usize = 4;
    vector_sums!(__m256i, _mm256_setzero_si256, _mm256_loadu_si256, _mm256_storeu_si256);

    #[inline(always)]
    unsafe fn broadcast(p: *const u8) -> Self::Activation {
        let a = _mm256_set1_epi32(p.cast::<i32>().read_unaligned());
        [_mm256_and_si256(a, _mm256_set1_epi16(0xff)), _mm256_srli_epi16::<8>(a)]
    }
    #[inline(always)]
    unsafe fn load_weights(p: *const u32) -> Self::Weights {
        let b = _mm256_loadu_si256(p.cast());
        [_mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(b)), _mm256_srai_epi16::<8>(b)]
    }
    #[inline(always)]
    unsafe fn step(sum: __m256i, a: Self::Activation, b: Self::Weights) -> __m256i {
        let sum = _mm256_add_epi32(sum, _mm256_madd_epi16(a[0], b[0]));
        _mm256_add_epi32(sum, _mm256_madd_epi16(a[1], b[1]))
    }
}
