//! Weights in bytes, as far as bytes suit a model. That is seen in forwards with rounded weights, over a few texts.
//!
//! The rows behind some norms have a few channels that are many times larger than the others, the same ones for every
//! text. A byte that spans them has little left for the rest. So such a channel is divided by a factor, and the weights
//! that it meets are multiplied by it: the product stays what it is, and both sides fit into bytes. Factors are powers
//! of two, which cost no accuracy by themselves. After Xiao et al., "SmoothQuant" (2022), with half of the range moved.
//!
//! A product that is still too far from the rounded one keeps its rounded weights.

use std::sync::Arc;

use stella_kernels::activations::Arithmetic;
use stella_kernels::linear::Then;
use stella_kernels::pack::Rows;
use stella_kernels::team::Team;

use crate::base::error::{Error, Result, no_memory, no_team};
use crate::base::limits::{THREAD, default_threads};
use crate::encoder::cpu_encoder::{CpuWorker, GATED_ROWS, attention, scratch_words, worker_bytes};
use crate::encoder::cpu_weights::{BEHIND_NORMS, CpuWeights, Layer, Plan};
use crate::encoder::{CancelFlag, WorkerOptions};
use crate::text::batch::PackedBatch;
use crate::text::tokenizer::{LongText, Tokenizer};
use crate::weights::tensor_table::LayerProduct;
use crate::weights::weight_reader::{LOADING, TensorSink};

/// Texts that the model is looked at with: prose, questions, code, numbers, several scripts. What they say is of no
/// importance; channels that are large are so for any text.
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
/// Tokens of each text that are looked at, at most.
const TOKENS: usize = 32;
/// Tokens of all of them, at most.
const ALL_TOKENS: usize = TOKENS * TEXTS.len();
// The calibration must see all its rows in a single row block.
const _: () = assert!(ALL_TOKENS <= GATED_ROWS);

