//! Attention of one head within one text: the body of the kernel and its scratch memory.
//!
//! Keys and values are packed like the weights of two linear layers, so that both products run on the tile kernels. Queries
//! are processed in blocks of [`BLOCK_QUERIES`]. The scores of a block stay in the L2 cache, and memory grows with the length
//! of a text, not with its square.
#![allow(unsafe_code, unsafe_op_in_unsafe_fn)]

use crate::arithmetic::{ActivationFormat, Arithmetic, STEP_GRANULE};
use crate::buffer::row_stride;
use crate::kernel::softmax::softmax_numerator;
use crate::numbers::bf16_bits;
use crate::rotary::{Rotary, apply_rotary};
use crate::simd::Simd;
use crate::tile::{Accumulate, PANEL, Tile, TileKernel};

/// Queries of a block. Before the queries, their scratch memory holds the keys of a panel, so it is as large as a panel.
const BLOCK_QUERIES: usize = PANEL;

/// Operands of the attention of a layer. A task computes one head of one text.
pub(crate) struct AttentionJob<'a> {
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
    pub(crate) rotary: &'a Rotary,
    /// Text `i` is the tokens from `cu_seqlens[i]` to `cu_seqlens[i + 1]`.
    pub(crate) cu_seqlens: &'a [u32],
    /// Queries, keys and values of each token.
    pub(crate) qkv: *const f32,
    /// Numbers from token to token.
    pub(crate) qkv_stride: usize,
    pub(crate) kernel: &'static TileKernel,
    /// Number format of queries, keys, softmax numerators and values.
    pub(crate) arithmetic: Arithmetic,
    pub(crate) out: *mut u8,
    /// Bytes from token to token of the output.
    pub(crate) out_stride: usize,
    /// `F32` or `Bf16`. Int8 rows are quantized afterwards, when they are complete.
    pub(crate) out_format: ActivationFormat,
}

// SAFETY: no two tasks have the same head and text, and a task writes only the output of its head and text. If the output
// replaces queries, they are the queries of this task, which it has packed before. No task writes keys or values.
unsafe impl Sync for AttentionJob<'_> {}

/// Layout of the scratch memory of a task. Strides and offsets (`_at`) are in words; a step is a word.
pub(crate) struct ScratchLayout {
    /// Number of keys, rounded up to a whole panel.
    padded_keys: usize,
    key_steps: usize,
    value_steps: usize,
    value_panels: usize,
    query_stride: usize,
    score_stride: usize,
    probability_stride: usize,
    row_at: usize,
    queries_at: usize,
    keys_at: usize,
    values_at: usize,
    scores_at: usize,
    probabilities_at: usize,
    output_at: usize,
    /// Size of the scratch memory.
    pub(crate) words: usize,
}

impl ScratchLayout {
    pub(crate) fn new(arithmetic: Arithmetic, head_dim: usize, tokens: usize) -> Self {
        let padded_keys = tokens.next_multiple_of(PANEL);
        let (key_steps, value_steps) = (arithmetic.steps(head_dim), arithmetic.steps(tokens));
        let value_panels = head_dim.div_ceil(PANEL);
        let stride = |words: usize| row_stride(4 * words) / 4;
        let (query_stride, score_stride) = (stride(key_steps), stride(padded_keys));
        // Probabilities in `f32` replace their scores.
        let in_place = arithmetic == Arithmetic::F32;
        let probability_stride = if in_place { score_stride } else { stride(value_steps) };
        let mut words = 0;
        let mut reserve = |count: usize| {
            let at = words;
            words += count.next_multiple_of(STEP_GRANULE);
            at
        };
        let row_at = reserve(head_dim);
        let queries_at = reserve(BLOCK_QUERIES * query_stride);
        let keys_at = reserve(padded_keys * key_steps);
        let values_at = reserve(value_panels * PANEL * value_steps);
        let scores_at = reserve(BLOCK_QUERIES * score_stride);
        let probabilities_at = if in_place { scores_at } else { reserve(BLOCK_QUERIES * probability_stride) };
        let output_at = reserve(BLOCK_QUERIES * value_panels * PANEL);
        Self {
            padded_keys,
            key_steps,
            value_steps,
            value_panels,
            query_stride,
            score_stride,
            probability_stride,
            row_at,
            queries_at,
            keys_at,
            values_at,
            scores_at,
            probabilities_at,
            output_at,
            words,
        }
    }
}

