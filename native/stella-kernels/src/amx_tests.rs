//! Tests the AMX kernels on a model of the tile registers, so that they run on every x86-64 processor.
#![allow(unsafe_code, unsafe_op_in_unsafe_fn)]

use std::cell::RefCell;

use crate::amx::{Halves, SIDE, TileInstructions, compute_tile, tile_kernel};
use crate::arithmetic::Arithmetic;
use crate::attention::Attention;
use crate::cpu::CpuLevel;
use crate::linear::{Epilogue, Gate, Linear};
use crate::norm::{Norm, Residual};
use crate::numbers::Rows;
use crate::rotary::Rotary;
use crate::table::{KernelTable, Kernels};
use crate::team::Team;
use crate::tile::{PANEL, no_op};

type Register = [[u8; 64]; SIDE];

thread_local! {
    /// Tile registers 0 to 3, the accumulators.
    static SUMS: RefCell<[Register; 4]> = const { RefCell::new([[[0; 64]; SIDE]; 4]) };
}

unsafe fn read(p: *const u8, stride: usize) -> Register {
    std::array::from_fn(|row| p.add(row * stride).cast::<[u8; 64]>().read())
}

/// The operation of a tile product on one accumulator and four bytes of either operand, as Intel's manual defines it.
trait TileProduct {
    fn add(sum: [u8; 4], a: [u8; 4], b: [u8; 4]) -> [u8; 4];
}

/// Tile instructions on modelled registers.
struct Model<P>(P);
struct Bf16Product;
struct Int8Product;

impl TileProduct for Bf16Product {
    fn add(sum: [u8; 4], a: [u8; 4], b: [u8; 4]) -> [u8; 4] {
        let wide = |x: [u8; 4], i: usize| {
            f32::from_bits(u32::from(u16::from_le_bytes([x[2 * i], x[2 * i + 1]])) << 16)
        };
        let sum = f32::from_le_bytes(sum) + wide(a, 0) * wide(b, 0);
        (sum + wide(a, 1) * wide(b, 1)).to_le_bytes()
    }
}

impl TileProduct for Int8Product {
    fn add(sum: [u8; 4], a: [u8; 4], b: [u8; 4]) -> [u8; 4] {
        let dot: i32 = a.iter().zip(b).map(|(&a, b)| i32::from(a) * i32::from(b as i8)).sum();
        (i32::from_le_bytes(sum) + dot).to_le_bytes()
    }
}

/// Returns the registers in use.
fn registers(halves: Halves) -> std::ops::Range<usize> {
    match halves {
        Halves::Upper => 0..2,
        Halves::Both => 0..4,
    }
}

