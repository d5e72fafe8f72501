//! Quantizes the weights of Stella 400M and Stella 1.5B to int8 with SmoothQuant, calibrated by forward passes over a few
//! texts.
//!
//! The output of some norms has a few channels that are many times larger than the others, the same channels for every
//! text. An int8 range that spans them leaves little resolution for the rest. So the activations of each channel are
//! divided by a smoothing scale, and the weights of this channel are multiplied by it. The product stays the same, and
//! both sides fit into int8. Smoothing scales are powers of two, so that scaling loses no accuracy. Source: Xiao et al.,
//! "SmoothQuant" (2022), with a migration strength of 0.5.
//!
//! The steps of [`load`]:
//!
//! 1. Load the weights in bf16. For each product whose input is the output of a norm, record the largest weight of each
//!    input channel.
//! 2. Run a forward pass in bf16. Record the largest activation of the same channels.
//! 3. Compute the smoothing scales, and load the weights again, in int8.
//! 4. Run the forward pass in bf16 again. Compare each int8 product with the bf16 product of the same input.
//! 5. Keep the bf16 weights of each product whose error is too large, as far as the memory budget allows.

use std::sync::Arc;

use stella_kernels::arithmetic::Arithmetic;
use stella_kernels::linear::Epilogue;
use stella_kernels::numbers::Rows;
use stella_kernels::team::Team;

use crate::base::error::{Error, Result, encoder_out_of_memory, team_refused};
use crate::base::limits::{THREAD_BYTES, default_threads};
use crate::encoder::cpu_encoder::{
    CpuEncoderState, FEED_FORWARD_ROWS, attention, encoder_state_bytes, scratch_words,
};
use crate::encoder::cpu_weights::{CpuWeights, Layer, PRODUCTS_AFTER_NORMS, Plan};
use crate::encoder::{CancelFlag, EncoderStateOptions};
use crate::text::batch::PackedBatch;
use crate::text::tokenizer::{LongText, Tokenizer};
use crate::weights::tensor_table::LayerProduct;
use crate::weights::weight_reader::{LOADING, TensorSink};

/// The calibration texts: prose, questions, code, numbers and several scripts. Their content does not matter, because
/// the same channels are large for every text.
const TEXTS: [&str; 6] = [
    "Instruct: Given a web search query, retrieve relevant passages that answer the query.\nQuery: how do plants make \
     sugar out of light, and why are their leaves green and not black?",
    "The committee met on 14 March 1997 and, after four hours, agreed to publish its findings; nobody was surprised, \
     least of all those who had written them two years before in a house by the sea.",
    "fn main() { let total: u64 = (1..=10).map(|x| x * x).sum(); println!(\"{total}\"); } // error: expected `;`",
    "Die Brücke wurde nach dem Hochwasser gesperrt. Le pont a été fermé après la crue. El puente quedó cerrado.",
    "在这个城市里，春天来得很早。 Весна приходит рано. 春は早く来る。 الربيع يأتي مبكرا",
    "Order #48213: 3 x USB-C cable (2 m), $12.99 each, ship to 221B Baker St., London NW1 6XE; tel. +44 20 7946 0958",
];
/// Number of tokens to which each calibration text is truncated.
const TOKENS_PER_TEXT: usize = 32;
/// Upper limit of the tokens of all calibration texts.
const MAX_CALIBRATION_TOKENS: usize = TOKENS_PER_TEXT * TEXTS.len();
// The calibration must see all its rows in a single row block.
const _: () = assert!(MAX_CALIBRATION_TOKENS <= FEED_FORWARD_ROWS);

