//! Tests attention with every available instruction set: against a computation in 64 bits, and for equal bits in any batch.
#![allow(clippy::expect_used)]

mod common;

use common::{Noise, kernels, team};
use proptest::prelude::*;
use stella_kernels::Kernels;
use stella_kernels::arithmetic::Arithmetic;
use stella_kernels::attention::Attention;
use stella_kernels::linear::{Epilogue, Linear};
use stella_kernels::numbers::Rows;
use stella_kernels::rotary::Rotary;
use stella_kernels::team::Team;

/// Returns the inverse frequencies of the rotary embedding, for a base of 1000.
fn inverse_frequencies(head_dim: usize) -> Vec<f64> {
    (0..head_dim / 2).map(|i| 1000f64.powf(-2.0 * i as f64 / head_dim as f64)).collect()
}

/// Computes attention in 64 bits.
fn exact(shape: &Attention<'_>, qkv: &[f32], cu_seqlens: &[u32]) -> Vec<f64> {
    let (dim, inputs) = (shape.head_dim, shape.inputs());
    let width = shape.heads * dim;
    let mut out = vec![0.0; qkv.len() / inputs * width];
    let rotated = |token: usize, position: usize, at: usize| -> Vec<f64> {
        let x = &qkv[token * inputs + at..][..dim];
        let mut y: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
        for (i, frequency) in inverse_frequencies(dim).into_iter().enumerate() {
            let (sin, cos) = (position as f64 * frequency).sin_cos();
            let (a, b) = (y[i], y[i + dim / 2]);
            (y[i], y[i + dim / 2]) = (a * cos - b * sin, b * cos + a * sin);
        }
        y
    };
    for text in cu_seqlens.windows(2) {
        let tokens = text[0] as usize..text[1] as usize;
        for head in 0..shape.heads {
            let kv = head / (shape.heads / shape.kv_heads);
            let at = |token: usize| token - tokens.start;
            let keys: Vec<_> = tokens.clone().map(|t| rotated(t, at(t), (shape.heads + kv) * dim)).collect();
            for query in tokens.clone() {
                let q = rotated(query, at(query), head * dim);
                let scores: Vec<f64> = keys
                    .iter()
                    .map(|k| q.iter().zip(k).map(|(q, k)| q * k).sum::<f64>() / (dim as f64).sqrt())
                    .collect();
                let max = scores.iter().copied().fold(f64::MIN, f64::max);
                let numerators: Vec<f64> = scores.iter().map(|s| (s - max).exp()).collect();
                let sum: f64 = numerators.iter().sum();
                for i in 0..dim {
                    let value =
                        |t: usize| f64::from(qkv[t * inputs + (shape.heads + shape.kv_heads + kv) * dim + i]);
                    out[query * width + head * dim + i] =
                        tokens.clone().zip(&numerators).map(|(t, s)| s * value(t)).sum::<f64>() / sum;
                }
            }
        }
    }
    out
}

/// Computes attention with the kernels, and reads the output back through a product with the identity matrix.
fn attend(
    kernels: Kernels,
    team: &mut Team,
    arithmetic: Arithmetic,
    shape: Attention<'_>,
    qkv: &[f32],
    cu_seqlens: &[u32],
) -> Vec<f32> {
    let width = shape.heads * shape.head_dim;
    let tokens = qkv.len() / shape.inputs();
    let mut out = kernels.activations(arithmetic, tokens, width).expect("memory");
    shape.attend(kernels, team, &mut qkv.to_vec(), cu_seqlens, &mut out);
    let mut identity_layer = Linear::new(arithmetic, width, width).expect("memory");
    let identity: Vec<f32> = (0..width * width).map(|i| f32::from(u8::from(i % (width + 1) == 0))).collect();
    identity_layer.pack(kernels, team, 0, Rows::F32(&identity));
    let mut y = vec![f32::NAN; tokens * width];
    identity_layer.multiply(kernels, team, &out, 0..tokens, Epilogue::Store(&mut y));
    y
}

#[derive(Debug, Clone)]
struct Case {
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    cu_seqlens: Vec<u32>,
    seed: u64,
}

