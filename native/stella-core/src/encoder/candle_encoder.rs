//! The reference encoder: `candle-transformers`' own `stella_en_v5`, unchanged.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use candle_core::{DType, Device, Shape, Tensor};
use candle_nn::{Activation, Init, VarBuilder, var_builder::SimpleBackend};
use candle_transformers::models::stella_en_v5 as stella;
use stella_kernels::payload::into_text;
use stella_kernels::spawn::spawn;

use crate::base::error::{Error, Result};
use crate::base::fault_injection::{Stage, reach};
use crate::encoder::{CancelFlag, Encoder, Worker, WorkerOptions, thread_start};
use crate::files::config::{Architecture, ModelConfig};
use crate::text::batch::PackedBatch;
use crate::weights::tensor::Tensors;
use crate::weights::tensor_table::{Naming, TensorSlot, TensorSpec, encoder_tensors};

/// The largest factor of a static NTK scaling.
const MAX_NTK_FACTOR: f64 = 64.5;

/// Candle's model with its weights.
#[derive(Debug)]
pub struct CandleEncoder {
    model: stella::Model,
    hidden_size: usize,
}

/// Candle's model with threads and the last result. Texts are run one by one: without padding there is nothing in a
/// batch that could change a text's result.
#[derive(Debug)]
struct CandleWorker {
    /// Candle's forward takes `&mut self` though it changes nothing. A clone shares every weight.
    model: stella::Model,
    hidden_size: usize,
    hidden: Vec<f32>,
    threads: rayon::ThreadPool,
}

impl CandleEncoder {
    /// Whether candle computes a model of this shape: of rotary positions it knows static NTK scaling alone, by a factor
    /// that its table of positions grows with.
    ///
    /// # Errors
    /// What it does not compute.
    pub(crate) fn check(config: &ModelConfig) -> std::result::Result<(), String> {
        let factor = config.rope.ntk_factor(config.head_dim());
        if factor > MAX_NTK_FACTOR {
            return Err("the rotary scaling is not computed by the candle encoder; use the kernels encoder"
                .to_owned());
        }
        Ok(())
    }

    /// Takes the weights.
    ///
    /// # Errors
    /// [`Error::Internal`] for anything that the checks before should have caught.
    pub fn new(config: &ModelConfig, naming: Naming, max_tokens: usize, weights: Tensors) -> Result<Self> {
        reach(Stage::Encoder);
        let failed = Failed::default();
        let backend = Backend {
            weights: Mutex::new(weights),
            stored: stored_names(config, naming),
            config,
            failed: &failed,
        };
        let builder = VarBuilder::from_backend(Box::new(backend), DType::F32, Device::Cpu);
        let model = stella::Model::new(&candle_config(config, max_tokens), builder);
        // Candle would flatten our error to text; the first one is kept beside it.
        match (failed.0.into_inner(), model) {
            (Ok(Some(error)), _) => Err(error),
            (_, Ok(model)) => Ok(Self { model, hidden_size: config.hidden_size }),
            (_, Err(e)) => Err(Error::Internal(format!("candle refused checked weights: {}", plain(e)))),
        }
    }
}

impl Encoder for CandleEncoder {
    fn worker(&self, options: WorkerOptions) -> Result<Box<dyn Worker>> {
        let WorkerOptions { threads, .. } = options;
        let start = thread_start();
        let builder = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|n| format!("stella-{n}"))
            .start_handler(move |_| start());
        // Without a handler rayon ends the process where the start of a thread panics. The thread goes on.
        let builder = builder.panic_handler(|payload| {
            let text = into_text(payload).unwrap_or_default();
            log::error!("a thread of a session panicked at its start: {text}");
        });
        let mut refused = None;
        let builder = builder.spawn_handler(|thread| {
            let name = thread.name().unwrap_or("stella").to_owned();
            let index = thread.index() + 1;
            spawn(name, || thread.run()).map(drop).map_err(|source| {
                let kind = source.kind();
                refused = Some((index, source));
                kind.into()
            })
        });
        let built = builder.build();
        let threads = built.map_err(|e| match refused {
            Some((index, source)) => {
                Error::ThreadRefused { what: "for a session", index, count: threads, source }
            }
            None => Error::Internal(format!("{threads} threads could not be started: {e}")),
        })?;
        let (model, hidden_size) = (self.model.clone(), self.hidden_size);
        Ok(Box::new(CandleWorker { model, hidden_size, hidden: Vec::new(), threads }))
    }
}

impl Worker for CandleWorker {
    fn forward(&mut self, batch: PackedBatch<'_>, cancel: CancelFlag<'_>) -> Result<&[f32]> {
        self.hidden.resize(batch.tokens() * self.hidden_size, 0.0);
        let mut rest = self.hidden.as_mut_slice();
        for range in batch.ranges() {
            cancel.check()?;
            let ids = &batch.ids()[range];
            let model = &mut self.model;
            let states = self
                .threads
                .install(|| forward_text(model, ids))
                .map_err(|e| Error::ForwardFailed(plain(e).into()))?;
            let (rows, after) = rest.split_at_mut_checked(states.len()).ok_or_else(|| {
                Error::Internal("candle gave more hidden states than there are tokens".into())
            })?;
            rows.copy_from_slice(&states);
            rest = after;
        }
        Ok(&self.hidden)
    }
}

