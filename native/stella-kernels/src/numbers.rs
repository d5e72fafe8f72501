//! Numbers in the types that weight files store: `f32`, half precision and bfloat16.

use half::{bf16, f16};

/// Rounds to the nearest bfloat16, ties to even. NaN stays NaN.
#[inline(always)]
pub(crate) fn bf16_bits(x: f32) -> u16 {
    let bits = x.to_bits();
    if x.is_nan() {
        return (bits >> 16) as u16 | 0x40;
    }
    ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16) as u16
}

/// Widens a bfloat16 number, which is the upper half of an `f32`.
#[inline(always)]
pub(crate) fn widen_bf16(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// Consecutive rows of a matrix, in the type that the file stores.
#[derive(Debug, Clone, Copy)]
pub enum Rows<'a> {
    /// 32-bit floating point.
    F32(&'a [f32]),
    /// Half precision.
    F16(&'a [f16]),
    /// bfloat16.
    Bf16(&'a [bf16]),
}

impl Rows<'_> {
    /// Number of elements of all rows.
    pub fn len(self) -> usize {
        match self {
            Self::F32(numbers) => numbers.len(),
            Self::F16(numbers) => numbers.len(),
            Self::Bf16(numbers) => numbers.len(),
        }
    }

    /// Whether there is no element.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Writes the elements as `f32`, which represents every number of the other types exactly.
    ///
    /// # Panics
    /// When `to` has another length.
    pub fn widen(self, to: &mut [f32]) {
        fn each<T: Number>(numbers: &[T], to: &mut [f32]) {
            to.iter_mut().zip(numbers).for_each(|(to, x)| *to = x.widen());
        }
        assert_eq!(self.len(), to.len(), "The destination must have the length of the rows.");
        match self {
            Self::F32(numbers) => to.copy_from_slice(numbers),
            Self::F16(numbers) => each(numbers, to),
            Self::Bf16(numbers) => each(numbers, to),
        }
    }

    /// Raises each element of `maxima` to the largest absolute value of its channel. A channel is a column of the rows,
    /// which have as many columns as `maxima` has elements.
    ///
    /// # Panics
    /// When the last row is incomplete.
    pub fn raise_channel_maxima(self, maxima: &mut [f32]) {
        fn each<T: Number>(numbers: &[T], maxima: &mut [f32]) {
            for row in numbers.chunks_exact(maxima.len()) {
                for (max, x) in maxima.iter_mut().zip(row) {
                    // Comparing bits vectorizes. Absolute values have the order of their bits.
                    *max = f32::from_bits(max.to_bits().max(x.widen().abs().to_bits()));
                }
            }
        }
        assert_eq!(self.len() % maxima.len().max(1), 0, "The last row of {} is incomplete.", maxima.len());
        match self {
            Self::F32(numbers) => each(numbers, maxima),
            Self::F16(numbers) => each(numbers, maxima),
            Self::Bf16(numbers) => each(numbers, maxima),
        }
    }

    /// Writes the elements as bfloat16, rounded to nearest, ties to even.
    pub(crate) fn round_to_bf16(self, to: &mut [u16]) {
        fn each<T: Number>(numbers: &[T], to: &mut [u16]) {
            to.iter_mut().zip(numbers).for_each(|(to, x)| *to = x.bf16_bits());
        }
        match self {
            Self::F32(numbers) => each(numbers, to),
            Self::F16(numbers) => each(numbers, to),
            Self::Bf16(numbers) => each(numbers, to),
        }
    }
}

/// An element type of [`Rows`].
pub(crate) trait Number: Copy {
    const ZERO: Self;

    fn widen(self) -> f32;
    /// Rounds to the nearest bfloat16, ties to even.
    fn bf16_bits(self) -> u16;
}

impl Number for f32 {
    const ZERO: Self = 0.0;

    #[inline(always)]
    fn widen(self) -> f32 {
        self
    }

    #[inline(always)]
    fn bf16_bits(self) -> u16 {
        bf16_bits(self)
    }
}

impl Number for f16 {
    const ZERO: Self = Self::ZERO;

    #[inline(always)]
    fn widen(self) -> f32 {
        self.to_f32()
    }

    #[inline(always)]
    fn bf16_bits(self) -> u16 {
        bf16_bits(self.to_f32())
    }
}

impl Number for bf16 {
    const ZERO: Self = Self::ZERO;

    #[inline(always)]
    fn widen(self) -> f32 {
        widen_bf16(self.to_bits())
    }

    #[inline(always)]
    fn bf16_bits(self) -> u16 {
        self.to_bits()
    }
}
