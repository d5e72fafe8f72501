//! Attention within each text: every token looks at every token of its text.
//!
//! A head of a text is one task. Keys and values are packed like the weights of two linear layers, so both products run on
//! the tile kernels. The queries go through a few at a time; their scores lie in the second cache, and memory grows with
//! the length of a text and not with its square.
#![allow(unsafe_code, unsafe_op_in_unsafe_fn)]

use crate::activations::{Activations, Arithmetic, Format, STEP_GRANULE, steps};
use crate::kernels::Kernels;
use crate::math;
use crate::rotary::Rotary;
use crate::simd::Simd;
use crate::simd::portable::bf16_bits;
use crate::team::Team;
use crate::tile::{PANEL, Tile, TileKernel};

/// Queries whose scores are in memory at once; their place takes a panel's keys before.
const BLOCK_QUERIES: usize = PANEL;

/// The heads of a layer.
#[derive(Debug, Clone, Copy)]
pub struct Attention<'a> {
    /// Heads of queries.
    pub heads: usize,
    /// Heads of keys and of values. Each serves as many neighbouring heads of queries.
    pub kv_heads: usize,
    /// Numbers of a head.
    pub head_dim: usize,
    /// By what queries and keys are turned.
    pub rotary: &'a Rotary,
}

/// Attention under way.
pub(crate) struct AttentionJob<'a> {
    shape: Attention<'a>,
    texts: &'a [u32],
    qkv: *const f32,
    /// Numbers from token to token.
    qkv_stride: usize,
    kernel: &'static TileKernel,
    arithmetic: Arithmetic,
    out: *mut u8,
    out_stride: usize,
    out_format: Format,
}

// SAFETY: tasks write the numbers of their own head and text. Where those take the place of queries, they are the task's own
// queries, which it has packed before; keys and values nobody writes.
unsafe impl Sync for AttentionJob<'_> {}

/// Words of scratch memory that a thread needs for heads of `head_dim` numbers and texts of at most `tokens` tokens.
pub fn scratch(head_dim: usize, tokens: usize) -> usize {
    let words = |arithmetic| Layout::new(arithmetic, head_dim, tokens).words;
    words(Arithmetic::F32).max(words(Arithmetic::Bf16))
}

impl Attention<'_> {
    /// Numbers of a token that go in: its queries, keys and values, one after the other.
    pub fn inputs(&self) -> usize {
        (self.heads + 2 * self.kv_heads) * self.head_dim
    }

    /// Attends within texts. Text `i` is the tokens from `texts[i]` to `texts[i + 1]`; `qkv` is row-major
    /// `[tokens, inputs]`, `out` takes `[tokens, heads * head_dim]`. What becomes bytes waits for its scale where the
    /// queries were.
    ///
    /// # Panics
    /// When sizes do not fit.
    pub fn attend(
        self,
        kernels: Kernels,
        team: &mut Team,
        qkv: &mut [f32],
        texts: &[u32],
        out: &mut Activations,
    ) {
        let tokens = texts.last().map_or(0, |&t| t as usize);
        assert!(texts.is_sorted() && qkv.len() >= tokens * self.inputs(), "keys for {tokens} tokens");
        assert!(out.rows >= tokens && out.width == self.heads * self.head_dim, "room for {tokens} tokens");
        assert!(
            self.heads.is_multiple_of(self.kv_heads) && self.rotary.pairs * 2 == self.head_dim,
            "heads that fit together"
        );
        let longest = texts.windows(2).map(|w| w[1] - w[0]).max().unwrap_or(0) as usize;
        assert!(longest <= self.rotary.positions, "positions for {longest} tokens");
        // Scores in bfloat16 where that is faster, and the layer computes in less than 32 bits anyway.
        let arithmetic = match out.arithmetic() {
            Arithmetic::Bf16 | Arithmetic::Int8 if kernels.multiplies_bf16() => Arithmetic::Bf16,
            _ => Arithmetic::F32,
        };
        let inputs = self.inputs();
        let from = qkv.as_mut_ptr();
        let (to, out_stride, out_format) = match out.format {
            Format::Bytes => (from.cast(), 4 * inputs, Format::F32),
            format => (out.data.as_mut_ptr(), out.stride, format),
        };
        let job = AttentionJob {
            shape: self,
            texts,
            qkv: from,
            qkv_stride: inputs,
            kernel: kernels.table().tile(arithmetic),
            arithmetic,
            out: to,
            out_stride,
            out_format,
        };
        let words = Layout::new(arithmetic, self.head_dim, longest).words;
        team.run((texts.len().max(1) - 1) * self.heads, &|task, scratch| {
            assert!(scratch.len() >= words, "scratch memory for {longest} tokens");
            let (text, head) = (task / self.heads, task % self.heads);
            // SAFETY: the level is there; sizes were compared above; the task is the only one for this text and head.
            unsafe { (kernels.table().attend)(&job, text, head, scratch.as_mut_ptr()) };
        });
        if out.format == Format::Bytes {
            kernels.settle(team, (qkv, inputs), tokens, None, out);
        }
    }
}