/// Computes the attention of one head within one text.
///
/// # Safety
/// The instruction set of `S` is available. The job has the text and the head, and nobody else computes them. `scratch` has
/// the words of the layout.
#[inline(always)]
pub(crate) unsafe fn attend_head<S: Simd>(
    job: &AttentionJob<'_>,
    text: usize,
    head: usize,
    scratch: *mut u32,
) {
    let task = HeadTask::new(job, text, head, scratch);
    (job.kernel.begin)();
    task.clear_row_padding::<S>();
    task.pack_keys::<S>();
    task.pack_values();
    for first in (0..task.tokens).step_by(BLOCK_QUERIES) {
        let rows = BLOCK_QUERIES.min(task.tokens - first);
        task.pack_queries::<S>(first, rows);
        task.compute_scores(rows);
        let inverse_sums = task.softmax::<S>(rows);
        task.compute_output::<S>(first, rows, &inverse_sums);
    }
    (job.kernel.end)();
}

/// One head of one text. Each method is a step of [`attend_head`] and has its safety conditions.
struct HeadTask<'a> {
    job: &'a AttentionJob<'a>,
    layout: ScratchLayout,
    scratch: *mut u32,
    /// First token of the text.
    begin: usize,
    tokens: usize,
    /// Index of the head's first output number in a token.
    output_column: usize,
    /// Indices of the head's first query, key and value number in a token.
    query_column: usize,
    key_column: usize,
    value_column: usize,
}

impl<'a> HeadTask<'a> {
    #[inline(always)]
    fn new(job: &'a AttentionJob<'a>, text: usize, head: usize, scratch: *mut u32) -> Self {
        let (begin, end) = (job.cu_seqlens[text] as usize, job.cu_seqlens[text + 1] as usize);
        let (tokens, dim) = (end - begin, job.head_dim);
        let kv_head = head / (job.heads / job.kv_heads);
        Self {
            job,
            layout: ScratchLayout::new(job.arithmetic, dim, tokens),
            scratch,
            begin,
            tokens,
            output_column: head * dim,
            query_column: head * dim,
            key_column: (job.heads + kv_head) * dim,
            value_column: (job.heads + job.kv_heads + kv_head) * dim,
        }
    }

    /// Returns the numbers of a token of the text from `column` on.
    #[inline(always)]
    unsafe fn token(&self, token: usize, column: usize) -> *const f32 {
        self.job.qkv.add((self.begin + token) * self.job.qkv_stride + column)
    }

    /// Memory for one query or key after its rotary embedding.
    #[inline(always)]
    unsafe fn row(&self) -> *mut f32 {
        self.scratch.add(self.layout.row_at).cast()
    }

    /// Packed queries of a block.
    #[inline(always)]
    unsafe fn queries(&self) -> *mut u32 {
        self.scratch.add(self.layout.queries_at)
    }

    /// Packed keys, `[panels of tokens, key_steps, PANEL]`.
    #[inline(always)]
    unsafe fn keys(&self) -> *mut u32 {
        self.scratch.add(self.layout.keys_at)
    }

    /// Packed values, `[panels of the head, value_steps, PANEL]`.
    #[inline(always)]
    unsafe fn values(&self) -> *mut u32 {
        self.scratch.add(self.layout.values_at)
    }

    /// Scores of a block of queries, a row for each query.
    #[inline(always)]
    unsafe fn scores(&self) -> *mut u32 {
        self.scratch.add(self.layout.scores_at)
    }

    /// Unnormalized attention probabilities of a block of queries, a row for each query.
    #[inline(always)]
    unsafe fn probabilities(&self) -> *mut u32 {
        self.scratch.add(self.layout.probabilities_at)
    }

    /// Zeros the memory after the last number of [`Self::row`], because [`pack_row`] packs whole vectors.
    #[inline(always)]
    unsafe fn clear_row_padding<S: Simd>(&self) {
        let dim = self.job.head_dim;
        for i in dim..dim.next_multiple_of(S::LANES) {
            self.row().add(i).write(0.0);
        }
    }

    /// Applies the rotary embedding to a query or a key and packs it as row `r` of the queries' memory.
    #[inline(always)]
    unsafe fn pack_rotated<S: Simd>(&self, token: usize, column: usize, scale: f32, r: usize) {
        let (job, layout) = (self.job, &self.layout);
        apply_rotary(job.rotary, token, self.token(token, column), scale, self.row());
        let to = self.queries().add(r * layout.query_stride);
        pack_row::<S>(job.arithmetic, self.row(), job.head_dim, to, layout.key_steps);
    }