/// Loads weights in int8. Calls `read` twice: the int8 weights are quantized from the file and not from the bf16 weights,
/// so that they are rounded only once.
pub(crate) fn load(
    plan: Plan<'_>,
    tokenizer: &Tokenizer,
    read: &dyn Fn(TensorSink<'_>) -> Result<()>,
) -> Result<CpuWeights> {
    let (ids, cu_seqlens) = batch(tokenizer);
    let batch = PackedBatch::new(&ids, &cu_seqlens, plan.max_tokens, plan.config.vocab_size)?;
    let threads = default_threads();

    let mut weight_maxima =
        vec![ChannelMaxima::new(plan.config.hidden_size); PRODUCTS_AFTER_NORMS.len() * plan.config.layers];
    let mut activation_maxima = weight_maxima.clone();
    let norm_before = |layer: usize, product| {
        PRODUCTS_AFTER_NORMS
            .iter()
            .position(|&candidate| candidate == product)
            .map(|norm| PRODUCTS_AFTER_NORMS.len() * layer + norm)
    };
    let bf16 = CpuWeights::load(plan, Arithmetic::Bf16, &[], read, &mut |layer, product, rows| {
        if let Some(norm) = norm_before(layer, product) {
            weight_maxima[norm].include(rows);
        }
    })?;
    let bf16 = Arc::new(bf16);
    let options = EncoderStateOptions { threads, max_batch_tokens: ids.len() };
    let mut state = CpuEncoderState::new(Arc::clone(&bf16), options)?;
    state.run(batch, CancelFlag::default(), &mut |layer, product, input| {
        if let Some(norm) = norm_before(layer, product) {
            activation_maxima[norm].include(Rows::F32(&input.widen(batch.tokens())));
        }
        Ok(())
    })?;

    let scales: Vec<_> =
        activation_maxima.iter().zip(&weight_maxima).map(|(x, w)| smoothing_scales(x, w)).collect();
    let mut int8 = CpuWeights::load(plan, Arithmetic::Int8, &scales, read, &mut |_, _, _| ())?;
    let team = Team::new(threads, scratch_words(plan.config, plan.max_tokens), None)
        .map_err(|e| team_refused(e, LOADING))?;
    let mut probe = ProductProbe { weights: &bf16, batch, team };
    let mut inaccurate = Vec::new();
    state.run(batch, CancelFlag::default(), &mut |layer, product, input| {
        let wide = input.widen(batch.tokens());
        let expected = probe.output(&bf16.layers[layer], product, &wide)?;
        let error = relative_error(&probe.output(&int8.layers[layer], product, &wide)?, &expected);
        log::trace!("Layer {layer}, product {product:?}: the relative error in int8 is {error:.4}.");
        if error > MAX_RELATIVE_ERROR {
            inaccurate.push((error, layer, product));
        }
        Ok(())
    })?;
    drop(state);
    let bf16 = Arc::into_inner(bf16).ok_or_else(|| {
        Error::Internal("The bf16 weights are still in use after the calibration.".to_owned())
    })?;
    keep_bf16(&mut int8, bf16, inaccurate, bf16_budget(plan));
    Ok(int8)
}

/// Replaces inaccurate int8 products by their bf16 weights, the largest error first, within a budget of bytes.
fn keep_bf16(
    int8: &mut CpuWeights,
    mut bf16: CpuWeights,
    mut inaccurate: Vec<(f64, usize, LayerProduct)>,
    mut budget: u64,
) {
    inaccurate.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (error, layer, product) in inaccurate {
        let finding = format!("Layer {layer}, product {product:?}: the relative error in int8 is {error:.3}");
        let kept = int8.layers[layer].product_mut(product);
        let better = bf16.layers[layer].product_mut(product);
        match budget.checked_sub(better.bytes() - kept.bytes()) {
            Some(left) => {
                budget = left;
                std::mem::swap(kept, better);
                log::info!("{finding}, so the product stays in bf16.");
            }
            None => log::warn!("{finding}, but the memory budget has no room to keep it in bf16."),
        }
    }
}

/// The relative error above which a product stays in bf16. Most products have an error of 0.01 to 0.03. A larger error
/// than this limit is visible in the vectors of texts.
const MAX_RELATIVE_ERROR: f64 = 0.04;

/// Returns the bytes that products in bf16 may take in addition to their size in int8: a quarter of the weights. The limit
/// keeps the memory estimate of a model independent of the values of its weights.
fn bf16_budget(plan: Plan<'_>) -> u64 {
    CpuWeights::bytes(plan, Arithmetic::Int8) / 4
}

/// Returns the upper limit of the bytes of the weights, and the bytes that loading needs in addition. Loading holds all
/// weights in bf16 as well, and runs forward passes with them.
pub(crate) fn memory(plan: Plan<'_>) -> (u64, u64) {
    let (bf16, threads) = (Arithmetic::Bf16, default_threads());
    let forward =
        encoder_state_bytes(plan, bf16, MAX_CALIBRATION_TOKENS, threads) + 2 * THREAD_BYTES * threads as u64;
    let widest = plan.config.intermediate_size.max(3 * plan.config.hidden_size);
    let probe = (PROBE_ROWS * MAX_CALIBRATION_TOKENS * widest * size_of::<f32>()) as u64;
    let loading = (CpuWeights::bytes(plan, bf16) + forward + probe).saturating_sub(bf16_budget(plan));
    (CpuWeights::bytes(plan, Arithmetic::Int8) + bf16_budget(plan), loading)
}

/// Rows that a [`ProductProbe`] and its caller hold for each token: the input, the packed input of two products and their
/// two outputs.
const PROBE_ROWS: usize = 5;

/// Computes single products with different weights but the same input.
struct ProductProbe<'a> {
    weights: &'a CpuWeights,
    batch: PackedBatch<'a>,
    team: Team,
}