/// Loads weights in bytes. `read` is called twice: weights that are balanced are packed out of the file again, so that
/// they are rounded once.
pub(crate) fn load(
    plan: Plan<'_>,
    tokenizer: &Tokenizer,
    read: &dyn Fn(TensorSink<'_>) -> Result<()>,
) -> Result<CpuWeights> {
    let (ids, ends) = batch(tokenizer);
    let batch = PackedBatch::new(&ids, &ends, plan.max_tokens, plan.config.vocab_size)?;
    let threads = default_threads();

    let mut weights = vec![Largest::new(plan.config.hidden_size); BEHIND_NORMS.len() * plan.config.layers];
    let mut activations = weights.clone();
    let behind = |layer: usize, product| {
        BEHIND_NORMS
            .iter()
            .position(|&behind| behind == product)
            .map(|norm| BEHIND_NORMS.len() * layer + norm)
    };
    let rounded = CpuWeights::load(plan, Arithmetic::Bf16, &[], read, &mut |layer, product, rows| {
        behind(layer, product).into_iter().for_each(|at| weights[at].take(rows));
    })?;
    let rounded = Arc::new(rounded);
    let options = WorkerOptions { threads, max_batch_tokens: ids.len() };
    let mut worker = CpuWorker::new(Arc::clone(&rounded), options)?;
    worker.run(batch, CancelFlag::default(), &mut |layer, product, input| {
        let wide = || input.widen(batch.tokens());
        behind(layer, product).into_iter().for_each(|at| activations[at].take(Rows::F32(&wide())));
        Ok(())
    })?;

    let factors: Vec<_> = activations.iter().zip(&weights).map(|(x, w)| factors(x, w)).collect();
    let mut bytes = CpuWeights::load(plan, Arithmetic::Int8, &factors, read, &mut |_, _, _| ())?;
    let team = Team::new(threads, scratch_words(plan.config, plan.max_tokens), None)
        .map_err(|e| no_team(e, LOADING))?;
    let mut trial = Trial { weights: &rounded, batch, team };
    let mut far = Vec::new();
    worker.run(batch, CancelFlag::default(), &mut |layer, product, input| {
        let wide = input.widen(batch.tokens());
        let want = trial.output(&rounded.layers[layer], product, &wide)?;
        let distance = distance(&trial.output(&bytes.layers[layer], product, &wide)?, &want);
        log::trace!("layer {layer}, {product:?}: in bytes it is off by {distance:.4}");
        if distance > FARTHEST {
            far.push((distance, layer, product));
        }
        Ok(())
    })?;
    drop(worker);
    let rounded =
        Arc::into_inner(rounded).ok_or_else(|| Error::Internal("a worker outlived its end".to_owned()))?;
    keep_rounded(&mut bytes, rounded, far, spare_bytes(plan));
    Ok(bytes)
}

/// Gives products their rounded weights back, the farthest first, as long as there are bytes to spare.
fn keep_rounded(
    bytes: &mut CpuWeights,
    mut rounded: CpuWeights,
    mut far: Vec<(f64, usize, LayerProduct)>,
    mut spare: u64,
) {
    far.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (distance, layer, product) in far {
        let what = format!("layer {layer}, {product:?}: in bytes it is off by {distance:.3}");
        let kept = bytes.layers[layer].product_mut(product);
        let better = rounded.layers[layer].product_mut(product);
        match spare.checked_sub(better.bytes() - kept.bytes()) {
            Some(left) => {
                spare = left;
                std::mem::swap(kept, better);
                log::info!("{what}, so it stays in bfloat16");
            }
            None => log::warn!("{what}, and there are no bytes to spare for it to stay in bfloat16"),
        }
    }
}

/// How far a product in bytes may be from the rounded one, as a part of it. Most are off by one to three hundredths; what
/// is beyond this shows in the vectors of texts.
const FARTHEST: f64 = 0.04;

/// Bytes that products which stay in bfloat16 may take beyond those that they would take in bytes: a quarter of the
/// weights, so that the estimate of a model holds whatever its weights are.
fn spare_bytes(plan: Plan<'_>) -> u64 {
    CpuWeights::bytes(plan, Arithmetic::Int8) / 4
}

/// Bytes of memory that the weights take at most, and what loading takes beside them: first come all weights in bfloat16,
/// and forwards with them.
pub(crate) fn memory(plan: Plan<'_>) -> (u64, u64) {
    let (rounded, threads) = (Arithmetic::Bf16, default_threads());
    let forward = worker_bytes(plan, rounded, ALL_TOKENS, threads) + 2 * THREAD * threads as u64;
    let widest = plan.config.intermediate_size.max(3 * plan.config.hidden_size);
    let trial = (TRIAL_ROWS * ALL_TOKENS * widest * size_of::<f32>()) as u64;
    let loading = (CpuWeights::bytes(plan, rounded) + forward + trial).saturating_sub(spare_bytes(plan));
    (CpuWeights::bytes(plan, Arithmetic::Int8) + spare_bytes(plan), loading)
}

/// What a trial holds of each token: its input, that as activations, twice, and two results.
const TRIAL_ROWS: usize = 5;

/// Products of the same activations with different weights.
struct Trial<'a> {
    weights: &'a CpuWeights,
    batch: PackedBatch<'a>,
    team: Team,
}

impl Trial<'_> {
    /// What becomes of a product of `x` up to where the next one begins.
    fn output(&mut self, layer: &Layer, which: LayerProduct, x: &[f32]) -> Result<Vec<f32>> {
        let (weights, product) = (self.weights, layer.product(which));
        let (kernels, team, rows) = (weights.kernels, &mut self.team, self.batch.tokens());
        let room = |arithmetic, width| kernels.activations(arithmetic, rows, width).map_err(no_memory);
        let mut input = room(product.arithmetic(), product.inputs())?;
        kernels.take(team, x, product.input_factors(), &mut input);
        if which == LayerProduct::UpGate {
            let mut gated = room(Arithmetic::F32, product.outputs())?;
            product.multiply(kernels, team, &input, 0..rows, Then::Gate(weights.gate(), &mut gated, &mut []));
            return Ok(gated.widen(rows));
        }
        let mut out = vec![0.0; rows * product.outputs()];
        product.multiply(kernels, team, &input, 0..rows, Then::Store(&mut out));
        if which == LayerProduct::Qkv {
            let mut attended = room(Arithmetic::F32, weights.config.hidden_size)?;
            attention(weights).attend(kernels, team, &mut out, self.batch.cu_seqlens(), &mut attended);
            return Ok(attended.widen(rows));
        }
        Ok(out)
    }
}

