//! Measures each kernel on one thread, and the limit of the processor: `cargo bench -p stella-kernels [-- FILTER]`
//!
//! Elements are operations: a multiplication and an addition are two. `limit/...` runs multiplications whose operands never
//! leave the registers. The rate of a product divided by the rate of the limit is its utilization. `STELLA_CPU_LEVEL` caps
//! the instruction set. AMX has no limit here.
#![allow(clippy::expect_used, missing_docs)]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use stella_kernels::Kernels;
use stella_kernels::activations::Activations;
use stella_kernels::arithmetic::Arithmetic;
use stella_kernels::attention::{self, Attention};
use stella_kernels::linear::{self, Epilogue, Gate, Linear};
use stella_kernels::norm::{Norm, Residual};
use stella_kernels::numbers::Rows;
use stella_kernels::rotary::Rotary;
use stella_kernels::team::Team;

/// Hidden size and intermediate size of Stella 400M.
const HIDDEN: usize = 1024;
const INNER: usize = 4096;
const ARITHMETICS: [(&str, Arithmetic); 3] =
    [("f32", Arithmetic::F32), ("bf16", Arithmetic::Bf16), ("int8", Arithmetic::Int8)];
const ROWS: [usize; 5] = [1, 8, 32, 128, 512];

fn noise(count: usize) -> Vec<f32> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 8_388_608.0 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn team(scratch: usize) -> Team {
    Team::new(1, scratch, None).expect("memory")
}

fn activations(kernels: Kernels, arithmetic: Arithmetic, rows: usize, width: usize) -> Activations {
    let mut x = kernels.activations(arithmetic, rows, width).expect("memory");
    // Small numbers, as in a model. Beyond 13 the tail of GELU is subnormal, which is slow.
    let small: Vec<f32> = noise(rows * width).iter().map(|x| 0.1 * x).collect();
    kernels.convert_rows(&mut team(0), &small, None, &mut x);
    x
}

/// Measures the products of a layer: with a residual connection, and with a gate.
fn products(c: &mut Criterion) {
    let (kernels, mut team) = (Kernels::preferred(), team(linear::SCRATCH));
    for (name, arithmetic) in ARITHMETICS {
        let mut down = Linear::new(arithmetic, HIDDEN, INNER).expect("memory");
        down.pack(kernels, &mut team, 0, Rows::F32(&noise(HIDDEN * INNER)));
        let mut up_gate = Linear::gated(arithmetic, INNER, HIDDEN).expect("memory");
        up_gate.pack(kernels, &mut team, 0, Rows::F32(&noise(2 * HIDDEN * INNER)));
        let mut group = c.benchmark_group(format!("product/{name}"));
        for rows in ROWS {
            let x = activations(kernels, arithmetic, rows, INNER);
            let mut y = vec![0.0; rows * HIDDEN];
            group.throughput(Throughput::Elements(2 * (rows * HIDDEN * INNER) as u64));
            group.bench_function(BenchmarkId::new("add", rows), |b| {
                b.iter(|| down.multiply(kernels, &mut team, &x, 0..rows, Epilogue::Add(&mut y)));
            });
            let x = activations(kernels, arithmetic, rows, HIDDEN);
            let mut y = kernels.activations(arithmetic, rows, INNER).expect("memory");
            let mut unquantized = vec![0.0; kernels.gate_buffer_len(arithmetic, rows, INNER)];
            group.throughput(Throughput::Elements(4 * (rows * HIDDEN * INNER) as u64));
            group.bench_function(BenchmarkId::new("gate", rows), |b| {
                b.iter(|| {
                    let epilogue = Epilogue::Gate(Gate::Gelu, &mut y, &mut unquantized);
                    up_gate.multiply(kernels, &mut team, &x, 0..rows, epilogue);
                });
            });
        }
        group.finish();
    }
}

/// Measures the attention of one text. Its operations are those of its two products.
fn texts(c: &mut Criterion) {
    const HEADS: usize = 16;
    const HEAD_DIM: usize = HIDDEN / HEADS;
    let kernels = Kernels::preferred();
    for (name, arithmetic) in ARITHMETICS {
        let mut group = c.benchmark_group(format!("attention/{name}"));
        for tokens in [8, 32, 128, 512] {
            let rotary = Rotary::new(&[0.01; HEAD_DIM / 2], tokens).expect("memory");
            let shape = Attention { heads: HEADS, kv_heads: HEADS, head_dim: HEAD_DIM, rotary: &rotary };
            let mut team = team(attention::scratch(HEAD_DIM, tokens));
            let mut qkv = noise(tokens * 3 * HIDDEN);
            let mut out = kernels.activations(arithmetic, tokens, HIDDEN).expect("memory");
            group.throughput(Throughput::Elements(4 * (tokens * tokens * HIDDEN) as u64));
            group.bench_function(BenchmarkId::from_parameter(tokens), |b| {
                b.iter(|| shape.attend(kernels, &mut team, &mut qkv, &[0, tokens as u32], &mut out));
            });
        }
        group.finish();
    }
}

