//! Linear layers: weights packed once into panels, and their product with activations.
#![allow(unsafe_code, unsafe_op_in_unsafe_fn)]

use std::ops::Range;

use crate::activations::{Activations, ROW_GRANULE, unquantized_stride};
use crate::arithmetic::{ActivationFormat, Arithmetic};
use crate::buffer::{Buffer, OutOfMemory};
use crate::kernel::epilogue::{EpilogueJob, Operation, SumType};
use crate::kernel::pack::PackJob;
use crate::numbers::Rows;
use crate::table::Kernels;
use crate::team::Team;
use crate::tile::{Accumulate, HALF_PANEL, PANEL, Tile, TileKernel};

pub use crate::kernel::epilogue::Gate;

/// Rows of activations that share a piece of weights while it is in the L1 cache.
const BLOCK_ROWS: usize = 192;
/// Panels of weights that share a block of activations while it is in the cache.
const BLOCK_PANELS: usize = 4;
/// Steps of a piece of weights. A piece is one panel wide: 32 KiB, which stay in the L1 cache.
const BLOCK_STEPS: usize = 256;

/// Scratch memory of a thread for a product, in words.
pub const SCRATCH: usize = BLOCK_ROWS * PANEL * BLOCK_PANELS;

/// Weights `[outputs, inputs]` and a bias.
///
/// The columns of a panel of `PANEL` columns are outputs, stored step by step. In a gated layer, an up-projection and a
/// gate of `outputs` outputs each are interleaved: each has half of every panel, so that the epilogue has both at hand.
#[derive(Debug)]
pub struct Linear {
    arithmetic: Arithmetic,
    kind: LayerKind,
    inputs: usize,
    outputs: usize,
    steps: usize,
    panels: usize,
    /// `[panels, steps, PANEL]`
    weights: Buffer<u32>,
    /// `[panels * PANEL]`, like the scales and offsets of columns.
    bias: Buffer<f32>,
    /// Scale of each column of int8 weights.
    column_scales: Buffer<f32>,
    /// Sum that the zero point of the activations adds to each column of int8 weights.
    column_offsets: Buffer<i32>,
    /// SmoothQuant: factor of each input channel, multiplied with the weights before they are quantized.
    weight_channel_scales: Option<Vec<f32>>,
    /// SmoothQuant: factor of each input channel of the activations, the inverse of `weight_channel_scales`.
    activation_channel_scales: Option<Vec<f32>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LayerKind {
    Plain,
    /// Up-projection and gate, interleaved.
    Gated,
}

impl LayerKind {
    /// Returns the panels of a layer of `outputs` outputs.
    fn panels(self, outputs: usize) -> usize {
        match self {
            Self::Plain => outputs.div_ceil(PANEL),
            Self::Gated => outputs.div_ceil(HALF_PANEL),
        }
    }

    /// Returns the memory of a layer in bytes.
    fn bytes(self, arithmetic: Arithmetic, outputs: usize, inputs: usize) -> u64 {
        let words_beside_weights = if arithmetic == Arithmetic::Int8 { 3 } else { 1 };
        let columns = (self.panels(outputs) * PANEL) as u64;
        4 * columns * (arithmetic.steps(inputs) + words_beside_weights) as u64
    }
}

/// The epilogue of a product: the destination of its result.
#[derive(Debug)]
pub enum Epilogue<'a> {
    /// Writes the result, row-major `[rows, outputs]`.
    Store(&'a mut [f32]),
    /// Adds the result to the output, row-major `[rows, outputs]`: a residual connection.
    Add(&'a mut [f32]),
    /// Multiplies the up-projection by the function of the gate, and converts the result to activations. The last field is
    /// a buffer of [`Kernels::gate_buffer_len`] numbers for the rows before they are quantized.
    Gate(Gate, &'a mut Activations, &'a mut [f32]),
}

/// Output memory of an epilogue.
struct Target {
    out: *mut u8,
    /// Bytes from row to row.
    stride: usize,
    format: ActivationFormat,
}

impl Epilogue<'_> {
    fn operation(&self) -> Operation {
        match self {
            Self::Store(_) => Operation::Store,
            Self::Add(_) => Operation::Add,
            Self::Gate(Gate::Gelu, ..) => Operation::GateGelu,
            Self::Gate(Gate::Silu, ..) => Operation::GateSilu,
        }
    }

    /// Checks the size of the output for `rows` rows of `outputs` numbers, and returns its memory. If the output is to be
    /// quantized, this is the memory of the unquantized rows.
    fn target(&mut self, rows: usize, outputs: usize) -> Target {
        match self {
            Self::Store(out) | Self::Add(out) => {
                assert!(out.len() >= rows * outputs, "The output must have {rows} rows of {outputs}.");
                let out = out.as_mut_ptr().cast();
                Target { out, stride: 4 * outputs, format: ActivationFormat::F32 }
            }
            Self::Gate(_, out, unquantized) => {
                assert!(
                    out.width == outputs && out.rows >= rows,
                    "The output must have {rows} rows of {outputs}."
                );
                if out.format == ActivationFormat::QuantizedU8 {
                    let stride = unquantized_stride(outputs);
                    assert!(unquantized.len() >= rows * stride, "The gate needs a buffer of {rows} rows.");
                    let out = unquantized.as_mut_ptr().cast();
                    Target { out, stride: 4 * stride, format: ActivationFormat::F32 }
                } else {
                    Target { out: out.data.as_mut_ptr(), stride: out.stride, format: out.format }
                }
            }
        }
    }
}

impl Kernels {
    /// Returns the length of the buffer that [`Epilogue::Gate`] needs for `rows` unquantized rows of `width` numbers. The
    /// length is 0 unless the output is quantized.
    pub fn gate_buffer_len(self, arithmetic: Arithmetic, rows: usize, width: usize) -> usize {
        match self.activation_format(arithmetic) {
            ActivationFormat::QuantizedU8 => rows * unquantized_stride(width),
            _ => 0,
        }
    }
}

impl Linear {
    /// Creates a layer without weights.
    ///
    /// # Errors
    /// [`OutOfMemory`]
    pub fn new(arithmetic: Arithmetic, outputs: usize, inputs: usize) -> Result<Self, OutOfMemory> {
        Self::with_kind(arithmetic, LayerKind::Plain, outputs, inputs)
    }

