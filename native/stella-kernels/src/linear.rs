//! A linear layer: weights packed once into the order in which they are read, and the product with activations.
#![allow(unsafe_code, unsafe_op_in_unsafe_fn)]

use std::ops::Range;

use crate::activations::{
    Activations, Arithmetic, Format, ROW_GRANULE, step_numbers, steps, unscaled_stride,
};
use crate::buffer::{Buffer, OutOfMemory};
use crate::kernels::Kernels;
use crate::math;
use crate::pack::{PackJob, Rows};
use crate::simd::Simd;
use crate::team::Team;
use crate::tile::{PANEL, Tile, TileKernel};

/// Columns of a panel that hold the same thing where two layers are interleaved.
const HALF: usize = PANEL / 2;
/// Rows of activations that are worked on while a piece of weights is in the cache.
const BLOCK_ROWS: usize = 192;
/// Panels of weights that are worked on while a block of activations is in the cache.
const BLOCK_PANELS: usize = 4;
/// Steps of a piece of weights: with a panel's width, 32 KiB, which stay in the first cache.
const BLOCK_STEPS: usize = 256;

/// Words of scratch memory that a thread needs for a product.
pub const SCRATCH: usize = BLOCK_ROWS * PANEL * BLOCK_PANELS;

/// Weights `[outputs, inputs]` and a bias.
///
/// Columns (outputs) stand in panels of [`PANEL`]; a panel holds its columns step by step. Where two layers are
/// interleaved, half of each panel belongs to each.
#[derive(Debug)]
pub struct Linear {
    arithmetic: Arithmetic,
    inputs: usize,
    outputs: usize,
    gated: bool,
    steps: usize,
    panels: usize,
    /// `[panels, steps, PANEL]`
    weights: Buffer<u32>,
    /// `[panels * PANEL]`, as all that follows.
    bias: Buffer<f32>,
    /// What one of a column's bytes is worth.
    scales: Buffer<f32>,
    /// What the zero point of the activations adds to a column's sum.
    offsets: Buffer<i32>,
    /// What weights are multiplied by when they become bytes, for each input.
    factors: Option<Vec<f32>>,
    /// What the activations that come are multiplied by: the inverse of it.
    input_factors: Option<Vec<f32>>,
}

/// The function on a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// `x Φ(x)` with the normal distribution.
    Gelu,
    /// `x / (1 + e^-x)`
    Silu,
}

