//! Intel AMX: products of tiles, by instructions that the compiler has no stable functions for.
#![allow(unsafe_code, unsafe_op_in_unsafe_fn)]

use std::arch::asm;

use crate::activations::STEP_GRANULE;
use crate::tile::{PANEL, Tile, TileKernel};

/// Rows of a tile register, and steps and columns of one that holds weights.
const SIDE: usize = 16;
/// Rows that are computed at once, in two tile registers.
const ROWS: usize = 2 * SIDE;

/// Products of bfloat16.
pub(crate) const BF16: TileKernel = kernel(&[tile::<Bf16>], configure, release);
/// Products of unsigned bytes with signed ones.
pub(crate) const BYTES: TileKernel = kernel(&[tile::<Bytes>], configure, release);

const fn kernel(by_rows: &'static [unsafe fn(&Tile)], begin: unsafe fn(), end: unsafe fn()) -> TileKernel {
    TileKernel { by_rows, rows: ROWS, row_granule: ROWS, begin, end }
}

/// Asks the system for the state that tiles need; it is kept for the process.
///
/// # Errors
/// The system's, when it refuses.
pub(crate) fn request() -> std::io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        const ARCH_REQ_XCOMP_PERM: libc::c_ulong = 0x1023;
        const XFEATURE_XTILEDATA: libc::c_ulong = 18;
        // SAFETY: this call takes numbers and touches no memory.
        let refused =
            unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) != 0 };
        if refused { Err(std::io::Error::last_os_error()) } else { Ok(()) }
    }
    // Other systems give it at the first use, or have other ways to ask that nobody has tried here.
    #[cfg(not(target_os = "linux"))]
    {
        Err(std::io::ErrorKind::Unsupported.into())
    }
}

/// What the instruction that configures tiles reads.
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

/// # Safety
/// The machine has AMX and this process may use it.
unsafe fn configure() {
    asm!("ldtilecfg [{}]", in(reg) &raw const CONFIG, options(nostack, readonly));
}

/// Gives the state up: without it a change of threads is cheaper.
///
/// # Safety
/// As for [`configure`].
unsafe fn release() {
    asm!("tilerelease", options(nostack, nomem));
}

/// A way to multiply tiles. The program around it is the same for all, and tests run it on a model of the registers.
///
/// Registers 0 to 3 hold sums: 0 and 1 of the upper rows, left and right; 2 and 3 of the lower ones.
///
/// # Safety
/// The tiles are configured. Pointers lead to 16 rows of 64 bytes, `stride` bytes apart.
trait Tiles {
    unsafe fn zero();
    /// Loads sums of the upper rows and, with `lower`, of the lower ones.
    unsafe fn load(sums: *const u32, stride: usize, lower: bool);
    unsafe fn store(sums: *mut u32, stride: usize, lower: bool);
    /// Multiplies 16 steps of 16 rows, and of 16 more with `lower`, with those of 32 columns.
    unsafe fn multiply(upper: *const u8, lower: Option<*const u8>, a_stride: usize, b: *const u32);
}

/// Computes a tile of up to [`ROWS`] rows.
///
/// # Safety
/// [`TileKernel::run`]'s.
unsafe fn tile<T: Tiles>(tile: &Tile) {
    let lower = tile.rows > SIDE;
    let stride = tile.sums_stride * 4;
    if tile.first {
        T::zero();
    } else {
        T::load(tile.sums, stride, lower);
    }
    for granule in 0..tile.steps / STEP_GRANULE {
        // A granule of steps is 64 bytes of a row of activations, in either arithmetic.
        let upper = tile.a.add(granule * STEP_GRANULE * 4);
        let b = tile.b.add(granule * STEP_GRANULE * PANEL);
        T::multiply(upper, lower.then(|| upper.add(SIDE * tile.a_stride)), tile.a_stride, b);
        let ahead = tile.ahead.wrapping_add(granule * STEP_GRANULE * tile.ahead_step);
        for line in (0..STEP_GRANULE * tile.ahead_step).step_by(64) {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T1 }>(
                ahead.wrapping_add(line).cast(),
            );
        }
    }
    T::store(tile.sums, stride, lower);
}

