//! A tile: some rows of activations times a panel of weights, in registers.
#![allow(unsafe_code, unsafe_op_in_unsafe_fn)]

use crate::simd::Dot;

/// Columns of a panel. Every vector width divides it, and two rows of a tile of AMX fill it.
pub const PANEL: usize = 32;

/// What a tile is computed from and where to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tile {
    /// Rows, 1 to [`TileKernel::rows`].
    pub rows: usize,
    /// Steps to sum over. A multiple of 16.
    pub steps: usize,
    /// The first step of the first row.
    pub a: *const u8,
    /// Bytes from row to row.
    pub a_stride: usize,
    /// The first step of the panel.
    pub b: *const u32,
    /// Sums, [`PANEL`] for each row.
    pub sums: *mut u32,
    /// Words from row to row.
    pub sums_stride: usize,
    /// Whether the sums begin at zero. Otherwise they go on.
    pub first: bool,
    /// Memory that will be needed after this tile, asked for meanwhile: a piece a step.
    pub ahead: *const u8,
    /// Bytes of such a piece.
    pub ahead_step: usize,
}

/// How tiles are computed at one level in one arithmetic.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TileKernel {
    /// By number of rows less one; the last one is for all numbers from there on.
    pub by_rows: &'static [unsafe fn(&Tile)],
    /// The most rows of a tile.
    pub rows: usize,
    /// Rows of activations and of sums that are touched beyond those asked for, up to a multiple of this.
    pub row_granule: usize,
    /// Before the first tile of a thread, and after its last one.
    pub begin: unsafe fn(),
    /// See `begin`.
    pub end: unsafe fn(),
}

impl TileKernel {
    /// Tiles of which `rows` rows are made.
    pub(crate) fn tiles(&self, rows: usize) -> usize {
        rows.div_ceil(self.rows)
    }

    /// Where tile `i` of `rows` rows ends. Tiles are about equally high: one of a single row would take nearly as long as
    /// a full one.
    pub(crate) fn split(&self, rows: usize, i: usize) -> usize {
        let even = (i + 1) * rows / self.tiles(rows);
        even.next_multiple_of(self.row_granule).min(rows)
    }

    /// Computes a tile. Each of its sums is formed in the order of the steps, whatever the number of rows.
    ///
    /// # Safety
    /// The machine has the level. The pointers of `tile` lead to what it says: `rows`, rounded up to `row_granule`, rows
    /// of `steps` of activations and of [`PANEL`] sums, and `steps` times [`PANEL`] words of weights. `begin` has been called
    /// on this thread, and `end` not since.
    #[inline]
    pub(crate) unsafe fn run(&self, tile: &Tile) {
        self.by_rows[tile.rows.min(self.by_rows.len()) - 1](tile);
    }
}

/// A tile of `R` rows, in vectors `V` at a time.
///
/// # Safety
/// [`TileKernel::run`]'s, and the instruction set of `D`.
#[inline(always)]
pub(crate) unsafe fn compute<D: Dot, const R: usize, const V: usize>(tile: &Tile) {
    // Where one tile reads all of the weights, what is ahead takes two lines of memory a step.
    let two_lines = tile.ahead_step > 64;
    for column in (0..PANEL).step_by(V * D::LANES) {
        let mut sums = [[D::zero(); V]; R];
        if !tile.first {
            for (r, row) in sums.iter_mut().enumerate() {
                for (v, sum) in row.iter_mut().enumerate() {
                    *sum = D::load(tile.sums.add(r * tile.sums_stride + column + v * D::LANES));
                }
            }
        }
        let mut ahead = tile.ahead;
        let mut a = tile.a;
        let mut b = tile.b.add(column);
        for _ in 0..tile.steps {
            let mut weights = [D::b(b); V];
            for (v, w) in weights.iter_mut().enumerate().skip(1) {
                *w = D::b(b.add(v * D::LANES));
            }
            D::prefetch(ahead);
            if two_lines {
                D::prefetch(ahead.wrapping_add(64));
            }
            for (r, row) in sums.iter_mut().enumerate() {
                let x = D::a(a.add(r * tile.a_stride));
                for (sum, w) in row.iter_mut().zip(weights) {
                    *sum = D::step(*sum, x, w);
                }
            }
            a = a.add(D::A_BYTES);
            b = b.add(PANEL);
            ahead = ahead.wrapping_add(tile.ahead_step);
        }
        for (r, row) in sums.iter().enumerate() {
            for (v, &sum) in row.iter().enumerate() {
                D::store(tile.sums.add(r * tile.sums_stride + column + v * D::LANES), sum);
            }
        }
    }
}

/// What [`TileKernel::begin`] and [`TileKernel::end`] are where nothing has to be done.
///
/// # Safety
/// None.
pub(crate) unsafe fn nothing() {}
