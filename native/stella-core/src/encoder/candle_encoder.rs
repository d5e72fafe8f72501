//! The reference encoder: the unchanged `stella_en_v5` model of `candle-transformers`, in f32.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use candle_core::{DType, Device, Shape, Tensor};
use candle_nn::{Activation, Init, VarBuilder, var_builder::SimpleBackend};
use candle_transformers::models::stella_en_v5 as stella;
use stella_kernels::payload::into_text;
use stella_kernels::spawn::spawn;

use crate::base::error::{Error, Result};
use crate::base::fault_injection::{Stage, reach};
use crate::encoder::{CancelFlag, Encoder, EncoderState, EncoderStateOptions, thread_start};
use crate::files::config::{Architecture, ModelConfig};
use crate::text::batch::PackedBatch;
use crate::weights::tensor::Tensors;
use crate::weights::tensor_table::{Naming, TensorSlot, TensorSpec, encoder_tensors};

/// The largest factor of static NTK rotary scaling that the candle encoder accepts.
const MAX_NTK_FACTOR: f64 = 64.5;

/// The model of candle with its weights.
#[derive(Debug)]
pub struct CandleEncoder {
    model: stella::Model,
    hidden_size: usize,
}

/// The threads and the last hidden states of one session. Texts run one by one: without padding, a text cannot change
/// the result of another one.
#[derive(Debug)]
struct CandleEncoderState {
    /// The forward pass of candle takes `&mut self` although it changes nothing. A clone shares every weight.
    model: stella::Model,
    hidden_size: usize,
    hidden: Vec<f32>,
    threads: rayon::ThreadPool,
}

impl CandleEncoder {
    /// Checks that candle can compute a model of this configuration. The only rotary scaling that it supports is static
    /// NTK scaling up to a factor, because its table of positions grows with this factor.
    ///
    /// # Errors
    /// The reason why candle cannot compute it.
    pub(crate) fn check(config: &ModelConfig) -> std::result::Result<(), String> {
        let factor = config.rope.ntk_factor(config.head_dim());
        if factor > MAX_NTK_FACTOR {
            return Err(format!(
                "The rotary scaling corresponds to static NTK scaling by {factor:?}. The candle encoder computes factors up \
                 to {MAX_NTK_FACTOR}. Use the kernels encoder."
            ));
        }
        Ok(())
    }

    /// Builds the model from its weights.
    ///
    /// # Errors
    /// [`Error::Internal`] for any fault that an earlier check should have found.
    pub fn new(config: &ModelConfig, naming: Naming, max_tokens: usize, weights: Tensors) -> Result<Self> {
        reach(Stage::Encoder);
        let first_error = FirstError::default();
        let backend = Backend {
            weights: Mutex::new(weights),
            stored: stored_names(config, naming),
            config,
            first_error: &first_error,
        };
        let builder = VarBuilder::from_backend(Box::new(backend), DType::F32, Device::Cpu);
        let model = stella::Model::new(&candle_config(config, max_tokens), builder);
        // Candle turns an error of the backend into text, so the backend keeps its first error itself.
        match (first_error.0.into_inner(), model) {
            (Ok(Some(error)), _) => Err(error),
            (_, Ok(model)) => Ok(Self { model, hidden_size: config.hidden_size }),
            (_, Err(e)) => {
                Err(Error::Internal(format!("Candle refused checked weights: {}.", without_backtrace(e))))
            }
        }
    }
}

impl Encoder for CandleEncoder {
    fn new_state(&self, options: EncoderStateOptions) -> Result<Box<dyn EncoderState>> {
        let EncoderStateOptions { threads, .. } = options;
        let start = thread_start();
        let builder = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|n| format!("stella-{n}"))
            .start_handler(move |_| start());
        // Without this handler, rayon aborts the process if the start handler of a thread panics. With it, the thread runs.
        let builder = builder.panic_handler(|payload| {
            let text = into_text(payload).unwrap_or_default();
            log::error!("A thread of a session panicked at its start: {text}.");
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
            None => Error::Internal(format!("Could not start {threads} threads: {e}.")),
        })?;
        let (model, hidden_size) = (self.model.clone(), self.hidden_size);
        Ok(Box::new(CandleEncoderState { model, hidden_size, hidden: Vec::new(), threads }))
    }
}