impl ProductProbe<'_> {
    /// Multiplies `x` by a product of `layer`. The output includes the step up to the next product: attention after the
    /// queries, keys and values, and the gate (GELU or SiLU) after the up product.
    fn output(&mut self, layer: &Layer, which: LayerProduct, x: &[f32]) -> Result<Vec<f32>> {
        let (weights, product) = (self.weights, layer.product(which));
        let (kernels, team, rows) = (weights.kernels, &mut self.team, self.batch.tokens());
        let buffer =
            |arithmetic, width| kernels.activations(arithmetic, rows, width).map_err(encoder_out_of_memory);
        let mut input = buffer(product.arithmetic(), product.inputs())?;
        kernels.convert_rows(team, x, product.activation_channel_scales(), &mut input);
        if which == LayerProduct::UpGate {
            let mut gated = buffer(Arithmetic::F32, product.outputs())?;
            product.multiply(
                kernels,
                team,
                &input,
                0..rows,
                Epilogue::Gate(weights.gate(), &mut gated, &mut []),
            );
            return Ok(gated.widen(rows));
        }
        let mut out = vec![0.0; rows * product.outputs()];
        product.multiply(kernels, team, &input, 0..rows, Epilogue::Store(&mut out));
        if which == LayerProduct::Qkv {
            let mut attended = buffer(Arithmetic::F32, weights.config.hidden_size)?;
            attention(weights).attend(kernels, team, &mut out, self.batch.cu_seqlens(), &mut attended);
            return Ok(attended.widen(rows));
        }
        Ok(out)
    }
}

/// Returns the L2 norm of `actual - expected` relative to the L2 norm of `expected`. NaN counts as infinite.
fn relative_error(actual: &[f32], expected: &[f32]) -> f64 {
    let square = |x: f32| f64::from(x) * f64::from(x);
    let off: f64 = actual.iter().zip(expected).map(|(a, b)| square(a - b)).sum();
    let error =
        if off == 0.0 { 0.0 } else { (off / expected.iter().map(|&x| square(x)).sum::<f64>()).sqrt() };
    if error.is_nan() { f64::INFINITY } else { error }
}