    /// Creates a gated layer without weights: an up-projection and a gate of `outputs` outputs each.
    ///
    /// # Errors
    /// [`OutOfMemory`]
    pub fn gated(arithmetic: Arithmetic, outputs: usize, inputs: usize) -> Result<Self, OutOfMemory> {
        Self::with_kind(arithmetic, LayerKind::Gated, outputs, inputs)
    }

    fn with_kind(
        arithmetic: Arithmetic,
        kind: LayerKind,
        outputs: usize,
        inputs: usize,
    ) -> Result<Self, OutOfMemory> {
        let (steps, panels) = (arithmetic.steps(inputs), kind.panels(outputs));
        let columns = panels * PANEL;
        let quantized = if arithmetic == Arithmetic::Int8 { columns } else { 0 };
        Ok(Self {
            arithmetic,
            kind,
            inputs,
            outputs,
            steps,
            panels,
            weights: Buffer::zeroed(columns * steps)?,
            bias: Buffer::zeroed(columns)?,
            column_scales: Buffer::zeroed(quantized)?,
            column_offsets: Buffer::zeroed(quantized)?,
            weight_channel_scales: None,
            activation_channel_scales: None,
        })
    }

    /// Returns the memory of a layer in bytes.
    pub fn bytes_for(arithmetic: Arithmetic, outputs: usize, inputs: usize) -> u64 {
        LayerKind::Plain.bytes(arithmetic, outputs, inputs)
    }

    /// Returns the memory of a gated layer in bytes.
    pub fn gated_bytes_for(arithmetic: Arithmetic, outputs: usize, inputs: usize) -> u64 {
        LayerKind::Gated.bytes(arithmetic, outputs, inputs)
    }

    /// Returns the memory of this layer in bytes.
    pub fn bytes(&self) -> u64 {
        self.kind.bytes(self.arithmetic, self.outputs, self.inputs)
    }

    /// Returns the arithmetic of the product.
    pub fn arithmetic(&self) -> Arithmetic {
        self.arithmetic
    }

    /// Returns the numbers of an input row.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Returns the numbers of an output row.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Returns the factor of each input channel, the inverse smoothing scale, that activations must be multiplied by before
    /// they are quantized.
    pub fn activation_channel_scales(&self) -> Option<&[f32]> {
        self.activation_channel_scales.as_deref()
    }

    /// Sets the smoothing scale of each input channel (SmoothQuant), a power of two. Weights packed from now on are
    /// multiplied by it. The caller multiplies the activations by [`Self::activation_channel_scales`].
    ///
    /// # Panics
    /// Unless the arithmetic is [`Arithmetic::Int8`] and every channel has a scale.
    pub fn set_smoothing_scales(&mut self, smoothing_scales: Vec<f32>) {
        assert_eq!(self.arithmetic, Arithmetic::Int8, "Only int8 layers have smoothing scales.");
        assert_eq!(smoothing_scales.len(), self.inputs, "Every input channel needs a smoothing scale.");
        self.activation_channel_scales = Some(smoothing_scales.iter().map(|scale| 1.0 / scale).collect());
        self.weight_channel_scales = Some(smoothing_scales);
    }