    /// Packs the keys, panel by panel: first as rows in the queries' memory, which takes whole vectors, then transposed into
    /// the panel.
    #[inline(always)]
    unsafe fn pack_keys<S: Simd>(&self) {
        let layout = &self.layout;
        for panel in 0..layout.padded_keys / PANEL {
            let first = panel * PANEL;
            let count = PANEL.min(self.tokens - first);
            for r in 0..count {
                self.pack_rotated::<S>(first + r, self.key_column, 1.0, r);
            }
            let to = self.keys().add(first * layout.key_steps);
            transpose_into_panel(self.queries(), layout.query_stride, count, to, layout.key_steps);
        }
    }

    /// Packs the values: the columns of a panel are numbers of the head, and the steps are tokens.
    #[inline(always)]
    unsafe fn pack_values(&self) {
        let (layout, tokens, dim) = (&self.layout, self.tokens, self.job.head_dim);
        for panel in 0..layout.value_panels {
            let first = panel * PANEL;
            let count = PANEL.min(dim - first);
            for step in 0..layout.value_steps {
                let to = self.values().add((panel * layout.value_steps + step) * PANEL);
                let to = std::slice::from_raw_parts_mut(to, PANEL);
                to.fill(0);
                let row = |token: usize| {
                    (token < tokens).then(|| {
                        std::slice::from_raw_parts(self.token(token, self.value_column).add(first), count)
                    })
                };
                match self.job.arithmetic {
                    Arithmetic::Bf16 => match (row(2 * step), row(2 * step + 1)) {
                        (Some(low), Some(high)) => {
                            to.iter_mut()
                                .zip(low)
                                .zip(high)
                                .for_each(|((to, &low), &high)| *to = bf16_step(low, high));
                        }
                        (Some(low), None) => {
                            to.iter_mut().zip(low).for_each(|(to, &low)| *to = bf16_step(low, 0.0));
                        }
                        _ => {}
                    },
                    _ => {
                        if let Some(row) = row(step) {
                            to.iter_mut().zip(row).for_each(|(to, x)| *to = x.to_bits());
                        }
                    }
                }
            }
        }
    }

    /// Packs `rows` queries from token `first` on, multiplied by `1 / sqrt(head_dim)`.
    #[inline(always)]
    unsafe fn pack_queries<S: Simd>(&self, first: usize, rows: usize) {
        let scale = 1.0 / (self.job.head_dim as f32).sqrt();
        for r in 0..rows {
            self.pack_rotated::<S>(first + r, self.query_column, scale, r);
        }
    }

    /// Computes the scores, the products of `rows` queries and all keys.
    #[inline(always)]
    unsafe fn compute_scores(&self, rows: usize) {
        let layout = &self.layout;
        for panel in 0..layout.padded_keys / PANEL {
            let tile = Tile {
                rows,
                steps: layout.key_steps,
                a: self.queries().cast(),
                a_stride: layout.query_stride * 4,
                b: self.keys().add(panel * PANEL * layout.key_steps),
                sums: self.scores().add(panel * PANEL),
                sums_stride: layout.score_stride,
                accumulate: Accumulate::Init,
                prefetch: self.queries().cast(),
                prefetch_step: 0,
            };
            run_tiles(self.job.kernel, tile);
        }
    }

    /// Replaces the scores of `rows` queries by the numerators of their softmax, in the format that the product with the
    /// values reads. Returns the inverse denominator of each row.
    #[inline(always)]
    unsafe fn softmax<S: Simd>(&self, rows: usize) -> [f32; BLOCK_QUERIES] {
        let layout = &self.layout;
        let mut inverse_sums = [0.0; BLOCK_QUERIES];
        for (r, inverse_sum) in inverse_sums[..rows].iter_mut().enumerate() {
            let scores = self.scores().add(r * layout.score_stride).cast::<f32>();
            let sum = softmax_numerator::<S>(scores, self.tokens, layout.padded_keys);
            *inverse_sum = 1.0 / sum;
            if self.job.arithmetic == Arithmetic::Bf16 {
                let to = self.probabilities().add(r * layout.probability_stride).cast::<u16>();
                for i in (0..2 * layout.value_steps).step_by(S::LANES) {
                    S::store_bf16(to.add(i), S::load(scores.add(i)));
                }
            }
        }
        inverse_sums
    }