/// What becomes of a product.
#[derive(Debug)]
pub enum Then<'a> {
    /// It is written, row-major `[rows, outputs]`.
    Store(&'a mut [f32]),
    /// It is added to what is there, row-major `[rows, outputs]`.
    Add(&'a mut [f32]),
    /// Its first half times the function of its second becomes activations. What becomes bytes waits for its scale in
    /// the last part, which has [`Kernels::gate_room`].
    Gate(Gate, &'a mut Activations, &'a mut [f32]),
}

impl Linear {
    /// A layer without weights yet.
    ///
    /// # Errors
    /// [`OutOfMemory`]
    pub fn new(arithmetic: Arithmetic, outputs: usize, inputs: usize) -> Result<Self, OutOfMemory> {
        Self::with_panels(arithmetic, outputs, inputs, outputs.div_ceil(PANEL), false)
    }

    /// Two layers of `outputs` outputs each, of which the second gates the first, without weights yet.
    ///
    /// # Errors
    /// [`OutOfMemory`]
    pub fn gated(arithmetic: Arithmetic, outputs: usize, inputs: usize) -> Result<Self, OutOfMemory> {
        Self::with_panels(arithmetic, outputs, inputs, outputs.div_ceil(HALF), true)
    }

    fn with_panels(
        arithmetic: Arithmetic,
        outputs: usize,
        inputs: usize,
        panels: usize,
        gated: bool,
    ) -> Result<Self, OutOfMemory> {
        let steps = steps(arithmetic, inputs);
        let columns = panels * PANEL;
        let scaled = if arithmetic == Arithmetic::Int8 { columns } else { 0 };
        Ok(Self {
            arithmetic,
            inputs,
            outputs,
            gated,
            steps,
            panels,
            weights: Buffer::zeroed(columns * steps)?,
            bias: Buffer::zeroed(columns)?,
            scales: Buffer::zeroed(scaled)?,
            offsets: Buffer::zeroed(scaled)?,
            factors: None,
            input_factors: None,
        })
    }

    /// Bytes of memory that a layer takes, two of them where it is gated.
    pub fn bytes_for(arithmetic: Arithmetic, outputs: usize, inputs: usize, gated: bool) -> u64 {
        let panels = if gated { outputs.div_ceil(HALF) } else { outputs.div_ceil(PANEL) };
        let beside = if arithmetic == Arithmetic::Int8 { 3 } else { 1 };
        4 * (panels * PANEL) as u64 * (steps(arithmetic, inputs) + beside) as u64
    }

    /// What the activations that come are to be multiplied by, for each input, if by anything.
    pub fn input_factors(&self) -> Option<&[f32]> {
        self.input_factors.as_deref()
    }

    /// Bytes of memory that it takes.
    pub fn bytes(&self) -> u64 {
        Self::bytes_for(self.arithmetic, self.outputs, self.inputs, self.gated)
    }

    /// What is multiplied.
    pub fn arithmetic(&self) -> Arithmetic {
        self.arithmetic
    }

    /// Numbers that go in.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Numbers that come out.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Moves a factor for each input, a power of two, from the activations that come (see [`Self::input_factors`]) to the
    /// weights that are packed from now on.
    ///
    /// # Panics
    /// Unless the arithmetic is [`Arithmetic::Int8`] and there is one for each input.
    pub fn balance(&mut self, factors: Vec<f32>) {
        assert!(
            self.arithmetic == Arithmetic::Int8 && factors.len() == self.inputs,
            "a factor for each input"
        );
        self.input_factors = Some(factors.iter().map(|factor| 1.0 / factor).collect());
        self.factors = Some(factors);
    }

    /// Takes rows of weights, those of the outputs from `first` on; where the layer is gated, those of all numbers that the
    /// gate is computed from follow those of the numbers that it multiplies.
    ///
    /// # Panics
    /// When they are not whole rows, or rows that the layer does not have.
    pub fn pack(&mut self, kernels: Kernels, team: &mut Team, first: usize, rows: Rows<'_>) {
        let (outputs, gated) = (self.outputs, self.gated);
        let all = if gated { 2 * outputs } else { outputs };
        let count = rows.len() / self.inputs;
        assert!(
            count * self.inputs == rows.len() && first + count <= all,
            "rows of {} for outputs of the layer",
            self.inputs
        );
        let half = |columns: usize, first: usize, panel: usize| {
            let row = (panel * HALF).min(outputs);
            (columns..columns + HALF.min(outputs - row), first + row)
        };
        let spans = |panel: usize| {
            if gated {
                [half(0, 0, panel), half(HALF, outputs, panel)]
            } else {
                let row = panel * PANEL;
                [(0..PANEL.min(outputs - row), row), (0..0, 0)]
            }
        };
        let job = PackJob {
            arithmetic: self.arithmetic,
            inputs: self.inputs,
            steps: self.steps,
            spans: &spans,
            first,
            rows,
            factors: self.factors.as_deref(),
            weights: self.weights.as_mut_ptr(),
            scales: self.scales.as_mut_ptr(),
            offsets: self.offsets.as_mut_ptr(),
        };
        // SAFETY: the level of `kernels` is there; a panel is its task's alone.
        team.run(self.panels, &|panel, _| unsafe { (kernels.table().pack)(&job, panel) });
    }

    /// Takes the bias of the outputs from `first` on.
    ///
    /// # Panics
    /// When the layer does not have as many outputs, or is gated.
    pub fn set_bias(&mut self, first: usize, bias: &[f32]) {
        assert!(!self.gated && first + bias.len() <= self.outputs, "a bias for outputs of the layer");
        self.bias[first..first + bias.len()].copy_from_slice(bias);
    }

    /// Multiplies some rows of `x`. What becomes of them begins at the first row of `then`.
    ///
    /// # Panics
    /// When the arithmetic or the sizes do not fit, or the first row is not a multiple of [`ROW_GRANULE`].
    pub fn multiply(
        &self,
        kernels: Kernels,
        team: &mut Team,
        x: &Activations,
        rows: Range<usize>,
        then: Then<'_>,
    ) {
        assert_eq!((x.arithmetic, x.width), (self.arithmetic, self.inputs), "activations for this layer");
        assert!(rows.start <= rows.end && rows.end <= x.rows, "{rows:?} of {} rows", x.rows);
        // A tile may read rows beyond those asked for, up to a granule, for which there is memory behind the last row.
        assert_eq!(rows.start % ROW_GRANULE, 0, "{rows:?} for tiles");
        let (first, rows) = (rows.start, rows.len());
        assert_eq!(x.format, kernels.format(self.arithmetic), "activations for this level");
        assert_eq!(self.gated, matches!(then, Then::Gate(..)), "a gate for a gated layer");
        if rows == 0 {
            return;
        }
        let kind = match &then {
            Then::Store(_) => Kind::Store,
            Then::Add(_) => Kind::Add,
            Then::Gate(Gate::Gelu, ..) => Kind::Gelu,
            Then::Gate(Gate::Silu, ..) => Kind::Silu,
        };
        let mut unscaled = None;
        let (out, out_stride, format) = match then {
            Then::Store(out) | Then::Add(out) => {
                assert!(out.len() >= rows * self.outputs, "room for {rows} rows of {}", self.outputs);
                (out.as_mut_ptr().cast(), self.outputs * 4, Format::F32)
            }
            Then::Gate(_, out, room) => {
                assert!(
                    out.width == self.outputs && out.rows >= rows,
                    "room for {rows} rows of {}",
                    self.outputs
                );
                if out.format == Format::Bytes {
                    let stride = unscaled_stride(self.outputs);
                    assert!(room.len() >= rows * stride, "room for {rows} rows without a scale");
                    let to = room.as_mut_ptr().cast();
                    unscaled = Some((room, out));
                    (to, 4 * stride, Format::F32)
                } else {
                    (out.data.as_mut_ptr(), out.stride, out.format)
                }
            }
        };
        let product = Product {
            kernel: kernels.table().tile(self.arithmetic),
            finish: kernels.table().finish,
            x: x.data.as_ptr().wrapping_add(first * x.stride),
            x_stride: x.stride,
            step_bytes: step_numbers(self.arithmetic) * x.format.bytes(),
            layer: self,
            ending: Ending {
                kind,
                integer: self.arithmetic == Arithmetic::Int8,
                bias: self.bias.as_ptr(),
                scales: self.scales.as_ptr(),
                offsets: self.offsets.as_ptr(),
                row_scales: x.scales.as_ptr().wrapping_add(first),
                out,
                out_stride,
                format,
                outputs: self.outputs,
            },
        };
        let blocks = rows.div_ceil(BLOCK_ROWS);
        let block = rows.div_ceil(blocks).next_multiple_of(product.kernel.row_granule);
        let blocks = rows.div_ceil(block);
        let panels = self.chunk(team.threads(), blocks);
        let chunks = self.panels.div_ceil(panels);
        // Neighbouring tasks share weights: what one thread has read, the other finds in the cache that they share.
        team.run(chunks * blocks, &|task, scratch| {
            let (chunk, part) = (task / blocks, task % blocks);
            let (row, panel) = (part * block, chunk * panels);
            let (row_end, panel_end) = ((row + block).min(rows), (panel + panels).min(self.panels));
            // SAFETY: the level of `kernels` is there. Rows and panels are the layer's and the activations', which have
            // been compared above; what is written are the rows and columns of this task alone; scratch memory has room
            // for the largest block.
            unsafe { product.block(row..row_end, panel..panel_end, &mut scratch[..SCRATCH]) };
        });
        if let Some((from, out)) = unscaled {
            kernels.settle(team, (from, unscaled_stride(self.outputs)), rows, None, out);
        }
    }

    /// Panels of a task: as many as fit, but few enough that every thread gets several tasks.
    fn chunk(&self, threads: usize, blocks: usize) -> usize {
        const TASKS_A_THREAD: usize = 4;
        (self.panels * blocks / (threads * TASKS_A_THREAD)).clamp(1, BLOCK_PANELS)
    }
}

/// A product under way.
struct Product<'a> {
    kernel: &'static TileKernel,
    finish: unsafe fn(&Ending, *const u32, Range<usize>, usize),
    x: *const u8,
    x_stride: usize,
    step_bytes: usize,
    layer: &'a Linear,
    ending: Ending,
}