/// How far numbers are from what they should be, as a part of that. What is not a number is as far as can be.
fn distance(got: &[f32], want: &[f32]) -> f64 {
    let square = |x: f32| f64::from(x) * f64::from(x);
    let off: f64 = got.iter().zip(want).map(|(a, b)| square(a - b)).sum();
    let part = if off == 0.0 { 0.0 } else { (off / want.iter().map(|&x| square(x)).sum::<f64>()).sqrt() };
    if part.is_nan() { f64::INFINITY } else { part }
}

/// The texts as packed token ids, and where each begins and the last ends. One that this tokenizer cannot cut is left out.
fn batch(tokenizer: &Tokenizer) -> (Vec<u32>, Vec<u32>) {
    let (mut ids, mut ends) = (Vec::new(), vec![0]);
    for text in TEXTS {
        let begin = ids.len();
        match tokenizer.encode(0, text, LongText::Truncate, &mut ids, None) {
            Ok(_) => {
                ids.truncate(begin + TOKENS);
                ends.push(ids.len() as u32);
            }
            Err(error) => {
                ids.truncate(begin);
                log::warn!("the model is not looked at with {text:?}: {error}");
            }
        }
    }
    (ids, ends)
}

/// The largest number of each channel of some rows.
#[derive(Debug, Clone)]
struct Largest(Vec<f32>);

impl Largest {
    fn new(width: usize) -> Self {
        Self(vec![0.0; width])
    }

    /// Looks at more rows.
    fn take(&mut self, rows: Rows<'_>) {
        rows.largest_by_channel(&mut self.0);
    }
}

/// Channels count as at least this part of the mean: one that the texts do not touch is not made larger without end.
const FLOOR: f32 = 1.0 / 16.0;

/// Factors for channels of activations, by which the weights that they meet are multiplied.
fn factors(activations: &Largest, weights: &Largest) -> Vec<f32> {
    let floored = |largest: &Largest| {
        let numbers = largest.0.clone();
        let floor = FLOOR * numbers.iter().sum::<f32>() / numbers.len().max(1) as f32;
        numbers.into_iter().map(move |x| x.max(floor))
    };
    let ratios = floored(activations).zip(floored(weights)).map(|(x, w)| x / w);
    let useful = |ratio: f32| ratio > 0.0 && ratio.is_finite();
    ratios.map(|ratio| if useful(ratio) { (0.5 * ratio.log2()).round().exp2() } else { 1.0 }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn largest(rows: &[[f32; 4]]) -> Largest {
        let mut largest = Largest::new(4);
        rows.iter().for_each(|row| largest.take(Rows::F32(row)));
        largest
    }

    #[test]
    fn factors_move_half_of_the_range_and_are_powers_of_two() {
        let activations = largest(&[[1.0, -64.0, 0.5, 4.0], [-4.0, 3.0, 1.0, 0.0]]);
        let weights = largest(&[[1.0, 1.0, 0.25, 0.0], [0.5, -0.1, -1.0, 0.0]]);
        // The last weights are all zero, which counts as a sixteenth of the mean, 0.75.
        assert_eq!(factors(&activations, &weights), [2.0, 8.0, 1.0, 8.0]);
    }

    #[test]
    fn a_distance_is_a_part_of_what_should_be() {
        assert_eq!(distance(&[3.0, 4.5], &[3.0, 4.0]), 0.1);
        assert_eq!((distance(&[0.0], &[0.0]), distance(&[], &[])), (0.0, 0.0));
        assert_eq!(distance(&[f32::NAN], &[1.0]), f64::INFINITY);
        assert_eq!(distance(&[1.0], &[0.0]), f64::INFINITY);
    }

    #[test]
    fn what_says_nothing_changes_nothing() {
        assert_eq!(factors(&Largest::new(4), &Largest::new(4)), [1.0; 4]);
        assert_eq!(factors(&largest(&[[f32::INFINITY; 4]]), &largest(&[[1.0; 4]])), [1.0; 4]);
    }
}