impl EncoderState for CandleEncoderState {
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
                .map_err(|e| Error::ForwardFailed(without_backtrace(e).into()))?;
            let (rows, after) = rest.split_at_mut_checked(states.len()).ok_or_else(|| {
                Error::Internal("Candle returned more hidden states than the batch has tokens.".into())
            })?;
            rows.copy_from_slice(&states);
            rest = after;
        }
        Ok(&self.hidden)
    }
}

/// Runs a forward pass over one text. Returns its hidden states, `[1, tokens, hidden_size]`.
fn forward_text(model: &mut stella::Model, ids: &[u32]) -> candle_core::Result<Vec<f32>> {
    reach(Stage::Forward);
    let ids = Tensor::from_slice(ids, (1, ids.len()), &Device::Cpu)?;
    let mask = ids.ones_like()?;
    model.forward(&ids, &mask)?.flatten_all()?.to_vec1::<f32>()
}

/// Returns the configuration of candle's model. Its rotary tables have `max_tokens` positions, not the 131,072 positions
/// that Stella 1.5B supports.
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
        // Candle always adds a row of this table. For a model without the table, the backend returns zeros.
        type_vocab_size: config.type_vocab_size.max(1),
        scaling_factor: if ntk_factor == 1.0 { 0.0 } else { ntk_factor },
    }
}

/// The first error of a [`Backend`].
#[derive(Default)]
struct FirstError(Mutex<Option<Error>>);

/// Hands tensors over to candle when it asks for them. Each tensor leaves `weights`, so that no copy stays.
struct Backend<'a> {
    weights: Mutex<Tensors>,
    stored: HashMap<String, Vec<String>>,
    config: &'a ModelConfig,
    first_error: &'a FirstError,
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
            candle_core::bail!("tensor {name} has shape {:?}, but candle needs {shape:?}", tensor.shape());
        }
        Ok(tensor)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, device: &Device) -> candle_core::Result<Tensor> {
        match self.take(name) {
            Ok((shape, values)) => Tensor::from_vec(values, shape, device)?.to_dtype(dtype),
            Err(error) => {
                let text = error.to_string();
                if let Ok(mut first) = self.first_error.0.lock() {
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
    /// Takes the tensor that candle calls `name`: the rows of all stored tensors that it consists of, in order.
    fn take(&self, name: &str) -> Result<(Vec<usize>, Vec<f32>)> {
        let mut weights = self.weights.lock().unwrap_or_else(PoisonError::into_inner);
        let mut parts = self.stored.get(name).into_iter().flatten().map(|stored| weights.take(stored));
        let none =
            || Err(Error::Internal(format!("Candle asks for tensor {name}, which no checkpoint has.")));
        let (mut shape, mut values) = parts.next().unwrap_or_else(none)?;
        for part in parts {
            let (more_shape, more) = part?;
            shape[0] += more_shape[0];
            values.extend(more);
        }
        Ok((shape, values))
    }
}

/// Maps each tensor name that candle asks for to the stored tensors that it consists of. Candle uses the tensor names of
/// the published models.
fn stored_names(config: &ModelConfig, naming: Naming) -> HashMap<String, Vec<String>> {
    let stored = encoder_tensors(config, naming);
    let parts = |(spec, slot): (TensorSpec, TensorSlot)| {
        let parts = stored.iter().filter(|(_, part)| part.is_within(slot, spec.shape[0]));
        (spec.name, parts.map(|(part, _)| part.name.clone()).collect())
    };
    encoder_tensors(config, Naming::published(config.architecture)).into_iter().map(parts).collect()
}

/// Returns the message of a candle error without the backtrace that candle appends when `RUST_BACKTRACE` is set.
fn without_backtrace(error: candle_core::Error) -> String {
    match error {
        candle_core::Error::WithBacktrace { inner, .. } => without_backtrace(*inner),
        other => other.to_string(),
    }
}