/// Where things lie in scratch memory, in words.
struct Layout {
    /// Keys, up to a whole panel.
    keys: usize,
    key_steps: usize,
    value_steps: usize,
    value_panels: usize,
    query_stride: usize,
    score_stride: usize,
    share_stride: usize,
    row_at: usize,
    queries_at: usize,
    keys_at: usize,
    values_at: usize,
    scores_at: usize,
    shares_at: usize,
    means_at: usize,
    words: usize,
}

impl Layout {
    fn new(arithmetic: Arithmetic, head_dim: usize, tokens: usize) -> Self {
        let keys = tokens.next_multiple_of(PANEL);
        let (key_steps, value_steps) = (steps(arithmetic, head_dim), steps(arithmetic, tokens));
        let value_panels = head_dim.div_ceil(PANEL);
        // Odd numbers of cache lines, as for activations. A step is a word.
        let line = STEP_GRANULE;
        let apart = |words: usize| (words.div_ceil(line) | 1) * line;
        let (query_stride, score_stride) = (apart(key_steps), apart(keys));
        // Shares in `f32` take the place of their scores.
        let share_stride = if arithmetic == Arithmetic::F32 { score_stride } else { apart(value_steps) };
        let mut words = 0;
        let mut take = |count: usize| {
            let at = words;
            words += count.next_multiple_of(line);
            at
        };
        let row_at = take(head_dim);
        let queries_at = take(BLOCK_QUERIES * query_stride);
        let keys_at = take(keys * key_steps);
        let values_at = take(value_panels * PANEL * value_steps);
        let scores_at = take(BLOCK_QUERIES * score_stride);
        let shares_at =
            if arithmetic == Arithmetic::F32 { scores_at } else { take(BLOCK_QUERIES * share_stride) };
        let means_at = take(BLOCK_QUERIES * value_panels * PANEL);
        Self {
            keys,
            key_steps,
            value_steps,
            value_panels,
            query_stride,
            score_stride,
            share_stride,
            row_at,
            queries_at,
            keys_at,
            values_at,
            scores_at,
            shares_at,
            means_at,
            words,
        }
    }
}