macro_rules! tiles {
    ($name:ident, $product:literal) => {
        struct $name;

        impl Tiles for $name {
            #[inline(always)]
            unsafe fn zero() {
                asm!(
                    "tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3",
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    options(nostack, nomem)
                );
            }
            #[inline(always)]
            unsafe fn load(sums: *const u32, stride: usize, lower: bool) {
                asm!(
                    "tileloadd tmm0, [{p} + {s}*1]", "tileloadd tmm1, [{p} + {s}*1 + 64]",
                    p = in(reg) sums, s = in(reg) stride,
                    out("tmm0") _, out("tmm1") _, options(nostack, readonly)
                );
                if lower {
                    asm!(
                        "tileloadd tmm2, [{p} + {s}*1]", "tileloadd tmm3, [{p} + {s}*1 + 64]",
                        p = in(reg) sums.cast::<u8>().add(SIDE * stride), s = in(reg) stride,
                        out("tmm2") _, out("tmm3") _, options(nostack, readonly)
                    );
                }
            }
            #[inline(always)]
            unsafe fn store(sums: *mut u32, stride: usize, lower: bool) {
                asm!(
                    "tilestored [{p} + {s}*1], tmm0", "tilestored [{p} + {s}*1 + 64], tmm1",
                    p = in(reg) sums, s = in(reg) stride, options(nostack)
                );
                if lower {
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

// The sums stay in their registers from one block of assembly to the next: no other code touches tile registers, and a
// clobber only says that they change.
tiles!(Bf16, "tdpbf16ps");
tiles!(Bytes, "tdpbusd");

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::Kernels;
    use crate::activations::Arithmetic;
    use crate::attention::Attention;
    use crate::kernels::Table;
    use crate::linear::{Gate, Linear, Then};
    use crate::pack::Rows;
    use crate::rotary::Rotary;
    use crate::rows::Norm;
    use crate::team::Team;
    use crate::tile::nothing;

    type Register = [[u8; 64]; SIDE];

    thread_local! {
        /// The registers of sums.
        static SUMS: RefCell<[Register; 4]> = const { RefCell::new([[[0; 64]; SIDE]; 4]) };
    }

    unsafe fn read(p: *const u8, stride: usize) -> Register {
        std::array::from_fn(|row| p.add(row * stride).cast::<[u8; 64]>().read())
    }

    /// What one multiplication of two tiles does to a sum: the manual's words, for four bytes of either side.
    trait Product {
        fn add(sum: [u8; 4], a: [u8; 4], b: [u8; 4]) -> [u8; 4];
    }

    struct Model<P>(P);
    struct OfBf16;
    struct OfBytes;

    impl Product for OfBf16 {
        fn add(sum: [u8; 4], a: [u8; 4], b: [u8; 4]) -> [u8; 4] {
            let wide = |x: [u8; 4], i: usize| {
                f32::from_bits(u32::from(u16::from_le_bytes([x[2 * i], x[2 * i + 1]])) << 16)
            };
            let sum = f32::from_le_bytes(sum) + wide(a, 0) * wide(b, 0);
            (sum + wide(a, 1) * wide(b, 1)).to_le_bytes()
        }
    }

    impl Product for OfBytes {
        fn add(sum: [u8; 4], a: [u8; 4], b: [u8; 4]) -> [u8; 4] {
            let dot: i32 = a.iter().zip(b).map(|(&a, b)| i32::from(a) * i32::from(b as i8)).sum();
            (i32::from_le_bytes(sum) + dot).to_le_bytes()
        }
    }

    impl<P: Product> Tiles for Model<P> {
        unsafe fn zero() {
            SUMS.set([[[0; 64]; SIDE]; 4]);
        }
        unsafe fn load(sums: *const u32, stride: usize, lower: bool) {
            for i in 0..if lower { 4 } else { 2 } {
                let p = sums.cast::<u8>().add(i / 2 * SIDE * stride + i % 2 * 64);
                SUMS.with_borrow_mut(|registers| registers[i] = read(p, stride));
            }
        }
        unsafe fn store(sums: *mut u32, stride: usize, lower: bool) {
            for i in 0..if lower { 4 } else { 2 } {
                let p = sums.cast::<u8>().add(i / 2 * SIDE * stride + i % 2 * 64);
                SUMS.with_borrow(|registers| {
                    for (row, bytes) in registers[i].iter().enumerate() {
                        p.add(row * stride).cast::<[u8; 64]>().write(*bytes);
                    }
                });
            }
        }
        unsafe fn multiply(upper: *const u8, lower: Option<*const u8>, a_stride: usize, b: *const u32) {
            for (i, a) in [Some(upper), lower].into_iter().enumerate() {
                let Some(a) = a else { continue };
                let a = read(a, a_stride);
                for j in 0..2 {
                    let b = read(b.cast::<u8>().add(64 * j), PANEL * 4);
                    SUMS.with_borrow_mut(|registers| {
                        for (row, a) in registers[2 * i + j].iter_mut().zip(a) {
                            for (&a, b) in a.as_chunks::<4>().0.iter().zip(&b) {
                                let columns = row.as_chunks_mut::<4>().0.iter_mut().zip(b.as_chunks::<4>().0);
                                columns.for_each(|(sum, &b)| *sum = P::add(*sum, a, b));
                            }
                        }
                    });
                }
            }
        }
    }

    static TABLE: Table = Table::with_tiles(
        kernel(&[tile::<Model<OfBf16>>], nothing, nothing),
        kernel(&[tile::<Model<OfBytes>>], nothing, nothing),
    );

    fn kernels() -> Kernels {
        Kernels::in_table(&TABLE)
    }

    fn noise(count: usize, seed: u32) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..count).map(|_| next()).collect()
    }

    /// A layer as the encoder has them: norm, product and gate, product, attention over what comes out.
    fn forward(kernels: Kernels, arithmetic: Arithmetic, rows: usize) -> Vec<f32> {
        let mut team = Team::new(2, 1 << 16, None).unwrap();
        let (width, inner) = (80, 600);
        let mut x = kernels.activations(arithmetic, rows, width).unwrap();
        let norm = Norm { weight: &vec![1.0; width], bias: None, epsilon: 1e-6, factors: None };
        kernels.normalize(&mut team, norm, &mut noise(rows * width, 1), false, Some(&mut x));
        let mut gated = Linear::gated(arithmetic, inner, width).unwrap();
        gated.pack(kernels, &mut team, 0, Rows::F32(&noise(inner * width, 2)));
        gated.pack(kernels, &mut team, inner, Rows::F32(&noise(inner * width, 3)));
        let mut h = kernels.activations(arithmetic, rows, inner).unwrap();
        let mut room = vec![0.0; kernels.gate_room(arithmetic, rows, inner)];
        gated.multiply(kernels, &mut team, &x, 0..rows, Then::Gate(Gate::Gelu, &mut h, &mut room));
        let mut down = Linear::new(arithmetic, 3 * width, inner).unwrap();
        let scaled: Vec<f32> = noise(3 * width * inner, 4).iter().map(|w| 0.1 * w).collect();
        down.pack(kernels, &mut team, 0, Rows::F32(&scaled));
        let mut qkv = vec![0.0; rows * 3 * width];
        down.multiply(kernels, &mut team, &h, 0..rows, Then::Store(&mut qkv));
        let rotary = Rotary::new(&[1.0; 20], rows).unwrap();
        let attention = Attention { heads: 2, kv_heads: 2, head_dim: 40, rotary: &rotary };
        let texts = [0, rows as u32 / 3, rows as u32];
        attention.attend(kernels, &mut team, &mut qkv, &texts, &mut x);
        let mut out = Linear::new(arithmetic, 50, width).unwrap();
        out.pack(kernels, &mut team, 0, Rows::F32(&noise(50 * width, 5)));
        let mut y = vec![0.0; rows * 50];
        out.multiply(kernels, &mut team, &x, 0..rows, Then::Store(&mut y));
        y
    }

    #[test]
    fn the_program_around_the_tiles_gives_what_other_levels_give() {
        for arithmetic in [Arithmetic::Bf16, Arithmetic::Int8] {
            for rows in [1, 15, 16, 17, 33, 100, 200] {
                let got = forward(kernels(), arithmetic, rows);
                let want = forward(Kernels::preferred(), arithmetic, rows);
                let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
                let cosine = dot(&got, &want) / (dot(&got, &got) * dot(&want, &want)).sqrt();
                assert!(cosine > 0.9999, "{arithmetic:?} {rows}: {cosine}");
            }
        }
    }

    #[test]
    fn rows_have_the_same_bits_in_any_company() {
        for arithmetic in [Arithmetic::Bf16, Arithmetic::Int8] {
            let mut layer = Linear::new(arithmetic, 40, 700).unwrap();
            let mut team = Team::new(1, 1 << 16, None).unwrap();
            layer.pack(kernels(), &mut team, 0, Rows::F32(&noise(40 * 700, 1)));
            let mut product = |x: &[f32]| {
                let rows = x.len() / 700;
                let mut activations = kernels().activations(arithmetic, rows, 700).unwrap();
                let norm = Norm { weight: &[1.0; 700], bias: None, epsilon: 0.0, factors: None };
                kernels().normalize(&mut team, norm, &mut x.to_vec(), false, Some(&mut activations));
                let mut y = vec![0.0; rows * 40];
                layer.multiply(kernels(), &mut team, &activations, 0..rows, Then::Store(&mut y));
                y
            };
            let x = noise(70 * 700, 2);
            let all = product(&x);
            for row in [0, 15, 16, 31, 32, 69] {
                assert_eq!(all[row * 40..][..40], product(&x[row * 700..][..700]), "{arithmetic:?} {row}");
            }
        }
    }
}
