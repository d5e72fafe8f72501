//! A tile: a few rows of activations times one panel of weights, with the accumulators in registers.
#![allow(unsafe_code, unsafe_op_in_unsafe_fn)]

use crate::simd::Dot;

/// Columns of a panel. Every vector width divides it, and two tile registers of AMX are as wide.
pub const PANEL: usize = 32;
/// Columns of a panel that each of the two interleaved layers of a gated layer has: first the up-projection, then the gate.
pub(crate) const HALF_PANEL: usize = PANEL / 2;

/// Initial value of the accumulators of a tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accumulate {
    /// Zero.
    Init,
    /// The sums in memory, which the tile adds to.
    Add,
}

/// Operands of a tile.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tile {
    /// Rows, 1 to [`TileKernel::max_rows`].
    pub rows: usize,
    /// Steps to sum over. A multiple of 16.
    pub steps: usize,
    /// The activations: the first step of the first row.
    pub a: *const u8,
    /// Bytes from row to row of the activations.
    pub a_stride: usize,
    /// The weights: the first step of the panel.
    pub b: *const u32,
    /// The sums, [`PANEL`] for each row.
    pub sums: *mut u32,
    /// Words from row to row of the sums.
    pub sums_stride: usize,
    pub accumulate: Accumulate,
    /// Memory that will be needed after this tile. It is prefetched piece by piece, one piece a step.
    pub prefetch: *const u8,
    /// Bytes of a piece to prefetch.
    pub prefetch_step: usize,
}

/// Computes tiles with one instruction set in one arithmetic.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TileKernel {
    /// Functions by number of rows minus one. The last function also serves all larger numbers.
    pub by_rows: &'static [unsafe fn(&Tile)],
    /// The largest number of rows of a tile.
    pub max_rows: usize,
    /// A tile may read activations, and write sums, of more rows than it has: up to the next multiple of this.
    pub row_granule: usize,
    /// Called before the first tile of a thread.
    pub begin: unsafe fn(),
    /// Called after the last tile of a thread.
    pub end: unsafe fn(),
}

impl TileKernel {
    /// Returns the number of tiles that `rows` rows are split into.
    pub(crate) fn tiles(&self, rows: usize) -> usize {
        rows.div_ceil(self.max_rows)
    }

    /// Returns the row at which tile `i` of `rows` rows ends. Tiles have about equal numbers of rows, because a tile of one
    /// row takes nearly as long as a full tile.
    pub(crate) fn tile_end(&self, rows: usize, i: usize) -> usize {
        let even = (i + 1) * rows / self.tiles(rows);
        even.next_multiple_of(self.row_granule).min(rows)
    }

    /// Computes a tile. Each sum is formed in the order of the steps, whatever the number of rows.
    ///
    /// # Safety
    /// The instruction set is available. The pointers of `tile` are valid for its sizes: `rows`, rounded up to
    /// `row_granule`, rows of `steps` steps of activations and of [`PANEL`] sums, and `steps * PANEL` words of weights.
    /// `begin` was called on this thread, and `end` was not called since.
    #[inline]
    pub(crate) unsafe fn run(&self, tile: &Tile) {
        self.by_rows[tile.rows.min(self.by_rows.len()) - 1](tile);
    }
}

/// Computes a tile of `R` rows, with `V` vectors of columns at a time.
///
/// # Safety
/// As for [`TileKernel::run`], and the instruction set of `D` is available.
#[inline(always)]
pub(crate) unsafe fn compute<D: Dot, const R: usize, const V: usize>(tile: &Tile) {
    // If a single tile reads all of the weights, it prefetches two cache lines a step.
    let two_lines = tile.prefetch_step > 64;
    for column in (0..PANEL).step_by(V * D::LANES) {
        let mut sums = [[D::zero(); V]; R];
        if tile.accumulate == Accumulate::Add {
            for (r, row) in sums.iter_mut().enumerate() {
                for (v, sum) in row.iter_mut().enumerate() {
                    *sum = D::load(tile.sums.add(r * tile.sums_stride + column + v * D::LANES));
                }
            }
        }
        let mut prefetch = tile.prefetch;
        let mut a = tile.a;
        let mut b = tile.b.add(column);
        for _ in 0..tile.steps {
            let mut weights = [D::load_weights(b); V];
            for (v, w) in weights.iter_mut().enumerate().skip(1) {
                *w = D::load_weights(b.add(v * D::LANES));
            }
            D::prefetch(prefetch);
            if two_lines {
                D::prefetch(prefetch.wrapping_add(64));
            }
            for (r, row) in sums.iter_mut().enumerate() {
                let x = D::broadcast(a.add(r * tile.a_stride));
                for (sum, w) in row.iter_mut().zip(weights) {
                    *sum = D::step(*sum, x, w);
                }
            }
            a = a.add(D::ACTIVATION_BYTES);
            b = b.add(PANEL);
            prefetch = prefetch.wrapping_add(tile.prefetch_step);
        }
        for (r, row) in sums.iter().enumerate() {
            for (v, &sum) in row.iter().enumerate() {
                D::store(tile.sums.add(r * tile.sums_stride + column + v * D::LANES), sum);
            }
        }
    }
}

/// [`TileKernel::begin`] and [`TileKernel::end`] of kernels that need no preparation.
///
/// # Safety
/// No condition.
pub(crate) unsafe fn no_op() {}