/// Attention of one head within one text.
///
/// # Safety
/// The instruction set of `S`; text and head are the job's; nobody else works on the same; `scratch` has the words of
/// the layout.
#[inline(always)]
pub(crate) unsafe fn attend<S: Simd>(job: &AttentionJob<'_>, text: usize, head: usize, scratch: *mut u32) {
    let shape = &job.shape;
    let (begin, end) = (job.texts[text] as usize, job.texts[text + 1] as usize);
    let (tokens, dim) = (end - begin, shape.head_dim);
    let layout = Layout::new(job.arithmetic, dim, tokens);
    let kv_head = head / (shape.heads / shape.kv_heads);
    let number = |token: usize, at: usize| job.qkv.add((begin + token) * job.qkv_stride + at);
    let (query_at, key_at) = (head * dim, (shape.heads + kv_head) * dim);
    let value_at = (shape.heads + shape.kv_heads + kv_head) * dim;
    let row = scratch.add(layout.row_at).cast::<f32>();

    (job.kernel.begin)();
    // Whole vectors of a row are packed.
    for i in dim..dim.next_multiple_of(S::LANES) {
        row.add(i).write(0.0);
    }
    let keys = scratch.add(layout.keys_at);
    let rows = scratch.add(layout.queries_at);
    for panel in 0..layout.keys / PANEL {
        let first = panel * PANEL;
        let count = PANEL.min(tokens - first);
        for r in 0..count {
            turn(shape.rotary, first + r, number(first + r, key_at), 1.0, row);
            pack::<S>(job.arithmetic, row, dim, rows.add(r * layout.query_stride), layout.key_steps);
        }
        stand_up(rows, layout.query_stride, count, keys.add(first * layout.key_steps), layout.key_steps);
    }
    let values = scratch.add(layout.values_at);
    pack_values(job.arithmetic, &layout, |token| number(token, value_at), tokens, dim, values);

    let scale = 1.0 / (dim as f32).sqrt();
    for first in (0..tokens).step_by(BLOCK_QUERIES) {
        let rows = BLOCK_QUERIES.min(tokens - first);
        let queries = scratch.add(layout.queries_at);
        for r in 0..rows {
            turn(shape.rotary, first + r, number(first + r, query_at), scale, row);
            pack::<S>(job.arithmetic, row, dim, queries.add(r * layout.query_stride), layout.key_steps);
        }
        let scores = scratch.add(layout.scores_at);
        for panel in 0..layout.keys / PANEL {
            let tile = Tile {
                rows,
                steps: layout.key_steps,
                a: queries.cast(),
                a_stride: layout.query_stride * 4,
                b: keys.add(panel * PANEL * layout.key_steps),
                sums: scores.add(panel * PANEL),
                sums_stride: layout.score_stride,
                first: true,
                ahead: queries.cast(),
                ahead_step: 0,
            };
            run_tiles(job.kernel, tile);
        }
        let shares = scratch.add(layout.shares_at);
        let mut inverse = [0.0; BLOCK_QUERIES];
        for (r, inverse) in inverse[..rows].iter_mut().enumerate() {
            let scores = scores.add(r * layout.score_stride).cast::<f32>();
            let sum = soften::<S>(scores, tokens, layout.keys);
            *inverse = 1.0 / sum;
            if job.arithmetic == Arithmetic::Bf16 {
                let to = shares.add(r * layout.share_stride).cast::<u16>();
                for i in (0..2 * layout.value_steps).step_by(S::LANES) {
                    S::store_bf16(to.add(i), S::load(scores.add(i)));
                }
            }
        }
        let means = scratch.add(layout.means_at);
        for panel in 0..layout.value_panels {
            let means = means.add(panel * BLOCK_QUERIES * PANEL);
            let tile = Tile {
                rows,
                steps: layout.value_steps,
                a: shares.cast(),
                a_stride: layout.share_stride * 4,
                b: values.add(panel * PANEL * layout.value_steps),
                sums: means,
                sums_stride: PANEL,
                first: true,
                ahead: shares.cast(),
                ahead_step: 0,
            };
            run_tiles(job.kernel, tile);
            let (column, size) = (head * dim + panel * PANEL, job.out_format.bytes());
            let count = PANEL.min(dim - panel * PANEL);
            for (r, &inverse) in inverse[..rows].iter().enumerate() {
                let to = job.out.add((begin + first + r) * job.out_stride + column * size);
                put_scaled::<S>(means.add(r * PANEL).cast(), inverse, count, to, job.out_format);
            }
        }
    }
    (job.kernel.end)();
}

/// Runs a tile of more rows than the kernel takes at once.
#[inline(always)]
unsafe fn run_tiles(kernel: &TileKernel, whole: Tile) {
    let mut row = 0;
    for i in 0..kernel.tiles(whole.rows) {
        let end = kernel.split(whole.rows, i);
        kernel.run(&Tile {
            rows: end - row,
            a: whole.a.add(row * whole.a_stride),
            sums: whole.sums.add(row * whole.sums_stride),
            ..whole
        });
        row = end;
    }
}

/// Turns the pairs of a head by its position, and scales it.
#[inline(always)]
unsafe fn turn(rotary: &Rotary, position: usize, x: *const f32, scale: f32, y: *mut f32) {
    let pairs = rotary.pairs;
    let (cos, sin) = (&rotary.cos[position * pairs..][..pairs], &rotary.sin[position * pairs..][..pairs]);
    let x = std::slice::from_raw_parts(x, 2 * pairs);
    let y = std::slice::from_raw_parts_mut(y, 2 * pairs);
    let ((x0, x1), (y0, y1)) = (x.split_at(pairs), y.split_at_mut(pairs));
    for i in 0..pairs {
        y0[i] = (x0[i] * cos[i] - x1[i] * sin[i]) * scale;
        y1[i] = (x1[i] * cos[i] + x0[i] * sin[i]) * scale;
    }
}

