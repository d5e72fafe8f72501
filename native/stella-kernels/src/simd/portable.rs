//! The portable instruction set: arrays of four `f32`, which the compiler can translate to vector instructions of any
//! processor. It is the only implementation on Arm, where the compiler can use Neon instructions.
#![allow(unsafe_code, unsafe_op_in_unsafe_fn)]

use super::{Dot, Simd};
use crate::numbers::bf16_bits;

const LANES: usize = 4;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Portable;

#[inline(always)]
fn map(a: [f32; LANES], f: impl Fn(f32) -> f32) -> [f32; LANES] {
    [f(a[0]), f(a[1]), f(a[2]), f(a[3])]
}

#[inline(always)]
fn zip(a: [f32; LANES], b: [f32; LANES], f: impl Fn(f32, f32) -> f32) -> [f32; LANES] {
    [f(a[0], b[0]), f(a[1], b[1]), f(a[2], b[2]), f(a[3], b[3])]
}

impl Simd for Portable {
    type V = [f32; LANES];
    const LANES: usize = LANES;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self::V {
        [x; LANES]
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self::V {
        p.cast::<Self::V>().read_unaligned()
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: Self::V) {
        p.cast::<Self::V>().write_unaligned(v);
    }
    #[inline(always)]
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a / b)
    }
    #[inline(always)]
    unsafe fn mul_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // Rounds twice. Without a fused instruction, `f32::mul_add` is a library call that takes a hundred times as long.
        Self::add(Self::mul(a, b), c)
    }
    #[inline(always)]
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    unsafe fn abs(v: Self::V) -> Self::V {
        map(v, f32::abs)
    }
    #[inline(always)]
    unsafe fn max_bits(a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| f32::from_bits(a.to_bits().max(b.to_bits())))
    }
    #[inline(always)]
    unsafe fn select_negative(v: Self::V, a: Self::V, b: Self::V) -> Self::V {
        let pick = |i: usize| if v[i].is_sign_negative() { a[i] } else { b[i] };
        [pick(0), pick(1), pick(2), pick(3)]
    }
    #[inline(always)]
    unsafe fn round(v: Self::V) -> Self::V {
        // Beyond 2^22 the sum would lose the fraction before it is rounded. No caller comes near that.
        const MAGIC: f32 = 12_582_912.0;
        map(v, |x| (x + MAGIC) - MAGIC)
    }
    #[inline(always)]
    unsafe fn exp2_integer(v: Self::V) -> Self::V {
        map(v, |x| f32::from_bits(((x as i32 + 127) << 23) as u32))
    }
    #[inline(always)]
    unsafe fn lanes(v: Self::V) -> [f32; 16] {
        let mut lanes = [0.0; 16];
        lanes[..LANES].copy_from_slice(&v);
        lanes
    }
    #[inline(always)]
    unsafe fn store_bf16(p: *mut u16, v: Self::V) {
        for (i, x) in v.into_iter().enumerate() {
            p.add(i).write(bf16_bits(x));
        }
    }
    #[inline(always)]
    unsafe fn store_u8(p: *mut u8, v: Self::V) {
        for (i, x) in v.into_iter().enumerate() {
            p.add(i).write(x as u8);
        }
    }
    #[inline(always)]
    unsafe fn load_i32_difference(p: *const i32, q: *const i32) -> Self::V {
        let (p, q) = (p.cast::<[i32; LANES]>().read_unaligned(), q.cast::<[i32; LANES]>().read_unaligned());
        [(p[0] - q[0]) as f32, (p[1] - q[1]) as f32, (p[2] - q[2]) as f32, (p[3] - q[3]) as f32]
    }
}

/// Implements the accumulators of [`Dot`] as an array.
macro_rules! array_sums {
    ($number:ty) => {
        type Sums = [$number; LANES];
        const LANES: usize = LANES;
        #[inline(always)]
        unsafe fn zero() -> Self::Sums {
            [Default::default(); LANES]
        }
        #[inline(always)]
        unsafe fn load(p: *const u32) -> Self::Sums {
            p.cast::<Self::Sums>().read_unaligned()
        }
        #[inline(always)]
        unsafe fn store(p: *mut u32, sum: Self::Sums) {
            p.cast::<Self::Sums>().write_unaligned(sum);
        }
    };
}

/// `f32` times `f32`.
pub(crate) struct F32;

impl Dot for F32 {
    type Activation = f32;
    type Weights = [f32; LANES];
    const ACTIVATION_BYTES: usize = 4;
    array_sums!(f32);

    #[inline(always)]
    unsafe fn broadcast(p: *const u8) -> f32 {
        p.cast::<f32>().read_unaligned()
    }
    #[inline(always)]
    unsafe fn load_weights(p: *const u32) -> Self::Weights {
        p.cast::<Self::Weights>().read_unaligned()
    }
    #[inline(always)]
    unsafe fn step(sum: Self::Sums, a: f32, b: Self::Weights) -> Self::Sums {
        zip(sum, b, |sum, b| sum + a * b)
    }
}

/// `f32` times bfloat16, widened to `f32`.
pub(crate) struct WidenedBf16;

impl Dot for WidenedBf16 {
    type Activation = [f32; 2];
    type Weights = [[f32; LANES]; 2];
    const ACTIVATION_BYTES: usize = 8;
    array_sums!(f32);

    #[inline(always)]
    unsafe fn broadcast(p: *const u8) -> Self::Activation {
        p.cast::<Self::Activation>().read_unaligned()
    }
    #[inline(always)]
    unsafe fn load_weights(p: *const u32) -> Self::Weights {
        let b = p.cast::<[u32; LANES]>().read_unaligned();
        let low = |x: u32| f32::from_bits(x << 16);
        let high = |x: u32| f32::from_bits(x & 0xffff_0000);
        [[low(b[0]), low(b[1]), low(b[2]), low(b[3])], [high(b[0]), high(b[1]), high(b[2]), high(b[3])]]
    }
    #[inline(always)]
    unsafe fn step(sum: Self::Sums, a: Self::Activation, b: Self::Weights) -> Self::Sums {
        let sum = zip(sum, b[0], |sum, b| sum + a[0] * b);
        zip(sum, b[1], |sum, b| sum + a[1] * b)
    }
}

/// u8 times int8.
pub(crate) struct Int8;

impl Dot for Int8 {
    type Activation = [u8; 4];
    type Weights = [[i8; 4]; LANES];
    const ACTIVATION_BYTES: usize = 4;
    array_sums!(i32);

    #[inline(always)]
    unsafe fn broadcast(p: *const u8) -> Self::Activation {
        p.cast::<Self::Activation>().read_unaligned()
    }
    #[inline(always)]
    unsafe fn load_weights(p: *const u32) -> Self::Weights {
        p.cast::<Self::Weights>().read_unaligned()
    }
    #[inline(always)]
    unsafe fn step(sum: Self::Sums, a: Self::Activation, b: Self::Weights) -> Self::Sums {
        let dot = |b: [i8; 4]| {
            let product = |i: usize| i32::from(a[i]) * i32::from(b[i]);
            product(0) + product(1) + product(2) + product(3)
        };
        [sum[0] + dot(b[0]), sum[1] + dot(b[1]), sum[2] + dot(b[2]), sum[3] + dot(b[3])]
    }
}
