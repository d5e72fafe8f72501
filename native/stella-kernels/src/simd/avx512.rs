//! AVX-512: sixteen `f32` in a vector, thirty-two registers. Also the int8 products of VNNI and the products of BF16.
// Each function is one instruction or a few. `Simd` and `Dot` state the safety conditions of all functions.
#![allow(unsafe_code, unsafe_op_in_unsafe_fn)]

use std::arch::x86_64::*;

use super::{Dot, Simd, vector_sums};

const LANES: usize = 16;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx512;

impl Simd for Avx512 {
    type V = __m512;
    const LANES: usize = LANES;

    #[inline(always)]
    unsafe fn splat(x: f32) -> __m512 {
        _mm512_set1_ps(x)
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> __m512 {
        _mm512_loadu_ps(p)
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: __m512) {
        _mm512_storeu_ps(p, v);
    }
    #[inline(always)]
    unsafe fn add(a: __m512, b: __m512) -> __m512 {
        _mm512_add_ps(a, b)
    }
    #[inline(always)]
    unsafe fn sub(a: __m512, b: __m512) -> __m512 {
        _mm512_sub_ps(a, b)
    }
    #[inline(always)]
    unsafe fn mul(a: __m512, b: __m512) -> __m512 {
        _mm512_mul_ps(a, b)
    }
    #[inline(always)]
    unsafe fn div(a: __m512, b: __m512) -> __m512 {
        _mm512_div_ps(a, b)
    }
    #[inline(always)]
    unsafe fn mul_add(a: __m512, b: __m512, c: __m512) -> __m512 {
        _mm512_fmadd_ps(a, b, c)
    }
    #[inline(always)]
    unsafe fn max(a: __m512, b: __m512) -> __m512 {
        _mm512_max_ps(a, b)
    }
    #[inline(always)]
    unsafe fn min(a: __m512, b: __m512) -> __m512 {
        _mm512_min_ps(a, b)
    }
    #[inline(always)]
    unsafe fn abs(v: __m512) -> __m512 {
        _mm512_abs_ps(v)
    }
    #[inline(always)]
    unsafe fn max_bits(a: __m512, b: __m512) -> __m512 {
        _mm512_castsi512_ps(_mm512_max_epu32(_mm512_castps_si512(a), _mm512_castps_si512(b)))
    }
    #[inline(always)]
    unsafe fn select_negative(v: __m512, a: __m512, b: __m512) -> __m512 {
        _mm512_mask_blend_ps(_mm512_movepi32_mask(_mm512_castps_si512(v)), b, a)
    }
    #[inline(always)]
    unsafe fn round(v: __m512) -> __m512 {
        _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(v)
    }
    #[inline(always)]
    unsafe fn exp2_integer(v: __m512) -> __m512 {
        _mm512_scalef_ps(_mm512_set1_ps(1.0), v)
    }
    #[inline(always)]
    unsafe fn lanes(v: __m512) -> [f32; 16] {
        let mut lanes = [0.0; 16];
        _mm512_storeu_ps(lanes.as_mut_ptr(), v);
        lanes
    }
    #[inline(always)]
    unsafe fn store_bf16(p: *mut u16, v: __m512) {
        let bits = _mm512_castps_si512(v);
        let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
        let rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
        let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(v, v);
        let rounded = _mm512_mask_or_epi32(rounded, nan, bits, _mm512_set1_epi32(0x40_0000));
        _mm256_storeu_si256(p.cast(), _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(rounded)));
    }
    #[inline(always)]
    unsafe fn store_u8(p: *mut u8, v: __m512) {
        _mm_storeu_si128(p.cast(), _mm512_cvtusepi32_epi8(_mm512_cvtps_epu32(v)));
    }
    #[inline(always)]
    unsafe fn load_i32_difference(p: *const i32, q: *const i32) -> __m512 {
        _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_loadu_si512(p.cast()), _mm512_loadu_si512(q.cast())))
    }
}

/// `f32` times `f32`.
pub(crate) struct F32;

impl Dot for F32 {
    type Activation = __m512;
    type Weights = __m512;
    const ACTIVATION_BYTES: usize = 4;
    vector_sums!(__m512, _mm512_setzero_ps, _mm512_loadu_ps, _mm512_storeu_ps);

    #[inline(always)]
    unsafe fn broadcast(p: *const u8) -> __m512 {
        _mm512_set1_ps(p.cast::<f32>().read())
    }
    #[inline(always)]
    unsafe fn load_weights(p: *const u32) -> __m512 {
        _mm512_loadu_ps(p.cast())
    }
    #[inline(always)]
    unsafe fn step(sum: __m512, a: __m512, b: __m512) -> __m512 {
        _mm512_fmadd_ps(a, b, sum)
    }
}