/// Measures layer norm, and the conversion of rows to activations. The unit is numbers per second.
fn rows(c: &mut Criterion) {
    let (kernels, mut team, count) = (Kernels::preferred(), team(HIDDEN), 128);
    let (weight, bias) = (vec![1.0; HIDDEN], vec![0.0; HIDDEN]);
    let mut group = c.benchmark_group("rows");
    group.throughput(Throughput::Elements((count * HIDDEN) as u64));
    for (name, arithmetic) in ARITHMETICS {
        let norm = Norm { weight: &weight, bias: Some(&bias), epsilon: 1e-12, channel_scales: None };
        let mut x = noise(count * HIDDEN);
        let mut out = kernels.activations(arithmetic, count, HIDDEN).expect("memory");
        group.bench_function(BenchmarkId::new("norm", name), |b| {
            b.iter(|| kernels.norm_rows(&mut team, norm, &mut x, Residual::Normalized, Some(&mut out)));
        });
        group.bench_function(BenchmarkId::new("convert", name), |b| {
            b.iter(|| kernels.convert_rows(&mut team, &x, None, &mut out));
        });
    }
    group.finish();
}

/// Measures the packing of weights into panels. The unit is numbers per second.
fn packing(c: &mut Criterion) {
    let (kernels, mut team) = (Kernels::preferred(), team(0));
    let weights = noise(256 * HIDDEN);
    let mut group = c.benchmark_group("pack");
    group.throughput(Throughput::Elements((256 * HIDDEN) as u64));
    for (name, arithmetic) in ARITHMETICS {
        let mut layer = Linear::new(arithmetic, 256, HIDDEN).expect("memory");
        group.bench_function(name, |b| b.iter(|| layer.pack(kernels, &mut team, 0, Rows::F32(&weights))));
    }
    group.finish();
}

/// Measures independent multiplications, the limit of the processor.
fn limits(c: &mut Criterion) {
    let mut group = c.benchmark_group("limit");
    for limit in limit::for_level(Kernels::preferred().level()) {
        group.throughput(Throughput::Elements(limit.operations * ROUNDS));
        group.bench_function(limit.name, |b| b.iter(|| black_box((limit.run)(ROUNDS))));
    }
    group.finish();
}

/// Rounds of a limit in one measurement.
const ROUNDS: u64 = 10_000;

/// A loop whose operands stay in registers.
struct Limit {
    name: &'static str,
    /// Operations of a round.
    operations: u64,
    run: fn(u64) -> f32,
}

#[cfg(target_arch = "x86_64")]
mod limit {
    #![allow(unsafe_code)]

    use std::arch::x86_64::*;

    use super::Limit;
    use stella_kernels::cpu::CpuLevel;

    /// Independent sums: more than a processor executes at a time (two per cycle, with a latency of four to six cycles), but
    /// no more than it has registers.
    const FEW: usize = 12;
    const MANY: usize = 24;

    pub(super) fn for_level(level: CpuLevel) -> Vec<Limit> {
        let limit =
            |name, lanes: usize, sums: usize, run| Limit { name, operations: (2 * lanes * sums) as u64, run };
        let mut limits = Vec::new();
        if level >= CpuLevel::Avx512 {
            limits.push(limit("f32", 16, MANY, avx512 as fn(u64) -> f32));
        } else if level >= CpuLevel::Avx2 {
            limits.push(limit("f32", 8, FEW, avx2 as fn(u64) -> f32));
        }
        if level >= CpuLevel::Avx512Vnni {
            limits.push(limit("int8", 64, FEW, vnni));
        }
        if level >= CpuLevel::Avx512Bf16 {
            limits.push(limit("bf16", 32, MANY, bf16));
        }
        limits
    }

    /// Defines a loop of `$step` over sums, compiled for `$features`. The factor is unknown at compile time.
    macro_rules! registers {
        ($name:ident, $features:literal, $sums:ident, $zero:expr, $factor:expr, $step:expr, $end:expr) => {
            fn $name(rounds: u64) -> f32 {
                #[target_feature(enable = $features)]
                fn inner(rounds: u64) -> f32 {
                    let factor = std::hint::black_box($factor);
                    let mut sums = [$zero; $sums];
                    for _ in 0..rounds {
                        sums.iter_mut().for_each(|sum| *sum = $step(*sum, factor));
                    }
                    sums.into_iter().map($end).sum()
                }
                // SAFETY: `for_level` returns the function only if the available instruction set has these instructions.
                unsafe { inner(rounds) }
            }
        };
    }

    registers!(
        avx2,
        "avx2,fma",
        FEW,
        _mm256_set1_ps(1.0),
        _mm256_set1_ps(0.5),
        |sum, factor| _mm256_fmadd_ps(sum, factor, factor),
        |sum| _mm256_cvtss_f32(sum)
    );
    registers!(
        avx512,
        "avx512f",
        MANY,
        _mm512_set1_ps(1.0),
        _mm512_set1_ps(0.5),
        |sum, factor| _mm512_fmadd_ps(sum, factor, factor),
        |sum| _mm512_cvtss_f32(sum)
    );
    registers!(
        vnni,
        "avx512f,avx512vnni",
        FEW,
        _mm512_setzero_si512(),
        _mm512_set1_epi8(1),
        |sum, factor| _mm512_dpbusd_epi32(sum, factor, factor),
        |sum| _mm512_cvtsi512_si32(sum) as f32
    );
    registers!(
        bf16,
        "avx512f,avx512bf16",
        MANY,
        _mm512_setzero_ps(),
        _mm512_cvtne2ps_pbh(_mm512_set1_ps(1.0), _mm512_set1_ps(1.0)),
        |sum, factor| _mm512_dpbf16_ps(sum, factor, factor),
        |sum| _mm512_cvtss_f32(sum)
    );
}

#[cfg(not(target_arch = "x86_64"))]
mod limit {
    pub(super) fn for_level(_: stella_kernels::cpu::CpuLevel) -> Vec<super::Limit> {
        Vec::new()
    }
}

criterion_group!(kernels, limits, products, texts, rows, packing);
criterion_main!(kernels);