    /// Packs consecutive weight rows, starting at output `first`. In a gated layer the rows of the up-projection come first,
    /// then the rows of the gate.
    ///
    /// # Panics
    /// When the last row is incomplete, or the layer has fewer outputs.
    pub fn pack(&mut self, kernels: Kernels, team: &mut Team, first: usize, rows: Rows<'_>) {
        let (outputs, inputs, kind) = (self.outputs, self.inputs, self.kind);
        let weight_rows = match kind {
            LayerKind::Plain => outputs,
            LayerKind::Gated => 2 * outputs,
        };
        let count = rows.len() / inputs;
        assert_eq!(count * inputs, rows.len(), "The last row of {inputs} numbers is incomplete.");
        assert!(first + count <= weight_rows, "The layer has {weight_rows} rows, not {}.", first + count);
        let half = |first_column: usize, first_row: usize, panel: usize| {
            let row = (panel * HALF_PANEL).min(outputs);
            (first_column..first_column + HALF_PANEL.min(outputs - row), first_row + row)
        };
        let panel_columns = |panel: usize| match kind {
            LayerKind::Plain => {
                let row = panel * PANEL;
                [(0..PANEL.min(outputs - row), row), (0..0, 0)]
            }
            LayerKind::Gated => [half(0, 0, panel), half(HALF_PANEL, outputs, panel)],
        };
        let job = PackJob {
            arithmetic: self.arithmetic,
            inputs,
            steps: self.steps,
            panel_columns: &panel_columns,
            first_row: first,
            rows,
            channel_scales: self.weight_channel_scales.as_deref(),
            weights: self.weights.as_mut_ptr(),
            column_scales: self.column_scales.as_mut_ptr(),
            column_offsets: self.column_offsets.as_mut_ptr(),
        };
        // SAFETY: the instruction set of `kernels` is available. No two tasks pack the same panel.
        team.run(self.panels, &|panel, _| unsafe { (kernels.table().pack_panel)(&job, panel) });
    }

    /// Sets the bias of consecutive outputs, starting at output `first`.
    ///
    /// # Panics
    /// When the layer has fewer outputs, or is gated.
    pub fn set_bias(&mut self, first: usize, bias: &[f32]) {
        assert_eq!(self.kind, LayerKind::Plain, "A gated layer has no bias.");
        assert!(first + bias.len() <= self.outputs, "The layer has only {} outputs.", self.outputs);
        self.bias[first..first + bias.len()].copy_from_slice(bias);
    }

    /// Multiplies the given rows of `x` by the weights. The result of the first given row is the first row of the epilogue's
    /// output.
    ///
    /// # Panics
    /// When arithmetic or sizes do not match, or the first row is not a multiple of [`ROW_GRANULE`].
    pub fn multiply(
        &self,
        kernels: Kernels,
        team: &mut Team,
        x: &Activations,
        rows: Range<usize>,
        mut epilogue: Epilogue<'_>,
    ) {
        self.check_input(kernels, x, &rows);
        let gated = matches!(epilogue, Epilogue::Gate(..));
        assert_eq!(
            gated,
            self.kind == LayerKind::Gated,
            "A gated layer, and no other, needs Epilogue::Gate."
        );
        let (first, rows) = (rows.start, rows.len());
        if rows == 0 {
            return;
        }
        let target = epilogue.target(rows, self.outputs);
        let product = ProductJob {
            kernel: kernels.table().tile_kernel(self.arithmetic),
            apply_epilogue: kernels.table().epilogue,
            x: x.data.as_ptr().wrapping_add(first * x.stride),
            x_stride: x.stride,
            step_bytes: self.arithmetic.step_numbers() * x.format.bytes(),
            layer: self,
            epilogue: EpilogueJob {
                operation: epilogue.operation(),
                sum_type: if self.arithmetic == Arithmetic::Int8 { SumType::I32 } else { SumType::F32 },
                bias: self.bias.as_ptr(),
                column_scales: self.column_scales.as_ptr(),
                column_offsets: self.column_offsets.as_ptr(),
                row_scales: x.row_scales.as_ptr().wrapping_add(first),
                out: target.out,
                out_stride: target.stride,
                out_format: target.format,
                outputs: self.outputs,
            },
        };
        product.run(team, rows);
        if let Epilogue::Gate(_, out, unquantized) = epilogue
            && out.format == ActivationFormat::QuantizedU8
        {
            let from = (&*unquantized, unquantized_stride(self.outputs));
            kernels.convert_strided_rows(team, from, rows, None, out);
        }
    }