/// Hidden states `[1, tokens, hidden_size]` of one text.
fn forward_text(model: &mut stella::Model, ids: &[u32]) -> candle_core::Result<Vec<f32>> {
    reach(Stage::Forward);
    let ids = Tensor::from_slice(ids, (1, ids.len()), &Device::Cpu)?;
    let mask = ids.ones_like()?;
    model.forward(&ids, &mask)?.flatten_all()?.to_vec1::<f32>()
}

/// Candle's configuration. Its tables of rotary positions are made for `max_tokens`, not for the 131,072
/// positions that the 1.5B model could take.
fn candle_config(config: &ModelConfig, max_tokens: usize) -> stella::Config {
    let (variant, activation_fn) = match config.architecture {
        Architecture::NewModel => (stella::ModelVariant::Small, Activation::Gelu),
        Architecture::Qwen2 => (stella::ModelVariant::Large, Activation::Silu),
    };
    let ntk_factor = config.rope.ntk_factor(config.head_dim());
    stella::Config {
        variant,
        vocab_size: config.vocab_size,
        hidden_size: config.hidden_size,
        intermediate_size: config.intermediate_size,
        num_hidden_layers: config.layers,
        num_attention_heads: config.heads,
        max_position_embeddings: max_tokens,
        rope_theta: config.rope.base / ntk_factor,
        embed_head: stella::EmbedHead::default(),
        norm_eps: config.norm_eps,
        activation_fn,
        num_key_value_heads: config.kv_heads,
        // Candle adds a row of this table. Without a table, the backend gives it zeros.
        type_vocab_size: config.type_vocab_size.max(1),
        scaling_factor: if ntk_factor == 1.0 { 0.0 } else { ntk_factor },
    }
}

#[derive(Default)]
struct Failed(Mutex<Option<Error>>);

/// Gives candle the tensors that it asks for, each taken when it is asked for.
struct Backend<'a> {
    weights: Mutex<Tensors>,
    stored: HashMap<String, Vec<String>>,
    config: &'a ModelConfig,
    failed: &'a Failed,
}

impl SimpleBackend for Backend<'_> {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        _: Init,
        dtype: DType,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        let is_type = name.ends_with("token_type_embeddings.weight");
        if is_type && self.config.type_vocab_size == 0 {
            return Tensor::zeros(shape, dtype, device);
        }
        let tensor = self.get_unchecked(name, dtype, device)?;
        if tensor.shape() != &shape {
            candle_core::bail!("tensor {name} has shape {:?}, candle wants {shape:?}", tensor.shape());
        }
        Ok(tensor)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, device: &Device) -> candle_core::Result<Tensor> {
        match self.take(name) {
            Ok((shape, values)) => Tensor::from_vec(values, shape, device)?.to_dtype(dtype),
            Err(error) => {
                let text = error.to_string();
                if let Ok(mut first) = self.failed.0.lock() {
                    first.get_or_insert(error);
                }
                candle_core::bail!("{text}")
            }
        }
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.stored.contains_key(name)
    }
}

impl Backend<'_> {
    /// Takes what candle calls `name`: all tensors of the checkpoint that it is made of, one under the other.
    fn take(&self, name: &str) -> Result<(Vec<usize>, Vec<f32>)> {
        let mut weights = self.weights.lock().unwrap_or_else(PoisonError::into_inner);
        let mut parts = self.stored.get(name).into_iter().flatten().map(|stored| weights.take(stored));
        let none = || Err(Error::Internal(format!("candle asks for {name}, which no checkpoint has")));
        let (mut shape, mut values) = parts.next().unwrap_or_else(none)?;
        for part in parts {
            let (more_shape, more) = part?;
            shape[0] += more_shape[0];
            values.extend(more);
        }
        Ok((shape, values))
    }
}

/// The tensors of the checkpoint that make each of those that candle asks for. It calls them as the published models do.
fn stored_names(config: &ModelConfig, naming: Naming) -> HashMap<String, Vec<String>> {
    let stored = encoder_tensors(config, naming);
    let parts = |(spec, slot): (TensorSpec, TensorSlot)| {
        let parts = stored.iter().filter(|(_, part)| part.is_within(slot, spec.shape[0]));
        (spec.name, parts.map(|(part, _)| part.name.clone()).collect())
    };
    encoder_tensors(config, Naming::published(config.architecture)).into_iter().map(parts).collect()
}

/// Candle's message without the backtrace that it appends when `RUST_BACKTRACE` is set.
fn plain(error: candle_core::Error) -> String {
    match error {
        candle_core::Error::WithBacktrace { inner, .. } => plain(*inner),
        other => other.to_string(),
    }
}