// SAFETY: tasks read through its pointers what nobody writes meanwhile, and write rows and columns of their own.
unsafe impl Sync for Product<'_> {}

impl Product<'_> {
    /// Computes some rows of some panels: weights piece by piece, each with all rows while it is in the first cache.
    ///
    /// # Safety
    /// The level is there; rows and panels exist; nobody else writes the same rows and columns; `sums` has room for both
    /// and a row granule.
    unsafe fn block(&self, rows: Range<usize>, panels: Range<usize>, sums: &mut [u32]) {
        let (kernel, steps) = (self.kernel, self.layer.steps);
        let tiles = kernel.tiles(rows.len());
        let block_rows = rows.len().next_multiple_of(kernel.row_granule);
        (kernel.begin)();
        for step in (0..steps).step_by(BLOCK_STEPS) {
            let count = BLOCK_STEPS.min(steps - step);
            for panel in panels.clone() {
                let at = |panel: usize, step: usize| {
                    self.layer.weights.as_ptr().wrapping_add((panel * steps + step) * PANEL)
                };
                // What comes next, for which the tiles of this piece ask together.
                let next =
                    if panel + 1 < panels.end { at(panel + 1, step) } else { at(panels.start, step + count) };
                let piece = (PANEL * 4).div_ceil(tiles);
                let sums = sums.as_mut_ptr().add((panel - panels.start) * block_rows * PANEL);
                let mut row = rows.start;
                for i in 0..tiles {
                    let end = rows.start + kernel.split(rows.len(), i);
                    let sums = sums.add((row - rows.start) * PANEL);
                    kernel.run(&Tile {
                        rows: end - row,
                        steps: count,
                        a: self.x.add(row * self.x_stride + step * self.step_bytes),
                        a_stride: self.x_stride,
                        b: at(panel, step),
                        sums,
                        sums_stride: PANEL,
                        first: step == 0,
                        ahead: next.cast::<u8>().wrapping_add(i * piece * count),
                        ahead_step: piece,
                    });
                    if step + count == steps {
                        (self.finish)(&self.ending, sums, row..end, panel);
                    }
                    row = end;
                }
            }
        }
        (kernel.end)();
    }
}