/// Tokenizes the calibration texts. Returns their packed ids and `cu_seqlens`. Skips a text that the tokenizer refuses.
fn batch(tokenizer: &Tokenizer) -> (Vec<u32>, Vec<u32>) {
    let (mut ids, mut cu_seqlens) = (Vec::new(), vec![0]);
    for text in TEXTS {
        let begin = ids.len();
        match tokenizer.encode(0, text, LongText::Truncate, &mut ids, None) {
            Ok(_) => {
                ids.truncate(begin + TOKENS_PER_TEXT);
                cu_seqlens.push(ids.len() as u32);
            }
            Err(error) => {
                ids.truncate(begin);
                log::warn!("Skipping the calibration text {text:?}: {error}");
            }
        }
    }
    (ids, cu_seqlens)
}

/// The largest absolute value of each channel over some rows.
#[derive(Debug, Clone)]
struct ChannelMaxima(Vec<f32>);

impl ChannelMaxima {
    fn new(width: usize) -> Self {
        Self(vec![0.0; width])
    }

    /// Includes more rows.
    fn include(&mut self, rows: Rows<'_>) {
        rows.raise_channel_maxima(&mut self.0);
    }
}

/// Lower limit of a channel maximum, as a fraction of the mean of all channels. It bounds the smoothing scale of a channel
/// that the calibration texts do not use.
const FLOOR: f32 = 1.0 / 16.0;

/// Returns the SmoothQuant scale of each channel: activations are divided by it, and weights multiplied.
fn smoothing_scales(activations: &ChannelMaxima, weights: &ChannelMaxima) -> Vec<f32> {
    let floored = |maxima: &ChannelMaxima| {
        let maxima = maxima.0.clone();
        let floor = FLOOR * maxima.iter().sum::<f32>() / maxima.len().max(1) as f32;
        maxima.into_iter().map(move |x| x.max(floor))
    };
    let ratios = floored(activations).zip(floored(weights)).map(|(x, w)| x / w);
    let useful = |ratio: f32| ratio > 0.0 && ratio.is_finite();
    ratios.map(|ratio| if useful(ratio) { (0.5 * ratio.log2()).round().exp2() } else { 1.0 }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn maxima(rows: &[[f32; 4]]) -> ChannelMaxima {
        let mut maxima = ChannelMaxima::new(4);
        rows.iter().for_each(|row| maxima.include(Rows::F32(row)));
        maxima
    }

    #[test]
    fn smoothing_scales_move_half_of_the_range_and_are_powers_of_two() {
        let activations = maxima(&[[1.0, -64.0, 0.5, 4.0], [-4.0, 3.0, 1.0, 0.0]]);
        let weights = maxima(&[[1.0, 1.0, 0.25, 0.0], [0.5, -0.1, -1.0, 0.0]]);
        // The weights of the last channel are zero. They count as a sixteenth of the mean, 0.75.
        assert_eq!(smoothing_scales(&activations, &weights), [2.0, 8.0, 1.0, 8.0]);
    }

    #[test]
    fn the_relative_error_is_a_fraction_of_the_expected_norm() {
        assert_eq!(relative_error(&[3.0, 4.5], &[3.0, 4.0]), 0.1);
        assert_eq!((relative_error(&[0.0], &[0.0]), relative_error(&[], &[])), (0.0, 0.0));
        assert_eq!(relative_error(&[f32::NAN], &[1.0]), f64::INFINITY);
        assert_eq!(relative_error(&[1.0], &[0.0]), f64::INFINITY);
    }

    #[test]
    fn maxima_that_are_zero_or_infinite_lead_to_smoothing_scales_of_one() {
        assert_eq!(smoothing_scales(&ChannelMaxima::new(4), &ChannelMaxima::new(4)), [1.0; 4]);
        assert_eq!(smoothing_scales(&maxima(&[[f32::INFINITY; 4]]), &maxima(&[[1.0; 4]])), [1.0; 4]);
    }
}