/// Writes a row as steps. Behind its numbers are zeros up to a whole vector.
#[inline(always)]
unsafe fn pack<S: Simd>(arithmetic: Arithmetic, row: *const f32, count: usize, to: *mut u32, steps: usize) {
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

/// Makes `count` rows, `stride` words from each other, the first columns of a panel.
#[inline(always)]
unsafe fn stand_up(rows: *const u32, stride: usize, count: usize, panel: *mut u32, steps: usize) {
    let stand_up = |count: usize| {
        for step in 0..steps {
            for r in 0..count {
                panel.add(step * PANEL + r).write(rows.add(r * stride + step).read());
            }
        }
    };
    // A number that the compiler knows, for all panels but the last.
    match count {
        PANEL => stand_up(PANEL),
        fewer => stand_up(fewer),
    }
}

#[inline(always)]
fn pair(low: f32, high: f32) -> u32 {
    u32::from(bf16_bits(low)) | u32::from(bf16_bits(high)) << 16
}

/// Packs values: columns are the numbers of the head, steps the tokens.
#[inline(always)]
unsafe fn pack_values(
    arithmetic: Arithmetic,
    layout: &Layout,
    value: impl Fn(usize) -> *const f32,
    tokens: usize,
    dim: usize,
    to: *mut u32,
) {
    for panel in 0..layout.value_panels {
        let first = panel * PANEL;
        let count = PANEL.min(dim - first);
        for step in 0..layout.value_steps {
            let to =
                std::slice::from_raw_parts_mut(to.add((panel * layout.value_steps + step) * PANEL), PANEL);
            to.fill(0);
            let row = |token: usize| {
                (token < tokens).then(|| std::slice::from_raw_parts(value(token).add(first), count))
            };
            match arithmetic {
                Arithmetic::Bf16 => match (row(2 * step), row(2 * step + 1)) {
                    (Some(low), Some(high)) => {
                        to.iter_mut()
                            .zip(low)
                            .zip(high)
                            .for_each(|((to, &low), &high)| *to = pair(low, high));
                    }
                    (Some(low), None) => to.iter_mut().zip(low).for_each(|(to, &low)| *to = pair(low, 0.0)),
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

/// Makes `e` to the power of each score less the largest, in place, and zeros of what stands behind them up to `padded`.
/// Gives the sum.
#[inline(always)]
unsafe fn soften<S: Simd>(scores: *mut f32, count: usize, padded: usize) -> f32 {
    let whole = count / S::LANES * S::LANES;
    let mut largest = f32::NEG_INFINITY;
    if whole > 0 {
        let mut v = S::load(scores);
        for i in (S::LANES..whole).step_by(S::LANES) {
            v = S::max(v, S::load(scores.add(i)));
        }
        largest = S::largest(v);
    }
    for i in whole..count {
        largest = largest.max(*scores.add(i));
    }
    let shift = S::splat(largest);
    let mut sum = S::splat(0.0);
    for i in (0..whole).step_by(S::LANES) {
        let e = math::exp::<S>(S::sub(S::load(scores.add(i)), shift));
        S::store(scores.add(i), e);
        sum = S::add(sum, e);
    }
    let mut total = S::sum(sum);
    if whole < count {
        // Behind the last score there is memory, but no score.
        for i in count..padded {
            *scores.add(i) = largest;
        }
        S::store(scores.add(whole), math::exp::<S>(S::sub(S::load(scores.add(whole)), shift)));
        for i in whole..count {
            total += *scores.add(i);
        }
    }
    for i in count..padded {
        *scores.add(i) = 0.0;
    }
    total
}

/// Writes sums times a factor as activations.
#[inline(always)]
unsafe fn put_scaled<S: Simd>(sums: *const f32, factor: f32, count: usize, to: *mut u8, format: Format) {
    let mut values = [0.0f32; PANEL];
    for v in (0..PANEL).step_by(S::LANES) {
        S::store(values.as_mut_ptr().add(v), S::mul(S::load(sums.add(v)), S::splat(factor)));
    }
    match format {
        Format::Bf16 => {
            let mut halves = [0u16; PANEL];
            for v in (0..PANEL).step_by(S::LANES) {
                S::store_bf16(halves.as_mut_ptr().add(v), S::load(values.as_ptr().add(v)));
            }
            std::ptr::copy_nonoverlapping(halves.as_ptr(), to.cast(), count);
        }
        _ => std::ptr::copy_nonoverlapping(values.as_ptr(), to.cast(), count),
    }
}
