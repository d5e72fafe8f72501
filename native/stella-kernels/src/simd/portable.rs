//! Arrays of four numbers, which every processor's compiler can turn into vectors.
#![allow(unsafe_code, unsafe_op_in_unsafe_fn)]

use super::{Dot, Simd};

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

/// The nearest bfloat16, even ones of two; NaN stays NaN.
#[inline(always)]
pub(crate) fn bf16_bits(x: f32) -> u16 {
    let bits = x.to_bits();
    if x.is_nan() {
        return (bits >> 16) as u16 | 0x40;
    }
    ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16) as u16
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
        // Twice rounded: without the instruction, `f32::mul_add` is a call that takes a hundred times as long.
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
    unsafe fn where_negative(v: Self::V, a: Self::V, b: Self::V) -> Self::V {
        let pick = |i: usize| if v[i].is_sign_negative() { a[i] } else { b[i] };
        [pick(0), pick(1), pick(2), pick(3)]
    }
    #[inline(always)]
    unsafe fn round(v: Self::V) -> Self::V {
        // Beyond 2^22 the sum would lose the fraction that is to be rounded; nothing here comes near.
        const MAGIC: f32 = 12_582_912.0;
        map(v, |x| (x + MAGIC) - MAGIC)
    }
    #[inline(always)]
    unsafe fn exp2_whole(v: Self::V) -> Self::V {
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
    unsafe fn store_bytes(p: *mut u8, v: Self::V) {
        for (i, x) in v.into_iter().enumerate() {
            p.add(i).write(x as u8);
        }
    }
    #[inline(always)]
    unsafe fn load_difference(p: *const i32, q: *const i32) -> Self::V {
        let (p, q) = (p.cast::<[i32; LANES]>().read_unaligned(), q.cast::<[i32; LANES]>().read_unaligned());
        [(p[0] - q[0]) as f32, (p[1] - q[1]) as f32, (p[2] - q[2]) as f32, (p[3] - q[3]) as f32]
    }
}

/// Loads and stores of sums, which are arrays here.
macro_rules! array_sums {
    ($number:ty) => {
        type Sum = [$number; LANES];
        const LANES: usize = LANES;
        #[inline(always)]
        unsafe fn zero() -> Self::Sum {
            [Default::default(); LANES]
        }
        #[inline(always)]
        unsafe fn load(p: *const u32) -> Self::Sum {
            p.cast::<Self::Sum>().read_unaligned()
        }
        #[inline(always)]
        unsafe fn store(p: *mut u32, sum: Self::Sum) {
            p.cast::<Self::Sum>().write_unaligned(sum);
        }
    };
}

/// `f32` times `f32`.
pub(crate) struct F32;

impl Dot for F32 {
    type A = f32;
    type B = [f32; LANES];
    const A_BYTES: usize = 4;
    array_sums!(f32);

    #[inline(always)]
    unsafe fn a(p: *const u8) -> f32 {
        p.cast::<f32>().read_unaligned()
    }
    #[inline(always)]
    unsafe fn b(p: *const u32) -> Self::B {
        p.cast::<Self::B>().read_unaligned()
    }
    #[inline(always)]
    unsafe fn step(sum: Self::Sum, a: f32, b: Self::B) -> Self::Sum {
        zip(sum, b, |sum, b| sum + a * b)
    }
}

/// `f32` times bfloat16, which is widened.
pub(crate) struct Widened;

impl Dot for Widened {
    type A = [f32; 2];
    type B = [[f32; LANES]; 2];
    const A_BYTES: usize = 8;
    array_sums!(f32);

    #[inline(always)]
    unsafe fn a(p: *const u8) -> Self::A {
        p.cast::<Self::A>().read_unaligned()
    }
    #[inline(always)]
    unsafe fn b(p: *const u32) -> Self::B {
        let b = p.cast::<[u32; LANES]>().read_unaligned();
        let low = |x: u32| f32::from_bits(x << 16);
        let high = |x: u32| f32::from_bits(x & 0xffff_0000);
        [[low(b[0]), low(b[1]), low(b[2]), low(b[3])], [high(b[0]), high(b[1]), high(b[2]), high(b[3])]]
    }
    #[inline(always)]
    unsafe fn step(sum: Self::Sum, a: Self::A, b: Self::B) -> Self::Sum {
        let sum = zip(sum, b[0], |sum, b| sum + a[0] * b);
        zip(sum, b[1], |sum, b| sum + a[1] * b)
    }
}

/// Unsigned bytes times signed ones.
pub(crate) struct Bytes;

impl Dot for Bytes {
    type A = [u8; 4];
    type B = [[i8; 4]; LANES];
    const A_BYTES: usize = 4;
    array_sums!(i32);

    #[inline(always)]
    unsafe fn a(p: *const u8) -> Self::A {
        p.cast::<Self::A>().read_unaligned()
    }
    #[inline(always)]
    unsafe fn b(p: *const u32) -> Self::B {
        p.cast::<Self::B>().read_unaligned()
    }
    #[inline(always)]
    unsafe fn step(sum: Self::Sum, a: Self::A, b: Self::B) -> Self::Sum {
        let dot = |b: [i8; 4]| {
            let product = |i: usize| i32::from(a[i]) * i32::from(b[i]);
            product(0) + product(1) + product(2) + product(3)
        };
        [sum[0] + dot(b[0]), sum[1] + dot(b[1]), sum[2] + dot(b[2]), sum[3] + dot(b[3])]
    }
}