impl<P: TileProduct> TileInstructions for Model<P> {
    unsafe fn zero() {
        SUMS.set([[[0; 64]; SIDE]; 4]);
    }
    unsafe fn load(sums: *const u32, stride: usize, halves: Halves) {
        for i in registers(halves) {
            let p = sums.cast::<u8>().add(i / 2 * SIDE * stride + i % 2 * 64);
            SUMS.with_borrow_mut(|registers| registers[i] = read(p, stride));
        }
    }
    unsafe fn store(sums: *mut u32, stride: usize, halves: Halves) {
        for i in registers(halves) {
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

static TABLE: KernelTable = KernelTable::with_tiles(
    tile_kernel(&[compute_tile::<Model<Bf16Product>>], no_op, no_op),
    tile_kernel(&[compute_tile::<Model<Int8Product>>], no_op, no_op),
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

/// Computes a layer like an encoder's: norm, gated product, product, attention, product.
fn forward(kernels: Kernels, arithmetic: Arithmetic, rows: usize) -> Vec<f32> {
    let mut team = Team::new(2, 1 << 16, None).unwrap();
    let (width, inner) = (80, 600);
    let mut x = kernels.activations(arithmetic, rows, width).unwrap();
    let norm = Norm { weight: &vec![1.0; width], bias: None, epsilon: 1e-6, channel_scales: None };
    kernels.norm_rows(&mut team, norm, &mut noise(rows * width, 1), Residual::Unchanged, Some(&mut x));
    let mut gated = Linear::gated(arithmetic, inner, width).unwrap();
    gated.pack(kernels, &mut team, 0, Rows::F32(&noise(inner * width, 2)));
    gated.pack(kernels, &mut team, inner, Rows::F32(&noise(inner * width, 3)));
    let mut h = kernels.activations(arithmetic, rows, inner).unwrap();
    let mut unquantized = vec![0.0; kernels.gate_buffer_len(arithmetic, rows, inner)];
    gated.multiply(kernels, &mut team, &x, 0..rows, Epilogue::Gate(Gate::Gelu, &mut h, &mut unquantized));
    let mut down = Linear::new(arithmetic, 3 * width, inner).unwrap();
    // The attention scores are near 1. Large scores choose one key, and rounding may then choose another.
    let scaled: Vec<f32> = noise(3 * width * inner, 4).iter().map(|w| 0.003 * w).collect();
    down.pack(kernels, &mut team, 0, Rows::F32(&scaled));
    let mut qkv = vec![0.0; rows * 3 * width];
    down.multiply(kernels, &mut team, &h, 0..rows, Epilogue::Store(&mut qkv));
    let rotary = Rotary::new(&[1.0; 20], rows).unwrap();
    let attention = Attention { heads: 2, kv_heads: 2, head_dim: 40, rotary: &rotary };
    let texts = [0, rows as u32 / 3, rows as u32];
    attention.attend(kernels, &mut team, &mut qkv, &texts, &mut x);
    let mut out = Linear::new(arithmetic, 50, width).unwrap();
    out.pack(kernels, &mut team, 0, Rows::F32(&noise(50 * width, 5)));
    let mut y = vec![0.0; rows * 50];
    out.multiply(kernels, &mut team, &x, 0..rows, Epilogue::Store(&mut y));
    y
}

#[test]
fn amx_agrees_with_the_portable_kernels() {
    let portable = Kernels::for_level(CpuLevel::Portable).unwrap();
    // Portable kernels keep the activations in float32 where AMX rounds them to bfloat16, and round int8 at other points.
    for arithmetic in [Arithmetic::Bf16, Arithmetic::Int8] {
        for rows in [1, 15, 16, 17, 33, 100, 200] {
            let got = forward(kernels(), arithmetic, rows);
            let want = forward(portable, arithmetic, rows);
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
            let cosine = dot(&got, &want) / (dot(&got, &got) * dot(&want, &want)).sqrt();
            assert!(cosine > 0.9999, "{arithmetic:?} {rows}: {cosine}");
        }
    }
}

#[test]
fn a_row_has_the_same_bits_among_any_number_of_rows() {
    for arithmetic in [Arithmetic::Bf16, Arithmetic::Int8] {
        let mut layer = Linear::new(arithmetic, 40, 700).unwrap();
        let mut team = Team::new(1, 1 << 16, None).unwrap();
        layer.pack(kernels(), &mut team, 0, Rows::F32(&noise(40 * 700, 1)));
        let mut product = |x: &[f32]| {
            let rows = x.len() / 700;
            let mut activations = kernels().activations(arithmetic, rows, 700).unwrap();
            let norm = Norm { weight: &[1.0; 700], bias: None, epsilon: 0.0, channel_scales: None };
            kernels().norm_rows(
                &mut team,
                norm,
                &mut x.to_vec(),
                Residual::Unchanged,
                Some(&mut activations),
            );
            let mut y = vec![0.0; rows * 40];
            layer.multiply(kernels(), &mut team, &activations, 0..rows, Epilogue::Store(&mut y));
            y
        };
        let x = noise(70 * 700, 2);
        let all = product(&x);
        for row in [0, 15, 16, 31, 32, 69] {
            assert_eq!(all[row * 40..][..40], product(&x[row * 700..][..700]), "{arithmetic:?} {row}");
        }
    }
}
