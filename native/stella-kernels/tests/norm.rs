//! Tests layer norm and RMS norm with every available instruction set against a computation in 64 bits.
#![allow(clippy::expect_used)]

mod common;

use common::{Noise, kernels, team};
use proptest::prelude::*;
use stella_kernels::norm::{Norm, Residual};

proptest! {
    #[test]
    fn layer_norm_and_rms_norm_agree_with_a_computation_in_64_bits(
        rows in 1usize..30, width in 1usize..300, layer in any::<bool>(), threads in 1usize..4, seed in any::<u64>()
    ) {
        let mut noise = Noise(seed);
        // Numbers far from zero, which show the cancellation if the mean is subtracted too late.
        let x: Vec<f32> = noise.numbers(rows * width).iter().map(|x| 3.0 * x + 5.0).collect();
        let (weight, bias) = (noise.numbers(width), noise.numbers(width));
        let epsilon = 1e-3f32;
        let want: Vec<f64> = x.chunks_exact(width).flat_map(|row| {
            let row: Vec<f64> = row.iter().map(|&x| f64::from(x)).collect();
            let mean = if layer { row.iter().sum::<f64>() / width as f64 } else { 0.0 };
            let square = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width as f64;
            let scale = 1.0 / (square + f64::from(epsilon)).sqrt();
            let ends = weight.iter().zip(&bias);
            row.into_iter()
                .zip(ends)
                .map(|(x, (&w, &b))| (x - mean) * scale * f64::from(w) + if layer { f64::from(b) } else { 0.0 })
                .collect::<Vec<_>>()
        }).collect();
        for kernels in kernels() {
            let norm = Norm { weight: &weight, bias: layer.then_some(&bias[..]), epsilon, channel_scales: None };
            let mut y = x.clone();
            kernels.norm_rows(&mut team(threads), norm, &mut y, Residual::Normalized, None);
            for (y, w) in y.iter().zip(&want) {
                prop_assert!((f64::from(*y) - w).abs() < 3e-5, "{}: {y} for {w}", kernels.level());
            }
            let mut same = x.clone();
            kernels.norm_rows(&mut team(threads), norm, &mut same, Residual::Unchanged, None);
            prop_assert_eq!(&same, &x);
            // A row has the same bits alone.
            let mut alone = x[..width].to_vec();
            kernels.norm_rows(&mut team(1), norm, &mut alone, Residual::Normalized, None);
            prop_assert_eq!(&alone, &y[..width]);
        }
    }
}