/// What becomes of finished sums.
pub(crate) struct Ending {
    kind: Kind,
    /// Whether sums are whole numbers.
    integer: bool,
    bias: *const f32,
    scales: *const f32,
    offsets: *const i32,
    row_scales: *const f32,
    out: *mut u8,
    out_stride: usize,
    format: Format,
    outputs: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Store,
    Add,
    Gelu,
    Silu,
}

/// Ends the sums of some rows of a panel: scales, bias, gate, and out.
///
/// # Safety
/// The instruction set of `S`. `sums` are [`PANEL`] for each of `rows`, and the pointers of `ending` lead to what
/// belongs to the panel and the rows.
#[inline(always)]
pub(crate) unsafe fn finish<S: Simd>(ending: &Ending, sums: *const u32, rows: Range<usize>, panel: usize) {
    match (ending.kind, ending.integer) {
        (Kind::Store, false) => finish_plain::<S, false, false>(ending, sums, rows, panel),
        (Kind::Store, true) => finish_plain::<S, true, false>(ending, sums, rows, panel),
        (Kind::Add, false) => finish_plain::<S, false, true>(ending, sums, rows, panel),
        (Kind::Add, true) => finish_plain::<S, true, true>(ending, sums, rows, panel),
        (Kind::Gelu, false) => finish_gated::<S, false, true>(ending, sums, rows, panel),
        (Kind::Gelu, true) => finish_gated::<S, true, true>(ending, sums, rows, panel),
        (Kind::Silu, false) => finish_gated::<S, false, false>(ending, sums, rows, panel),
        (Kind::Silu, true) => finish_gated::<S, true, false>(ending, sums, rows, panel),
    }
}

