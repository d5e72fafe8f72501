//! Intel AMX: products of tiles in inline assembly, because Rust has no stable intrinsics for them. `cpu.rs` asks the
//! system for permission to use them.
#![allow(unsafe_code, unsafe_op_in_unsafe_fn)]

use std::arch::asm;

use crate::arithmetic::STEP_GRANULE;
use crate::tile::{Accumulate, PANEL, Tile, TileKernel};

/// Rows of a tile register. A tile register of weights has as many steps and as many columns.
pub(crate) const SIDE: usize = 16;
/// Rows of a tile, in two tile registers.
const ROWS: usize = 2 * SIDE;

/// bfloat16 products.
pub(crate) const BF16: TileKernel = tile_kernel(&[compute_tile::<Bf16>], configure, release);
/// Products of u8 activations and int8 weights.
pub(crate) const INT8: TileKernel = tile_kernel(&[compute_tile::<Int8>], configure, release);

pub(crate) const fn tile_kernel(
    by_rows: &'static [unsafe fn(&Tile)],
    begin: unsafe fn(),
    end: unsafe fn(),
) -> TileKernel {
    TileKernel { by_rows, max_rows: ROWS, row_granule: ROWS, begin, end }
}

/// Operand of `ldtilecfg`, the instruction that configures the tile registers.
#[repr(C, align(64))]
struct Config {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    bytes_per_row: [u16; 16],
    rows: [u8; 16],
}

/// Eight tile registers of 16 rows of 64 bytes.
static CONFIG: Config = Config {
    palette: 1,
    start_row: 0,
    reserved: [0; 14],
    bytes_per_row: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
    rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
};

/// Configures the tile registers of this thread.
///
/// # Safety
/// The processor has AMX and this process may use it.
unsafe fn configure() {
    asm!("ldtilecfg [{}]", in(reg) &raw const CONFIG, options(nostack, readonly));
}

/// Releases the tile registers, which makes a context switch cheaper.
///
/// # Safety
/// As for [`configure`].
unsafe fn release() {
    asm!("tilerelease", options(nostack, nomem));
}

/// The rows of a tile that are computed: 16 or 32. The number of rows is rounded up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Halves {
    /// Only the upper 16 rows.
    Upper,
    /// The upper and the lower 16 rows.
    Both,
}

/// The tile instructions of one number format. [`compute_tile`] is the same for all formats, and tests run it on a model of the
/// registers.
///
/// Registers 0 to 3 are the accumulators: 0 and 1 of the upper rows, left and right, 2 and 3 of the lower rows.
///
/// # Safety
/// The tile registers are configured. `sums` is valid for 16 rows of 128 bytes, or 32 rows with [`Halves::Both`], `stride` bytes
/// apart. `upper` and `lower` are valid for 16 rows of 64 bytes, `a_stride` bytes apart, and `b` for 16 steps of a panel.
pub(crate) trait TileInstructions {
    unsafe fn zero();
    unsafe fn load(sums: *const u32, stride: usize, halves: Halves);
    unsafe fn store(sums: *mut u32, stride: usize, halves: Halves);
    /// Adds the products of 16 steps of 16 rows and 32 columns, and of 16 more rows if there is a `lower` half.
    unsafe fn multiply(upper: *const u8, lower: Option<*const u8>, a_stride: usize, b: *const u32);
}

/// Computes a tile of up to [`ROWS`] rows.
///
/// # Safety
/// As for [`TileKernel::run`].
pub(crate) unsafe fn compute_tile<T: TileInstructions>(tile: &Tile) {
    let halves = if tile.rows > SIDE { Halves::Both } else { Halves::Upper };
    let stride = tile.sums_stride * 4;
    match tile.accumulate {
        Accumulate::Init => T::zero(),
        Accumulate::Add => T::load(tile.sums, stride, halves),
    }
    for granule in 0..tile.steps / STEP_GRANULE {
        // A granule of steps is 64 bytes of a row of activations, in bfloat16 and in int8.
        let upper = tile.a.add(granule * STEP_GRANULE * 4);
        let lower = (halves == Halves::Both).then(|| upper.add(SIDE * tile.a_stride));
        let b = tile.b.add(granule * STEP_GRANULE * PANEL);
        T::multiply(upper, lower, tile.a_stride, b);
        let prefetch = tile.prefetch.wrapping_add(granule * STEP_GRANULE * tile.prefetch_step);
        for line in (0..STEP_GRANULE * tile.prefetch_step).step_by(64) {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T1 }>(
                prefetch.wrapping_add(line).cast(),
            );
        }
    }
    T::store(tile.sums, stride, halves);
}

