//! Tests products with every available instruction set and arithmetic: against sums in 64 bits, and for equal bits of a row
//! among any other rows.
#![allow(clippy::expect_used)]

mod common;

use common::{Noise, cosine, kernels, team};
use half::{bf16, f16};
use proptest::prelude::*;
use stella_kernels::Kernels;
use stella_kernels::activations::{Activations, ROW_GRANULE};
use stella_kernels::arithmetic::Arithmetic;
use stella_kernels::linear::{Epilogue, Gate, Linear};
use stella_kernels::numbers::Rows;

const ARITHMETICS: [Arithmetic; 3] = [Arithmetic::F32, Arithmetic::Bf16, Arithmetic::Int8];

/// Converts rows to activations.
fn activations(kernels: Kernels, arithmetic: Arithmetic, x: &[f32], width: usize) -> Activations {
    let mut out = kernels.activations(arithmetic, x.len() / width, width).expect("memory");
    kernels.convert_rows(&mut team(1), x, None, &mut out);
    out
}

/// Returns random rows with a mean square of one.
fn rows(noise: &mut Noise, rows: usize, width: usize) -> Vec<f32> {
    let mut x = noise.numbers(rows * width);
    for row in x.chunks_exact_mut(width) {
        let square = row.iter().map(|x| x * x).sum::<f32>() / width as f32;
        row.iter_mut().for_each(|x| *x /= square.sqrt());
    }
    x
}

/// Computes `x w^T + b` in 64 bits, row-major `[rows, outputs]`.
fn exact(x: &[f32], w: &[f32], bias: &[f32], inputs: usize) -> Vec<f64> {
    let dot = |x: &[f32], w: &[f32]| x.iter().zip(w).map(|(&x, &w)| f64::from(x) * f64::from(w)).sum::<f64>();
    x.chunks_exact(inputs)
        .flat_map(|x| w.chunks_exact(inputs).zip(bias).map(move |(w, &b)| dot(x, w) + f64::from(b)))
        .collect()
}