/// `f32` times bfloat16, widened to `f32`.
pub(crate) struct WidenedBf16;

impl Dot for WidenedBf16 {
    type Activation = [__m512; 2];
    type Weights = [__m512; 2];
    const ACTIVATION_BYTES: usize = 8;
    vector_sums!(__m512, _mm512_setzero_ps, _mm512_loadu_ps, _mm512_storeu_ps);

    #[inline(always)]
    unsafe fn broadcast(p: *const u8) -> Self::Activation {
        let p = p.cast::<f32>();
        [_mm512_set1_ps(p.read()), _mm512_set1_ps(p.add(1).read())]
    }
    #[inline(always)]
    unsafe fn load_weights(p: *const u32) -> Self::Weights {
        let b = _mm512_loadu_si512(p.cast());
        let high = _mm512_and_si512(b, _mm512_set1_epi32(0xffff_0000_u32 as i32));
        [_mm512_castsi512_ps(_mm512_slli_epi32::<16>(b)), _mm512_castsi512_ps(high)]
    }
    #[inline(always)]
    unsafe fn step(sum: __m512, a: Self::Activation, b: Self::Weights) -> __m512 {
        _mm512_fmadd_ps(a[1], b[1], _mm512_fmadd_ps(a[0], b[0], sum))
    }
}

/// bfloat16 times bfloat16 by the AVX-512 BF16 instruction.
pub(crate) struct Bf16;

impl Dot for Bf16 {
    type Activation = __m512i;
    type Weights = __m512i;
    const ACTIVATION_BYTES: usize = 4;
    vector_sums!(__m512, _mm512_setzero_ps, _mm512_loadu_ps, _mm512_storeu_ps);

    #[inline(always)]
    unsafe fn broadcast(p: *const u8) -> __m512i {
        _mm512_set1_epi32(p.cast::<i32>().read_unaligned())
    }
    #[inline(always)]
    unsafe fn load_weights(p: *const u32) -> __m512i {
        _mm512_loadu_si512(p.cast())
    }
    #[inline(always)]
    unsafe fn step(sum: __m512, a: __m512i, b: __m512i) -> __m512 {
        // Only the vector types differ, not the bits.
        let (a, b) =
            (std::mem::transmute::<__m512i, __m512bh>(a), std::mem::transmute::<__m512i, __m512bh>(b));
        _mm512_dpbf16_ps(sum, a, b)
    }
}

/// u8 times int8, both widened to 16 bits, because the instruction for bytes would saturate.
pub(crate) struct Int8;

impl Dot for Int8 {
    /// The bytes at even indices, and the bytes at odd indices.
    type Activation = [__m512i; 2];
    type Weights = [__m512i; 2];
    const ACTIVATION_BYTES: usize = 4;
    vector_sums!(__m512i, _mm512_setzero_si512, _mm512_loadu_si512, _mm512_storeu_si512);

    #[inline(always)]
    unsafe fn broadcast(p: *const u8) -> Self::Activation {
        let a = _mm512_set1_epi32(p.cast::<i32>().read_unaligned());
        [_mm512_and_si512(a, _mm512_set1_epi16(0xff)), _mm512_srli_epi16::<8>(a)]
    }
    #[inline(always)]
    unsafe fn load_weights(p: *const u32) -> Self::Weights {
        let b = _mm512_loadu_si512(p.cast());
        [_mm512_srai_epi16::<8>(_mm512_slli_epi16::<8>(b)), _mm512_srai_epi16::<8>(b)]
    }
    #[inline(always)]
    unsafe fn step(sum: __m512i, a: Self::Activation, b: Self::Weights) -> __m512i {
        let sum = _mm512_add_epi32(sum, _mm512_madd_epi16(a[0], b[0]));
        _mm512_add_epi32(sum, _mm512_madd_epi16(a[1], b[1]))
    }
}

/// u8 times int8 by the VNNI instruction.
pub(crate) struct VnniInt8;

impl Dot for VnniInt8 {
    type Activation = __m512i;
    type Weights = __m512i;
    const ACTIVATION_BYTES: usize = 4;
    vector_sums!(__m512i, _mm512_setzero_si512, _mm512_loadu_si512, _mm512_storeu_si512);

    #[inline(always)]
    unsafe fn broadcast(p: *const u8) -> __m512i {
        _mm512_set1_epi32(p.cast::<i32>().read_unaligned())
    }
    #[inline(always)]
    unsafe fn load_weights(p: *const u32) -> __m512i {
        _mm512_loadu_si512(p.cast())
    }
    #[inline(always)]
    unsafe fn step(sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
        _mm512_dpbusd_epi32(sum, a, b)
    }
}