/// Implements [`TileInstructions`] with a given instruction for the product.
macro_rules! tile_instructions {
    ($name:ident, $product:literal) => {
        struct $name;

        impl TileInstructions for $name {
            #[inline(always)]
            unsafe fn zero() {
                asm!(
                    "tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3",
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    options(nostack, nomem)
                );
            }
            #[inline(always)]
            unsafe fn load(sums: *const u32, stride: usize, halves: Halves) {
                asm!(
                    "tileloadd tmm0, [{p} + {s}*1]", "tileloadd tmm1, [{p} + {s}*1 + 64]",
                    p = in(reg) sums, s = in(reg) stride,
                    out("tmm0") _, out("tmm1") _, options(nostack, readonly)
                );
                if halves == Halves::Both {
                    asm!(
                        "tileloadd tmm2, [{p} + {s}*1]", "tileloadd tmm3, [{p} + {s}*1 + 64]",
                        p = in(reg) sums.cast::<u8>().add(SIDE * stride), s = in(reg) stride,
                        out("tmm2") _, out("tmm3") _, options(nostack, readonly)
                    );
                }
            }
            #[inline(always)]
            unsafe fn store(sums: *mut u32, stride: usize, halves: Halves) {
                asm!(
                    "tilestored [{p} + {s}*1], tmm0", "tilestored [{p} + {s}*1 + 64], tmm1",
                    p = in(reg) sums, s = in(reg) stride, options(nostack)
                );
                if halves == Halves::Both {
                    asm!(
                        "tilestored [{p} + {s}*1], tmm2", "tilestored [{p} + {s}*1 + 64], tmm3",
                        p = in(reg) sums.cast::<u8>().add(SIDE * stride), s = in(reg) stride, options(nostack)
                    );
                }
            }
            #[inline(always)]
            unsafe fn multiply(upper: *const u8, lower: Option<*const u8>, a_stride: usize, b: *const u32) {
                const B_STRIDE: usize = PANEL * 4;
                match lower {
                    Some(lower) => asm!(
                        "tileloadd tmm6, [{b} + {t}*1]",
                        "tileloadd tmm4, [{u} + {s}*1]",
                        "tileloadd tmm7, [{b} + {t}*1 + 64]",
                        concat!($product, " tmm0, tmm4, tmm6"),
                        "tileloadd tmm5, [{l} + {s}*1]",
                        concat!($product, " tmm1, tmm4, tmm7"),
                        concat!($product, " tmm2, tmm5, tmm6"),
                        concat!($product, " tmm3, tmm5, tmm7"),
                        b = in(reg) b, u = in(reg) upper, l = in(reg) lower, s = in(reg) a_stride, t = in(reg) B_STRIDE,
                        out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                        out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                        options(nostack, readonly)
                    ),
                    None => asm!(
                        "tileloadd tmm6, [{b} + {t}*1]",
                        "tileloadd tmm4, [{u} + {s}*1]",
                        "tileloadd tmm7, [{b} + {t}*1 + 64]",
                        concat!($product, " tmm0, tmm4, tmm6"),
                        concat!($product, " tmm1, tmm4, tmm7"),
                        b = in(reg) b, u = in(reg) upper, s = in(reg) a_stride, t = in(reg) B_STRIDE,
                        out("tmm0") _, out("tmm1") _, out("tmm4") _, out("tmm6") _, out("tmm7") _,
                        options(nostack, readonly)
                    ),
                }
            }
        }
    };
}

// The accumulators stay in their registers from one assembly block to the next: no other code touches tile registers, and
// the clobbers only declare that they change.
tile_instructions!(Bf16, "tdpbf16ps");
tile_instructions!(Int8, "tdpbusd");