/// The numbers that some sums of one row stand for.
#[inline(always)]
unsafe fn value<S: Simd, const INTEGER: bool>(
    ending: &Ending,
    sums: *const u32,
    row_scale: f32,
    column: usize,
) -> S::V {
    let bias = S::load(ending.bias.add(column));
    if INTEGER {
        let whole = S::load_difference(sums.cast(), ending.offsets.add(column));
        let scale = S::mul(S::load(ending.scales.add(column)), S::splat(row_scale));
        S::mul_add(whole, scale, bias)
    } else {
        S::add(S::load(sums.cast()), bias)
    }
}

#[inline(always)]
unsafe fn finish_plain<S: Simd, const INTEGER: bool, const ADD: bool>(
    ending: &Ending,
    mut sums: *const u32,
    rows: Range<usize>,
    panel: usize,
) {
    let first = panel * PANEL;
    let count = PANEL.min(ending.outputs - first);
    for row in rows {
        let row_scale = if INTEGER { *ending.row_scales.add(row) } else { 1.0 };
        let out = ending.out.add(row * ending.out_stride).cast::<f32>().add(first);
        let mut values = [0.0f32; PANEL];
        // The last panel may be wider than what is left of the row.
        let to = if count == PANEL { out } else { values.as_mut_ptr() };
        if ADD && count < PANEL {
            std::ptr::copy_nonoverlapping(out, to, count);
        }
        for v in (0..PANEL).step_by(S::LANES) {
            let mut y = value::<S, INTEGER>(ending, sums.add(v), row_scale, first + v);
            if ADD {
                y = S::add(S::load(to.add(v)), y);
            }
            S::store(to.add(v), y);
        }
        if count < PANEL {
            std::ptr::copy_nonoverlapping(to, out, count);
        }
        sums = sums.add(PANEL);
    }
}

#[inline(always)]
unsafe fn finish_gated<S: Simd, const INTEGER: bool, const GELU: bool>(
    ending: &Ending,
    mut sums: *const u32,
    rows: Range<usize>,
    panel: usize,
) {
    let first = panel * HALF;
    let count = HALF.min(ending.outputs - first);
    let size = ending.format.bytes();
    for row in rows {
        let row_scale = if INTEGER { *ending.row_scales.add(row) } else { 1.0 };
        let out = ending.out.add(row * ending.out_stride + first * size);
        let mut values = [0u32; HALF];
        let to = if count == HALF { out } else { values.as_mut_ptr().cast() };
        for v in (0..HALF).step_by(S::LANES) {
            let up = value::<S, INTEGER>(ending, sums.add(v), row_scale, panel * PANEL + v);
            let gate = value::<S, INTEGER>(ending, sums.add(HALF + v), row_scale, panel * PANEL + HALF + v);
            let gate = if GELU { math::gelu::<S>(gate) } else { math::silu::<S>(gate) };
            let y = S::mul(up, gate);
            match ending.format {
                Format::Bf16 => S::store_bf16(to.add(v * size).cast(), y),
                _ => S::store(to.add(v * size).cast(), y),
            }
        }
        if count < HALF {
            std::ptr::copy_nonoverlapping(to, out, count * size);
        }
        sums = sums.add(PANEL);
    }
}