    /// Computes the output of `rows` queries from token `first` on: the products of probabilities and values, multiplied by
    /// the inverse sums of the softmax.
    #[inline(always)]
    unsafe fn compute_output<S: Simd>(&self, first: usize, rows: usize, inverse_sums: &[f32; BLOCK_QUERIES]) {
        let (job, layout) = (self.job, &self.layout);
        for panel in 0..layout.value_panels {
            let output = self.scratch.add(layout.output_at + panel * BLOCK_QUERIES * PANEL);
            let tile = Tile {
                rows,
                steps: layout.value_steps,
                a: self.probabilities().cast(),
                a_stride: layout.probability_stride * 4,
                b: self.values().add(panel * PANEL * layout.value_steps),
                sums: output,
                sums_stride: PANEL,
                accumulate: Accumulate::Init,
                prefetch: self.probabilities().cast(),
                prefetch_step: 0,
            };
            run_tiles(job.kernel, tile);
            let offset = (self.output_column + panel * PANEL) * job.out_format.bytes();
            let count = PANEL.min(job.head_dim - panel * PANEL);
            for (r, &inverse_sum) in inverse_sums[..rows].iter().enumerate() {
                let to = job.out.add((self.begin + first + r) * job.out_stride + offset);
                write_scaled::<S>(output.add(r * PANEL).cast(), inverse_sum, count, to, job.out_format);
            }
        }
    }
}

/// Splits a tile into tiles that the kernel can compute, and runs them.
#[inline(always)]
unsafe fn run_tiles(kernel: &TileKernel, whole: Tile) {
    let mut row = 0;
    for i in 0..kernel.tiles(whole.rows) {
        let end = kernel.tile_end(whole.rows, i);
        kernel.run(&Tile {
            rows: end - row,
            a: whole.a.add(row * whole.a_stride),
            sums: whole.sums.add(row * whole.sums_stride),
            ..whole
        });
        row = end;
    }
}

/// Packs the `count` numbers of a row as `steps` steps. The memory after the last number must be zero up to a whole vector.
#[inline(always)]
unsafe fn pack_row<S: Simd>(
    arithmetic: Arithmetic,
    row: *const f32,
    count: usize,
    to: *mut u32,
    steps: usize,
) {
    let whole = count.next_multiple_of(S::LANES);
    let written = match arithmetic {
        Arithmetic::Bf16 => {
            for i in (0..whole).step_by(S::LANES) {
                S::store_bf16(to.cast::<u16>().add(i), S::load(row.add(i)));
            }
            whole / 2
        }
        _ => {
            for i in (0..whole).step_by(S::LANES) {
                S::store(to.cast::<f32>().add(i), S::load(row.add(i)));
            }
            whole
        }
    };
    for step in written..steps {
        to.add(step).write(0);
    }
}

/// Transposes `count` rows, `stride` words apart, into the first columns of a panel.
#[inline(always)]
unsafe fn transpose_into_panel(rows: *const u32, stride: usize, count: usize, panel: *mut u32, steps: usize) {
    let transpose = |count: usize| {
        for step in 0..steps {
            for r in 0..count {
                panel.add(step * PANEL + r).write(rows.add(r * stride + step).read());
            }
        }
    };
    // A count known at compile time, for all panels but the last.
    match count {
        PANEL => transpose(PANEL),
        fewer => transpose(fewer),
    }
}

/// Combines two numbers to a step of bfloat16.
#[inline(always)]
fn bf16_step(low: f32, high: f32) -> u32 {
    u32::from(bf16_bits(low)) | u32::from(bf16_bits(high)) << 16
}

/// Writes `count` sums, multiplied by `factor`, as activations.
#[inline(always)]
unsafe fn write_scaled<S: Simd>(
    sums: *const f32,
    factor: f32,
    count: usize,
    to: *mut u8,
    format: ActivationFormat,
) {
    let mut values = [0.0f32; PANEL];
    for v in (0..PANEL).step_by(S::LANES) {
        S::store(values.as_mut_ptr().add(v), S::mul(S::load(sums.add(v)), S::splat(factor)));
    }
    match format {
        ActivationFormat::Bf16 => {
            let mut halves = [0u16; PANEL];
            for v in (0..PANEL).step_by(S::LANES) {
                S::store_bf16(halves.as_mut_ptr().add(v), S::load(values.as_ptr().add(v)));
            }
            std::ptr::copy_nonoverlapping(halves.as_ptr(), to.cast(), count);
        }
        _ => std::ptr::copy_nonoverlapping(values.as_ptr(), to.cast(), count),
    }
}
