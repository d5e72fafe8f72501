//! The reference encoder: `candle-transformers`' own `stella_en_v5`, unchanged.

use std::sync::{Mutex, PoisonError};

use candle_core::{DType, Device, Shape, Tensor};
use candle_nn::{Activation, Init, VarBuilder, var_builder::SimpleBackend};
use candle_transformers::models::stella_en_v5 as stella;
use stella_kernels::payload::into_text;
use stella_kernels::spawn::spawn;

use crate::batch::PackedBatch;
use crate::config::{Architecture, ModelConfig};
use crate::encoder::{CancelFlag, Encoder, Worker, WorkerOptions, thread_start};
use crate::error::{Error, Result};
use crate::fault::{Stage, reach};
use crate::tensor::Tensors;

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
    /// Takes the weights.
    ///
    /// # Errors
    /// [`Error::Internal`] for anything that the checks before should have caught.
    pub fn new(config: &ModelConfig, max_tokens: usize, weights: Tensors) -> Result<Self> {
        reach(Stage::Encoder);
        let failed = Failed::default();
        let backend = Backend { weights: Mutex::new(weights), failed: &failed };
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
        Architecture::New => (stella::ModelVariant::Small, Activation::Gelu),
        Architecture::Qwen2 => (stella::ModelVariant::Large, Activation::Silu),
    };
    stella::Config {
        variant,
        vocab_size: config.vocab_size,
        hidden_size: config.hidden_size,
        intermediate_size: config.intermediate_size,
        num_hidden_layers: config.layers,
        num_attention_heads: config.heads,
        max_position_embeddings: max_tokens,
        rope_theta: config.rope_theta,
        embed_head: stella::EmbedHead::default(),
        norm_eps: config.norm_eps,
        activation_fn,
        num_key_value_heads: config.kv_heads,
        type_vocab_size: config.type_vocab_size,
        scaling_factor: config.rope_ntk_factor.unwrap_or(0.0),
    }
}

#[derive(Default)]
struct Failed(Mutex<Option<Error>>);

/// Gives candle the tensors that it asks for, each taken when it is asked for.
struct Backend<'a> {
    weights: Mutex<Tensors>,
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
        let tensor = self.get_unchecked(name, dtype, device)?;
        if tensor.shape() != &shape {
            candle_core::bail!("tensor {name} has shape {:?}, candle wants {shape:?}", tensor.shape());
        }
        Ok(tensor)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, device: &Device) -> candle_core::Result<Tensor> {
        let taken = self.weights.lock().unwrap_or_else(PoisonError::into_inner).take(name);
        match taken {
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
        self.weights.lock().unwrap_or_else(PoisonError::into_inner).contains(name)
    }
}

/// Candle's message without the backtrace that it appends when `RUST_BACKTRACE` is set.
fn plain(error: candle_core::Error) -> String {
    match error {
        candle_core::Error::WithBacktrace { inner, .. } => plain(*inner),
        other => other.to_string(),
    }
}