fn case() -> impl Strategy<Value = Case> {
    let lengths = prop_oneof![4 => 1u32..70, 1 => 120u32..140];
    let shape = (1usize..3, 1usize..3, 1usize..40);
    (shape, proptest::collection::vec(lengths, 1..5), any::<u64>()).prop_map(
        |((groups, kv_heads, half), lengths, seed)| {
            let mut cu_seqlens = vec![0];
            cu_seqlens.extend(lengths.iter().scan(0, |end, &n| {
                *end += n;
                Some(*end)
            }));
            Case { heads: groups * kv_heads, kv_heads, head_dim: 2 * half, cu_seqlens, seed }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn attention_agrees_with_a_computation_in_64_bits(case in case(), threads in 1usize..4) {
        let rotary = Rotary::new(&inverse_frequencies(case.head_dim), 140).expect("memory");
        let shape =
            Attention { heads: case.heads, kv_heads: case.kv_heads, head_dim: case.head_dim, rotary: &rotary };
        let tokens = *case.cu_seqlens.last().expect("an end") as usize;
        let mut qkv = Noise(case.seed).numbers(tokens * shape.inputs());
        qkv.iter_mut().for_each(|x| *x *= 2.0);
        let want = exact(&shape, &qkv, &case.cu_seqlens);
        for kernels in kernels() {
            for (arithmetic, limit) in
                [(Arithmetic::F32, 1e-5), (Arithmetic::Bf16, 0.04), (Arithmetic::Int8, 0.06)]
            {
                let got = attend(kernels, &mut team(threads), arithmetic, shape, &qkv, &case.cu_seqlens);
                let worst = got.iter().zip(&want).map(|(&y, w)| (f64::from(y) - w).abs()).fold(0.0, f64::max);
                prop_assert!(worst < limit, "{} {arithmetic:?}: {worst}", kernels.level());
            }
        }
    }

    #[test]
    fn a_text_has_the_same_bits_in_any_batch(case in case(), threads in 2usize..5) {
        let rotary = Rotary::new(&inverse_frequencies(case.head_dim), 140).expect("memory");
        let shape =
            Attention { heads: case.heads, kv_heads: case.kv_heads, head_dim: case.head_dim, rotary: &rotary };
        let (inputs, width) = (shape.inputs(), case.heads * case.head_dim);
        let tokens = *case.cu_seqlens.last().expect("an end") as usize;
        let qkv = Noise(case.seed).numbers(tokens * inputs);
        for kernels in kernels() {
            for arithmetic in [Arithmetic::F32, Arithmetic::Bf16] {
                let all = attend(kernels, &mut team(threads), arithmetic, shape, &qkv, &case.cu_seqlens);
                for text in case.cu_seqlens.windows(2) {
                    let (begin, end) = (text[0] as usize, text[1] as usize);
                    let alone = attend(
                        kernels,
                        &mut team(1),
                        arithmetic,
                        shape,
                        &qkv[begin * inputs..end * inputs],
                        &[0, text[1] - text[0]],
                    );
                    prop_assert_eq!(&all[begin * width..end * width], &alone, "{} {:?}", kernels.level(), arithmetic);
                }
            }
        }
    }
}

#[test]
fn stale_scratch_memory_does_not_change_the_output() {
    let rotary = Rotary::new(&inverse_frequencies(20), 48).expect("memory");
    let shape = Attention { heads: 2, kv_heads: 1, head_dim: 20, rotary: &rotary };
    for kernels in kernels() {
        for arithmetic in [Arithmetic::F32, Arithmetic::Bf16] {
            // Both end inside of a panel: 33 tokens inside of a vector, and 48 at the end of one.
            for tokens in [33, 48] {
                let qkv = Noise(1).numbers(tokens * shape.inputs());
                let cu_seqlens = [0, tokens as u32];
                let clean = attend(kernels, &mut team(1), arithmetic, shape, &qkv, &cu_seqlens);
                let mut team = team(1);
                team.run(1, &|_, scratch| scratch.fill(f32::NAN.to_bits()));
                let stale = attend(kernels, &mut team, arithmetic, shape, &qkv, &cu_seqlens);
                assert_eq!(stale, clean, "{} {arithmetic:?}, {tokens} tokens", kernels.level());
            }
        }
    }
}

#[test]
fn a_number_that_is_not_finite_does_not_leave_its_text() {
    let rotary = Rotary::new(&inverse_frequencies(16), 40).expect("memory");
    let shape = Attention { heads: 1, kv_heads: 1, head_dim: 16, rotary: &rotary };
    for kernels in kernels() {
        for arithmetic in [Arithmetic::F32, Arithmetic::Bf16] {
            // A number of a query, of a key, and of a value.
            for at in [3, 16 + 3, 32 + 3] {
                let mut qkv = Noise(1).numbers(40 * shape.inputs());
                qkv[10 * shape.inputs() + at] = f32::NAN;
                let mut team = team(1);
                let y = attend(kernels, &mut team, arithmetic, shape, &qkv, &[0, 20, 40]);
                assert!(
                    y[..20 * 16].iter().any(|y| y.is_nan()) && y[20 * 16..].iter().all(|y| y.is_finite())
                );
            }
        }
    }
}
