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
        Arithmetic::F32 => fill::<T, STEP_GRANULE>(job, rows, to, |_, line| {
            let mut steps = [0; STEP_GRANULE];
            steps.iter_mut().zip(line).for_each(|(step, x)| *step = x.widen().to_bits());
            steps
        }),
        Arithmetic::Bf16 => fill::<T, { 2 * STEP_GRANULE }>(job, rows, to, |_, line| {
            let mut halves = [0; 2 * STEP_GRANULE];
            halves.iter_mut().zip(line).for_each(|(half, x)| *half = x.bf16_bits());
            bytemuck::cast(halves)
        }),
        Arithmetic::Int8 => {
            let mut inverses = [0.0; PANEL];
            let mut sums = [0; PANEL];
            for (column, row) in rows.chunks_exact(inputs).enumerate() {
                let largest = row.iter().fold(0.0f32, |a, x| a.max(x.widen().abs()));
                inverses[column] = if largest > 0.0 { BYTE_LIMIT / largest } else { 0.0 };
                to.scales.add(column).write(largest / BYTE_LIMIT);
            }
            fill::<T, LINE>(job, rows, to, |column, line| {
                let mut bytes = [0i8; LINE];
                for (byte, x) in bytes.iter_mut().zip(line) {
                    *byte = (x.widen() * inverses[column]).round_ties_even() as i8;
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
/// of the cache. `steps_of` makes the steps of `N` numbers of a column, zeros behind the last.
#[inline(always)]
unsafe fn fill<T: Number, const N: usize>(
    job: &PackJob<'_>,
    rows: &[T],
    to: &Columns,
    mut steps_of: impl FnMut(usize, &[T; N]) -> [u32; STEP_GRANULE],
) {
    let mut block = [[0u32; STEP_GRANULE]; PANEL];
    for step in (0..job.steps).step_by(STEP_GRANULE) {
        let begin = step / STEP_GRANULE * N;
        let count = N.min(job.inputs.saturating_sub(begin));
        for (column, (row, steps)) in rows.chunks_exact(job.inputs).zip(&mut block).enumerate() {
            *steps = match row.get(begin..begin + N).and_then(|line| line.try_into().ok()) {
                Some(line) => steps_of(column, line),
                None => {
                    let mut line = [T::ZERO; N];
                    line[..count].copy_from_slice(&row[row.len() - count..]);
                    steps_of(column, &line)
                }
            };
        }
        let columns = rows.len() / job.inputs;
        for i in 0..STEP_GRANULE {
            let to = std::slice::from_raw_parts_mut(to.weights.add((step + i) * PANEL), columns);
            to.iter_mut().zip(&block).for_each(|(to, steps)| *to = steps[i]);
        }
    }
}
