//! Packs rows of weights into panels, the order in which matrix products read them. int8 weights are quantized on the way,
//! with a scale for each column.
#![allow(unsafe_code, unsafe_op_in_unsafe_fn)]

use std::ops::Range;

use crate::arithmetic::{Arithmetic, QUANT_MAX, STEP_GRANULE, ZERO_POINT};
use crate::numbers::{Number, Rows};
use crate::tile::PANEL;

#[cfg(target_endian = "big")]
compile_error!(
    "Big-endian targets are not supported: the first number of a step must be in the lowest bits of its word."
);

/// Consecutive columns of a panel, and the row of the layer's weight matrix that is the first of them.
pub(crate) type PanelColumns = (Range<usize>, usize);

/// Rows of weights to pack.
pub(crate) struct PackJob<'a> {
    pub(crate) arithmetic: Arithmetic,
    pub(crate) inputs: usize,
    pub(crate) steps: usize,
    /// Maps a panel to the rows of the weight matrix that are its columns. The second part is empty unless two layers are
    /// interleaved.
    pub(crate) panel_columns: &'a (dyn Fn(usize) -> [PanelColumns; 2] + Sync),
    /// Index of the first row of `rows` in the weight matrix.
    pub(crate) first_row: usize,
    pub(crate) rows: Rows<'a>,
    /// Factor of each input channel, multiplied with int8 weights before they are quantized.
    pub(crate) channel_scales: Option<&'a [f32]>,
    /// `[panels, steps, PANEL]`
    pub(crate) weights: *mut u32,
    /// Scale of each column, `[panels, PANEL]`. int8 only, like `column_offsets`.
    pub(crate) column_scales: *mut f32,
    /// The zero point of the activations times the sum of the column, `[panels, PANEL]`.
    pub(crate) column_offsets: *mut i32,
}

// SAFETY: tasks only read the operands, and no two tasks write the same panel.
unsafe impl Sync for PackJob<'_> {}

/// Pointers to the first of the columns to write.
struct Columns {
    weights: *mut u32,
    scales: *mut f32,
    offsets: *mut i32,
}

/// Added to a number of up to 22 bits, it rounds the number: the lowest bits of the sum are the nearest integer, ties to even.
const ROUND_MAGIC: f32 = 1.5 * 8_388_608.0;
/// int8 numbers in [`STEP_GRANULE`] steps.
const INT8_LINE: usize = 4 * STEP_GRANULE;

/// Packs the rows of the job that are columns of a panel.
///
/// # Safety
/// The panel belongs to the job's layer, and nobody else accesses it.
#[inline(always)]
pub(crate) unsafe fn pack_panel(job: &PackJob<'_>, panel: usize) {
    let job_rows = job.first_row..job.first_row + job.rows.len() / job.inputs;
    for (columns, row) in (job.panel_columns)(panel) {
        let begin = row.max(job_rows.start);
        let end = (row + columns.len()).min(job_rows.end);
        if begin >= end {
            continue;
        }
        let column = panel * PANEL + columns.start + (begin - row);
        let to = Columns {
            weights: job.weights.add(panel * PANEL * job.steps + column % PANEL),
            scales: job.column_scales.wrapping_add(column),
            offsets: job.column_offsets.wrapping_add(column),
        };
        let numbers = (begin - job.first_row) * job.inputs..(end - job.first_row) * job.inputs;
        match job.rows {
            Rows::F32(rows) => pack_columns(job, &rows[numbers], &to),
            Rows::F16(rows) => pack_columns(job, &rows[numbers], &to),
            Rows::Bf16(rows) => pack_columns(job, &rows[numbers], &to),
        }
    }
}

/// Packs rows as consecutive columns of a panel.
#[inline(always)]
unsafe fn pack_columns<T: Number>(job: &PackJob<'_>, rows: &[T], to: &Columns) {
    let inputs = job.inputs;
    match job.arithmetic {
        Arithmetic::F32 => transpose_columns::<T, STEP_GRANULE>(job, rows, to, |_, _, line| {
            let mut steps = [0; STEP_GRANULE];
            steps.iter_mut().zip(line).for_each(|(step, x)| *step = x.widen().to_bits());
            steps
        }),
        Arithmetic::Bf16 => transpose_columns::<T, { 2 * STEP_GRANULE }>(job, rows, to, |_, _, line| {
            let mut halves = [0; 2 * STEP_GRANULE];
            halves.iter_mut().zip(line).for_each(|(half, x)| *half = x.bf16_bits());
            bytemuck::cast(halves)
        }),
        Arithmetic::Int8 => {
            let scaled = |x: T, input: usize| match job.channel_scales {
                Some(scales) => x.widen() * scales[input],
                None => x.widen(),
            };
            let mut inverses = [0.0; PANEL];
            let mut sums = [0; PANEL];
            for (column, row) in rows.chunks_exact(inputs).enumerate() {
                // Comparing bits vectorizes. Absolute values have the order of their bits.
                let bits = row.iter().enumerate().map(|(input, &x)| scaled(x, input).abs().to_bits());
                let max = f32::from_bits(bits.fold(0, u32::max));
                inverses[column] = if max > 0.0 { QUANT_MAX / max } else { 0.0 };
                to.scales.add(column).write(max / QUANT_MAX);
            }
            transpose_columns::<T, INT8_LINE>(job, rows, to, |column, begin, line| {
                let mut quantized = [0i8; INT8_LINE];
                let end = INT8_LINE.min(inputs - begin.min(inputs));
                for (i, (q, &x)) in quantized[..end].iter_mut().zip(line).enumerate() {
                    *q = (scaled(x, begin + i) * inverses[column] + ROUND_MAGIC).to_bits() as i8;
                }
                sums[column] += quantized.iter().map(|&q| i32::from(q)).sum::<i32>();
                bytemuck::cast(quantized)
            });
            for (column, sum) in sums.iter().take(rows.len() / inputs).enumerate() {
                to.offsets.add(column).write(sum * ZERO_POINT);
            }
        }
    }
}

/// Transposes rows into columns, [`STEP_GRANULE`] steps of all columns at a time, so that reads and writes use whole cache
/// lines. `steps_of(column, begin, line)` converts `N` numbers of a column, from number `begin` on, to steps. A line that
/// extends beyond the last number of the column is padded with zeros.
#[inline(always)]
unsafe fn transpose_columns<T: Number, const N: usize>(
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
            // The only call of the closure, so that it is inlined and compiled for the instruction set.
            *steps = steps_of(column, begin, line);
        }
        let columns = rows.len() / job.inputs;
        for i in 0..STEP_GRANULE {
            let to = std::slice::from_raw_parts_mut(to.weights.add((step + i) * PANEL), columns);
            to.iter_mut().zip(&block).for_each(|(to, steps)| *to = steps[i]);
        }
    }
}