/// Returns the largest acceptable error of a product of `inputs` activations of size one and weights of size one half.
fn tolerance(arithmetic: Arithmetic, inputs: usize) -> f64 {
    let root = (inputs as f64).sqrt();
    match arithmetic {
        Arithmetic::F32 => 4e-6 * root,
        // Half a unit in the last place of eight bits, for either operand, at seven standard deviations.
        Arithmetic::Bf16 => 7.0 * 2f64.powi(-9) * 0.6 * root,
        Arithmetic::Int8 => 7.0 * 0.01 * root,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn products_agree_with_sums_in_64_bits(
        count in 1usize..70, inputs in 1usize..600, outputs in 1usize..130, threads in 1usize..4, seed in any::<u64>()
    ) {
        let mut noise = Noise(seed);
        let x = rows(&mut noise, count, inputs);
        let (w, bias) = (noise.numbers(outputs * inputs), noise.numbers(outputs));
        let want = exact(&x, &w, &bias, inputs);
        for kernels in kernels() {
            for arithmetic in ARITHMETICS {
                let mut layer = Linear::new(arithmetic, outputs, inputs).expect("memory");
                let mut team = team(threads);
                // Packed in two parts, like the weights of queries, keys and values.
                let half = outputs / 2;
                layer.pack(kernels, &mut team, half, Rows::F32(&w[half * inputs..]));
                layer.pack(kernels, &mut team, 0, Rows::F32(&w[..half * inputs]));
                layer.set_bias(0, &bias);
                let x = activations(kernels, arithmetic, &x, inputs);
                let mut y = vec![f32::NAN; count * outputs];
                layer.multiply(kernels, &mut team, &x, 0..count, Epilogue::Store(&mut y));
                let worst = y.iter().zip(&want).map(|(&y, w)| (f64::from(y) - w).abs()).fold(0.0, f64::max);
                let limit = tolerance(arithmetic, inputs);
                prop_assert!(worst <= limit, "{} {arithmetic:?}: {worst} > {limit}", kernels.level());

                let mut sum = vec![2.0; count * outputs];
                layer.multiply(kernels, &mut team, &x, 0..count, Epilogue::Add(&mut sum));
                for (sum, y) in sum.iter().zip(&y) {
                    prop_assert_eq!(*sum, 2.0 + y);
                }
            }
        }
    }

    #[test]
    fn a_row_has_the_same_bits_among_any_other_rows(
        count in 2usize..420, inputs in 1usize..900, outputs in 1usize..100, threads in 2usize..5, seed in any::<u64>()
    ) {
        let mut noise = Noise(seed);
        let x = rows(&mut noise, count, inputs);
        let w = noise.numbers(outputs * inputs);
        for kernels in kernels() {
            for arithmetic in ARITHMETICS {
                let mut layer = Linear::new(arithmetic, outputs, inputs).expect("memory");
                layer.pack(kernels, &mut team(1), 0, Rows::F32(&w));
                let product = |x: &[f32], threads| {
                    let count = x.len() / inputs;
                    let x = activations(kernels, arithmetic, x, inputs);
                    let mut y = vec![f32::NAN; count * outputs];
                    layer.multiply(kernels, &mut team(threads), &x, 0..count, Epilogue::Store(&mut y));
                    y
                };
                let all = product(&x, threads);
                for row in [0, count / 3, count - 1] {
                    let alone = product(&x[row * inputs..][..inputs], 1);
                    prop_assert_eq!(&all[row * outputs..][..outputs], &alone, "{} {:?}", kernels.level(), arithmetic);
                }
                prop_assert_eq!(product(&x[inputs..], 1), &all[outputs..], "{} {:?}", kernels.level(), arithmetic);

                // The last rows of the same activations, from a row at which tiles can begin.
                let first = (seed as usize % count) / ROW_GRANULE * ROW_GRANULE;
                let x = activations(kernels, arithmetic, &x, inputs);
                let mut y = vec![f32::NAN; (count - first) * outputs];
                layer.multiply(kernels, &mut team(threads), &x, first..count, Epilogue::Store(&mut y));
                prop_assert_eq!(&y, &all[first * outputs..], "{} {:?}", kernels.level(), arithmetic);
            }
        }
    }

    #[test]
    fn a_gated_layer_and_the_next_product_agree_with_64_bits(
        // With fewer inner numbers a sum can be near zero by chance, and the rounding error large relative to it.
        count in 1usize..40, inputs in 1usize..80, inner in 8usize..100, silu in any::<bool>(), seed in any::<u64>()
    ) {
        let mut noise = Noise(seed);
        let x = rows(&mut noise, count, inputs);
        let (up, gate) = (noise.numbers(inner * inputs), noise.numbers(inner * inputs));
        let down = noise.numbers(8 * inner);
        let zeros = vec![0.0; inner];
        let (wide_up, wide_gate) = (exact(&x, &up, &zeros, inputs), exact(&x, &gate, &zeros, inputs));
        let product: Vec<f32> = wide_up
            .iter()
            .zip(&wide_gate)
            .map(|(u, &g)| (u * if silu { g / (1.0 + (-g).exp()) } else { g * common::phi(g) }) as f32)
            .collect();
        let want = exact(&product, &down, &[0.0; 8], inner);
        for kernels in kernels() {
            for arithmetic in ARITHMETICS {
                let mut team = team(2);
                let mut first = Linear::gated(arithmetic, inner, inputs).expect("memory");
                // Packed in pieces that cross from the up-projection to the gate, like pieces of a file.
                let both = [&up[..], &gate].concat();
                for (i, piece) in both.chunks(5 * inputs).enumerate() {
                    first.pack(kernels, &mut team, 5 * i, Rows::F32(piece));
                }
                let mut second = Linear::new(arithmetic, 8, inner).expect("memory");
                second.pack(kernels, &mut team, 0, Rows::F32(&down));
                let x = activations(kernels, arithmetic, &x, inputs);
                let mut between = kernels.activations(arithmetic, count, inner).expect("memory");
                let function = if silu { Gate::Silu } else { Gate::Gelu };
                let mut unquantized = vec![f32::NAN; kernels.gate_buffer_len(arithmetic, count, inner)];
                let epilogue = Epilogue::Gate(function, &mut between, &mut unquantized);
                first.multiply(kernels, &mut team, &x, 0..count, epilogue);
                let mut y = vec![f32::NAN; count * 8];
                second.multiply(kernels, &mut team, &between, 0..count, Epilogue::Store(&mut y));
                let size = (want.iter().map(|y| y * y).sum::<f64>() / want.len() as f64).sqrt();
                let error = y.iter().zip(&want).map(|(&y, w)| (f64::from(y) - w).powi(2)).sum::<f64>();
                let error = (error / want.len() as f64).sqrt() / size.max(1e-3);
                let limit = match arithmetic {
                    Arithmetic::F32 => 3e-6,
                    Arithmetic::Bf16 => 0.02,
                    Arithmetic::Int8 => 0.12,
                };
                prop_assert!(error < limit, "{} {arithmetic:?}: {error}", kernels.level());
            }
        }
    }
}

#[test]
fn bfloat16_weights_are_rounded_to_nearest() {
    // With a single input of 1, the products are the weights.
    let w: Vec<f32> = [1.0, 1.003_906_2, 1.003_906_4, 1.011_718_8, -3.3, 1e-20].to_vec();
    let want: Vec<f32> = w.iter().map(|&w| bf16::from_f32(w).to_f32()).collect();
    for kernels in kernels() {
        let mut layer = Linear::new(Arithmetic::Bf16, w.len(), 1).expect("memory");
        layer.pack(kernels, &mut team(1), 0, Rows::F32(&w));
        let x = activations(kernels, Arithmetic::Bf16, &[1.0], 1);
        let mut y = vec![0.0; w.len()];
        layer.multiply(kernels, &mut team(1), &x, 0..1, Epilogue::Store(&mut y));
        assert_eq!(y, want, "{}", kernels.level());
    }
}

#[test]
fn weights_of_16_bits_are_packed_like_their_values_in_32_bits() {
    let (inputs, outputs) = (75, 45);
    let mut noise = Noise(9);
    let w = noise.numbers(outputs * inputs);
    let half: Vec<f16> = w.iter().map(|&w| f16::from_f32(w)).collect();
    let brain: Vec<bf16> = w.iter().map(|&w| bf16::from_f32(w)).collect();
    for kernels in kernels() {
        let x = |arithmetic| activations(kernels, arithmetic, &Noise(10).numbers(inputs), inputs);
        for arithmetic in ARITHMETICS {
            for narrow in [Rows::F16(&half), Rows::Bf16(&brain)] {
                let mut wide = vec![0.0; w.len()];
                narrow.widen(&mut wide);
                let [got, want] = [narrow, Rows::F32(&wide)].map(|rows| {
                    let mut layer = Linear::new(arithmetic, outputs, inputs).expect("memory");
                    layer.pack(kernels, &mut team(1), 0, rows);
                    let mut y = vec![0.0; outputs];
                    layer.multiply(kernels, &mut team(1), &x(arithmetic), 0..1, Epilogue::Store(&mut y));
                    y
                });
                assert_eq!(got, want, "{} {arithmetic:?}", kernels.level());
            }
        }
    }
}

#[test]
fn instruction_sets_agree_on_int8_products() {
    let (count, inputs, outputs) = (37, 333, 70);
    let mut noise = Noise(5);
    let (x, w) = (rows(&mut noise, count, inputs), noise.numbers(outputs * inputs));
    let products: Vec<Vec<f32>> = kernels()
        .map(|kernels| {
            let mut layer = Linear::new(Arithmetic::Int8, outputs, inputs).expect("memory");
            layer.pack(kernels, &mut team(1), 0, Rows::F32(&w));
            let x = activations(kernels, Arithmetic::Int8, &x, inputs);
            let mut y = vec![0.0; count * outputs];
            layer.multiply(kernels, &mut team(2), &x, 0..count, Epilogue::Store(&mut y));
            y
        })
        .collect();
    for product in &products {
        assert!(cosine(product, &products[0]) > 0.999_999);
    }
}

#[test]
fn smoothing_scales_keep_int8_accurate_beside_an_outlier_channel() {
    let (count, inputs, outputs) = (9, 200, 40);
    let mut noise = Noise(11);
    let mut x = noise.numbers(count * inputs);
    x.iter_mut().skip(7).step_by(inputs).for_each(|x| *x *= 128.0);
    let mut w = noise.numbers(outputs * inputs);
    w.iter_mut().skip(7).step_by(inputs).for_each(|w| *w /= 128.0);
    let want: Vec<f32> = exact(&x, &w, &vec![0.0; outputs], inputs).iter().map(|&y| y as f32).collect();
    let mut scales = vec![1.0; inputs];
    scales[7] = 128.0;
    for kernels in kernels() {
        let product = |scales: Option<&[f32]>| {
            let mut layer = Linear::new(Arithmetic::Int8, outputs, inputs).expect("memory");
            if let Some(scales) = scales {
                layer.set_smoothing_scales(scales.to_vec());
            }
            layer.pack(kernels, &mut team(1), 0, Rows::F32(&w));
            let mut rows = kernels.activations(Arithmetic::Int8, count, inputs).expect("memory");
            kernels.convert_rows(&mut team(1), &x, layer.activation_channel_scales(), &mut rows);
            let mut y = vec![0.0; count * outputs];
            layer.multiply(kernels, &mut team(1), &rows, 0..count, Epilogue::Store(&mut y));
            cosine(&y, &want)
        };
        let (plain, smoothed) = (product(None), product(Some(&scales)));
        assert!(plain < 0.99 && smoothed > 0.999, "{}: {plain}, {smoothed}", kernels.level());
    }
}

#[test]
fn an_input_that_is_not_finite_gives_an_output_that_is_not_finite() {
    for kernels in kernels() {
        for arithmetic in ARITHMETICS {
            for bad in [f32::NAN, f32::INFINITY] {
                let mut layer = Linear::new(arithmetic, 1, 20).expect("memory");
                layer.pack(kernels, &mut team(1), 0, Rows::F32(&[0.5; 20]));
                let mut x = vec![1.0; 40];
                x[27] = bad;
                let x = activations(kernels, arithmetic, &x, 20);
                let mut y = [0.0; 2];
                layer.multiply(kernels, &mut team(1), &x, 0..2, Epilogue::Store(&mut y));
                assert!(
                    y[0].is_finite() && !y[1].is_finite(),
                    "{} {arithmetic:?} {bad}: {y:?}",
                    kernels.level()
                );
            }
        }
    }
}