    fn check_input(&self, kernels: Kernels, x: &Activations, rows: &Range<usize>) {
        assert_eq!(x.arithmetic, self.arithmetic, "The activations are for another arithmetic.");
        assert_eq!(x.width, self.inputs, "The activations have another width.");
        assert_eq!(
            x.format,
            kernels.activation_format(self.arithmetic),
            "The activations are for another instruction set."
        );
        assert!(rows.start <= rows.end && rows.end <= x.rows, "{rows:?} are not rows of {}.", x.rows);
        // A tile may read rows after its last, up to a multiple of `ROW_GRANULE`. The buffer has memory for them.
        assert_eq!(rows.start % ROW_GRANULE, 0, "{rows:?} must begin at a multiple of {ROW_GRANULE}.");
    }
}

/// Operands of a product. A task computes a block of rows of a few panels.
struct ProductJob<'a> {
    kernel: &'static TileKernel,
    apply_epilogue: unsafe fn(&EpilogueJob, *const u32, Range<usize>, usize),
    /// The first step of the first row of the activations.
    x: *const u8,
    /// Bytes from row to row of the activations.
    x_stride: usize,
    /// Bytes of a step of the activations.
    step_bytes: usize,
    layer: &'a Linear,
    epilogue: EpilogueJob,
}

// SAFETY: tasks only read the operands, and no two tasks write the same rows and columns of the output.
unsafe impl Sync for ProductJob<'_> {}

impl ProductJob<'_> {
    /// Computes `rows` rows of all panels.
    fn run(&self, team: &mut Team, rows: usize) {
        let all_panels = self.layer.panels;
        let row_blocks = rows.div_ceil(BLOCK_ROWS);
        let block_rows = rows.div_ceil(row_blocks).next_multiple_of(self.kernel.row_granule);
        let row_blocks = rows.div_ceil(block_rows);
        let block_panels = self.block_panels(team.threads(), row_blocks);
        // Consecutive tasks share weights, which one thread reads into the cache that the threads share.
        team.run(all_panels.div_ceil(block_panels) * row_blocks, &|task, scratch| {
            let (row, panel) = (task % row_blocks * block_rows, task / row_blocks * block_panels);
            let row_end = (row + block_rows).min(rows);
            let panel_end = (panel + block_panels).min(all_panels);
            // SAFETY: the instruction set is available. `multiply` checked that the layer and the activations have the
            // panels and the rows. Only this task writes these rows and columns of the output. The scratch memory is
            // large enough for the largest block.
            unsafe { self.block(row..row_end, panel..panel_end, &mut scratch[..SCRATCH]) };
        });
    }

    /// Returns the panels of a task: as many as fit into the cache, but few enough that every thread gets several tasks.
    fn block_panels(&self, threads: usize, row_blocks: usize) -> usize {
        const TASKS_PER_THREAD: usize = 4;
        (self.layer.panels * row_blocks / (threads * TASKS_PER_THREAD)).clamp(1, BLOCK_PANELS)
    }

    /// Computes some rows of some panels. Each piece of weights is multiplied with all rows while it is in the L1 cache.
    ///
    /// # Safety
    /// The instruction set is available. The rows and panels exist, and nobody else writes their output. `sums` has memory
    /// for the sums of the panels and the rows, rounded up to the kernel's row granule.
    unsafe fn block(&self, rows: Range<usize>, panels: Range<usize>, sums: &mut [u32]) {
        let (kernel, steps) = (self.kernel, self.layer.steps);
        let tiles = kernel.tiles(rows.len());
        let block_rows = rows.len().next_multiple_of(kernel.row_granule);
        (kernel.begin)();
        for step in (0..steps).step_by(BLOCK_STEPS) {
            let count = BLOCK_STEPS.min(steps - step);
            for panel in panels.clone() {
                let weights = |panel: usize, step: usize| {
                    self.layer.weights.as_ptr().wrapping_add((panel * steps + step) * PANEL)
                };
                // The next piece of weights. Each tile of this piece prefetches a part of it.
                let next = if panel + 1 < panels.end {
                    weights(panel + 1, step)
                } else {
                    weights(panels.start, step + count)
                };
                let prefetch_step = (PANEL * 4).div_ceil(tiles);
                let sums = sums.as_mut_ptr().add((panel - panels.start) * block_rows * PANEL);
                let mut row = rows.start;
                for i in 0..tiles {
                    let end = rows.start + kernel.tile_end(rows.len(), i);
                    let sums = sums.add((row - rows.start) * PANEL);
                    kernel.run(&Tile {
                        rows: end - row,
                        steps: count,
                        a: self.x.add(row * self.x_stride + step * self.step_bytes),
                        a_stride: self.x_stride,
                        b: weights(panel, step),
                        sums,
                        sums_stride: PANEL,
                        accumulate: if step == 0 { Accumulate::Init } else { Accumulate::Add },
                        prefetch: next.cast::<u8>().wrapping_add(i * prefetch_step * count),
                        prefetch_step,
                    });
                    if step + count == steps {
                        (self.apply_epilogue)(&self.epilogue, sums, row..end, panel);
                    }
                    row = end;
                }
            }
        }
        (kernel.end)();
    }
}
