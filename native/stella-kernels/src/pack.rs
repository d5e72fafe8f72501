//! Rows of weights into the order in which products read them.
#![allow(unsafe_code, unsafe_op_in_unsafe_fn)]

use std::ops::Range;

use half::{bf16, f16};

use crate::activations::{Arithmetic, BYTE_LIMIT, STEP_GRANULE, ZERO_POINT};
use crate::simd::portable::bf16_bits;
use crate::tile::PANEL;

#[cfg(target_endian = "big")]
compile_error!("the first number of a step lies in its lowest bits, and so must the first byte of a word");

/// Rows of a matrix one after the other, in the type that a file has them in.
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
    /// How many numbers they are.
    pub fn len(self) -> usize {
        match self {
            Self::F32(numbers) => numbers.len(),
            Self::F16(numbers) => numbers.len(),
            Self::Bf16(numbers) => numbers.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Writes them as `f32`, which every number of the other types is too.
    ///
    /// # Panics
    /// When there is room for more or fewer.
    pub fn widen(self, to: &mut [f32]) {
        fn each<T: Number>(numbers: &[T], to: &mut [f32]) {
            to.iter_mut().zip(numbers).for_each(|(to, x)| *to = x.widen());
        }
        assert_eq!(self.len(), to.len(), "as many numbers as there are");
        match self {
            Self::F32(numbers) => to.copy_from_slice(numbers),
            Self::F16(numbers) => each(numbers, to),
            Self::Bf16(numbers) => each(numbers, to),
        }
    }

    /// Raises `largest` to the largest absolute value of each place in rows as wide as it is.
    ///
    /// # Panics
    /// When they are not whole rows.
    pub fn largest_by_channel(self, largest: &mut [f32]) {
        fn each<T: Number>(numbers: &[T], largest: &mut [f32]) {
            for row in numbers.chunks_exact(largest.len()) {
                for (most, x) in largest.iter_mut().zip(row) {
                    // By bits, as whole vectors can be compared.
                    *most = f32::from_bits(most.to_bits().max(x.widen().abs().to_bits()));
                }
            }
        }
        assert_eq!(self.len() % largest.len().max(1), 0, "whole rows of {}", largest.len());
        match self {
            Self::F32(numbers) => each(numbers, largest),
            Self::F16(numbers) => each(numbers, largest),
            Self::Bf16(numbers) => each(numbers, largest),
        }
    }

    /// Writes them as bfloat16: the nearest, even ones of two.
    pub(crate) fn round(self, to: &mut [u16]) {
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

/// A type that weights come in.
trait Number: Copy {
    const ZERO: Self;

    fn widen(self) -> f32;
    /// As bfloat16: the nearest, even ones of two.
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
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }

    #[inline(always)]
    fn bf16_bits(self) -> u16 {
        self.to_bits()
    }
}

/// Rows that are being packed.
pub(crate) struct PackJob<'a> {
    pub(crate) arithmetic: Arithmetic,
    pub(crate) inputs: usize,
    pub(crate) steps: usize,
    /// Which rows of the layer's matrix the columns of a panel are.
    pub(crate) spans: &'a (dyn Fn(usize) -> [(Range<usize>, usize); 2] + Sync),
    /// The number of the first row that is given.
    pub(crate) first: usize,
    pub(crate) rows: Rows<'a>,
    /// What weights are multiplied by before they become bytes, for each input.
    pub(crate) factors: Option<&'a [f32]>,
    /// `[panels, steps, PANEL]`
    pub(crate) weights: *mut u32,
    /// `[panels, PANEL]` where the arithmetic has them, as the offsets.
    pub(crate) scales: *mut f32,
    pub(crate) offsets: *mut i32,
}

// SAFETY: each task writes a panel of its own, and what tasks read nobody writes.
unsafe impl Sync for PackJob<'_> {}

/// Columns of a panel that are being written, and the first of them.
struct Columns {
    weights: *mut u32,
    scales: *mut f32,
    offsets: *mut i32,
}

/// Added to a number of up to 22 bits, it leaves the nearest whole number, even ones of two, in the lowest bits.
const TO_WHOLE: f32 = 1.5 * 8_388_608.0;
/// Numbers of a row that become [`STEP_GRANULE`] steps, at most: four a step.
const LINE: usize = 4 * STEP_GRANULE;

/// Packs those of the given rows that are columns of a panel.
///
/// # Safety
/// The panel is one of the job's layer and the caller's alone.
#[inline(always)]
pub(crate) unsafe fn pack(job: &PackJob<'_>, panel: usize) {
    let given = job.first..job.first + job.rows.len() / job.inputs;
    for (columns, row) in (job.spans)(panel) {
        let begin = row.max(given.start);
        let end = (row + columns.len()).min(given.end);
        if begin >= end {
            continue;
        }
        let column = panel * PANEL + columns.start + (begin - row);
        let to = Columns {
            weights: job.weights.add(panel * PANEL * job.steps + column % PANEL),
            scales: job.scales.wrapping_add(column),
            offsets: job.offsets.wrapping_add(column),
        };
        let numbers = (begin - job.first) * job.inputs..(end - job.first) * job.inputs;
        match job.rows {
            Rows::F32(rows) => pack_columns(job, &rows[numbers], &to),
            Rows::F16(rows) => pack_columns(job, &rows[numbers], &to),
            Rows::Bf16(rows) => pack_columns(job, &rows[numbers], &to),
        }
    }
}

#[inline(always)]
unsafe fn pack_columns<T: Number>(job: &PackJob<'_>, rows: &[T], to: &Columns) {
    let inputs = job.inputs;
    match job.arithmetic {
        Arithmetic::F32 => fill::<T, STEP_GRANULE>(job, rows, to, |_, _, line| {
            let mut steps = [0; STEP_GRANULE];
            steps.iter_mut().zip(line).for_each(|(step, x)| *step = x.widen().to_bits());
            steps
        }),
        Arithmetic::Bf16 => fill::<T, { 2 * STEP_GRANULE }>(job, rows, to, |_, _, line| {
            let mut halves = [0; 2 * STEP_GRANULE];
            halves.iter_mut().zip(line).for_each(|(half, x)| *half = x.bf16_bits());
            bytemuck::cast(halves)
        }),
        Arithmetic::Int8 => {
            let scaled = |x: T, input: usize| match job.factors {
                Some(factors) => x.widen() * factors[input],
                None => x.widen(),
            };
            let mut inverses = [0.0; PANEL];
            let mut sums = [0; PANEL];
            for (column, row) in rows.chunks_exact(inputs).enumerate() {
                // By bits: absolute values are in the same order, and a whole vector can be compared.
                let bits = row.iter().enumerate().map(|(input, &x)| scaled(x, input).abs().to_bits());
                let largest = f32::from_bits(bits.fold(0, u32::max));
                inverses[column] = if largest > 0.0 { BYTE_LIMIT / largest } else { 0.0 };
                to.scales.add(column).write(largest / BYTE_LIMIT);
            }
            fill::<T, LINE>(job, rows, to, |column, begin, line| {
                let mut bytes = [0i8; LINE];
                let end = LINE.min(inputs - begin.min(inputs));
                for (i, (byte, &x)) in bytes[..end].iter_mut().zip(line).enumerate() {
                    *byte = (scaled(x, begin + i) * inverses[column] + TO_WHOLE).to_bits() as i8;
                }
                sums[column] += bytes.iter().map(|&byte| i32::from(byte)).sum::<i32>();
                bytemuck::cast(bytes)
            });
            for (column, sum) in sums.iter().take(rows.len() / inputs).enumerate() {
                to.offsets.add(column).write(sum * ZERO_POINT);
            }
        }
    }
}

/// Writes the columns, [`STEP_GRANULE`] steps of all of them at a time: so both sides are read and written by whole lines
/// of the cache. `steps_of` makes the steps of the `N` numbers of a column from one on, zeros behind the last.
#[inline(always)]
unsafe fn fill<T: Number, const N: usize>(
    job: &PackJob<'_>,
    rows: &[T],
    to: &Columns,
    mut steps_of: impl FnMut(usize, usize, &[T; N]) -> [u32; STEP_GRANULE],
) {
    let mut block = [[0u32; STEP_GRANULE]; PANEL];
    for step in (0..job.steps).step_by(STEP_GRANULE) {
        let begin = step / STEP_GRANULE * N;
        let count = N.min(job.inputs.saturating_sub(begin));
        for (column, (row, steps)) in rows.chunks_exact(job.inputs).zip(&mut block).enumerate() {
            let mut padded = [T::ZERO; N];
            let line = match row.get(begin..begin + N).and_then(|line| line.try_into().ok()) {
                Some(line) => line,
                None => {
                    padded[..count].copy_from_slice(&row[row.len() - count..]);
                    &padded
                }
            };
            // The one call, so that it becomes part of this function and of the instructions that it is compiled for.
            *steps = steps_of(column, begin, line);
        }
        let columns = rows.len() / job.inputs;
        for i in 0..STEP_GRANULE {
            let to = std::slice::from_raw_parts_mut(to.weights.add((step + i) * PANEL), columns);
            to.iter_mut().zip(&block).for_each(|(to, steps)| *to = steps[i]);
        }
    }
}
