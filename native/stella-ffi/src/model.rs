//! Models: open, describe, free.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use stella_core::encoder::EncoderKind;
use stella_core::files::config::Architecture;
use stella_core::files::folder::ModelFolder;
use stella_core::files::pooling_config::PoolingMode;
use stella_core::memory_estimate::Workload;
use stella_core::model::Model;
use stella_core::model_options::{ModelOptions, Precision};
use stella_core::model_registry;
use stella_core::weights::weight_set::LoadMode;

use crate::args;
use crate::boundary::{fallible, infallible};
use crate::error::StellaError;
use crate::hash;
use crate::heap;
use crate::live::{Counted, StellaHandleKind};
use crate::log::{LogSink, StellaLogSink};

/// A loaded model. Immutable; any number of threads may use it at once.
#[derive(Debug)]
pub struct StellaModel {
    pub(crate) model: Arc<Model>,
    pub(crate) sink: Option<Arc<LogSink>>,
    _counted: Counted,
}

/// The arithmetic of the encoder.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StellaPrecision {
    /// Chosen by the machine.
    Auto = 0,
    /// 32-bit floating point.
    F32 = 1,
    /// bfloat16 weights, 32-bit sums.
    Bf16 = 2,
    /// 8-bit integers.
    Int8 = 3,
}

/// The values of [`StellaPrecision`] in order.
const PRECISIONS: [Precision; 4] = [Precision::Auto, Precision::F32, Precision::Bf16, Precision::Int8];

/// Which implementation computes.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StellaEncoder {
    /// The library's own kernels.
    Kernels = 0,
    /// candle's model, the reference: in 32 bits, and slower.
    Candle = 1,
}

/// The values of [`StellaEncoder`] in order.
const ENCODERS: [EncoderKind; 2] = [EncoderKind::Kernels, EncoderKind::Candle];

/// Instructions that are used.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StellaCpuLevel {
    /// Those of every processor.
    Portable = 0,
    /// AVX2 and FMA.
    Avx2 = 1,
    /// AVX-512.
    Avx512 = 2,
    /// AVX-512 with products of bytes.
    Avx512Vnni = 3,
    /// AVX-512 with products of bytes and bfloat16.
    Avx512Bf16 = 4,
    /// Tiles.
    Amx = 5,
}

/// How the bytes of weights come into memory.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StellaLoadMode {
    /// By ordinary reads.
    Copied = 0,
    /// Out of a map.
    Mapped = 1,
}

/// The values of [`StellaLoadMode`] in order.
const LOAD_MODES: [LoadMode; 2] = [LoadMode::Copied, LoadMode::Mapped];

/// The kind of encoder.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StellaArchitecture {
    /// NewModel, of the 400M model.
    New = 0,
    /// Qwen2 without its causal mask, of the 1.5B model.
    Qwen2 = 1,
}

/// Which tokens of a text make its vector.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StellaPooling {
    /// All of them: the mean of their hidden states.
    Mean = 0,
    /// The first one.
    Cls = 1,
    /// The last one.
    LastToken = 2,
}

/// Where the encoder computes.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StellaDevice {
    /// The processor.
    Cpu = 0,
}

/// How to open a model.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct StellaModelOptions {
    /// Size of this struct in bytes.
    pub size: u32,
    /// A value of StellaPrecision.
    pub precision: u32,
    /// Tokens that a text may have, 1 to 8192; 0 for what the folder says, at most as many as the model has positions, or
    /// for 512 if the folder says nothing.
    pub max_tokens: u32,
    /// The head that is used when a call names none; 0 for the one that modules.json names.
    pub dimension: u32,
    /// A value of StellaLoadMode.
    pub load_mode: u32,
    /// 0 to refuse weights that are NaN or infinite, 1 to load them unseen.
    pub unchecked_weights: u32,
    /// A value of StellaEncoder.
    pub encoder: u32,
    /// Not used; 0.
    pub reserved: u32,
    /// Path of the manifest of the folder's files, as UTF-8; null for the one in the folder, if there is one.
    pub manifest: *const u8,
    /// Length of `manifest` in bytes.
    pub manifest_length: usize,
}

impl Default for StellaModelOptions {
    fn default() -> Self {
        Self {
            size: size_of::<Self>() as u32,
            precision: StellaPrecision::Auto as u32,
            max_tokens: 0,
            dimension: 0,
            load_mode: StellaLoadMode::Copied as u32,
            unchecked_weights: 0,
            encoder: StellaEncoder::Kernels as u32,
            reserved: 0,
            manifest: std::ptr::null(),
            manifest_length: 0,
        }
    }
}

/// What a model is.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct StellaModelInfo {
    /// Size of this struct in bytes, to be set before the call.
    pub size: u32,
    /// A value of StellaArchitecture.
    pub architecture: u32,
    /// What is computed: a value of StellaPrecision, never Auto.
    pub precision: u32,
    /// A value of StellaDevice.
    pub device: u32,
    /// Width of a hidden state.
    pub hidden_size: u32,
    /// Number of layers.
    pub layers: u32,
    /// Number of attention heads.
    pub heads: u32,
    /// Rows of the embedding table.
    pub vocabulary_size: u32,
    /// Tokens that a text may have.
    pub max_tokens: u32,
    /// Length of the vectors of a call that names no dimension.
    pub default_dimension: u32,
    /// Number of dimensions for which there is a head.
    pub dimension_count: u32,
    /// A value of StellaEncoder.
    pub encoder: u32,
    /// A value of StellaCpuLevel.
    pub cpu_level: u32,
    /// Special tokens that are added to every text.
    pub frame_tokens: u32,
    /// A value of StellaPooling.
    pub pooling: u32,
    /// 1 where the tokens of a prompt take no part in a text's vector, else 0.
    pub leaves_prompt_out: u32,
    /// Number of prompts.
    pub prompt_count: u32,
    /// The default prompt, for texts without a named one, counted from 1; 0 for none.
    pub default_prompt: u32,
    /// Parameters of the encoder and the default head.
    pub parameters: u64,
    /// Estimated bytes of the model with one session at its peak.
    pub memory_estimate: u64,
    /// Bytes of prompt and text that the tokenizer looks at; the rest of a longer text is cut. Characters
    /// without a token do not count: see stella_model_condense.
    pub max_text_bytes: u64,
    /// Hash of the stamps (path, length, times, device, inode) of the folder's files when the model was opened. Equal in
    /// every process on one machine; differs once a file was changed, replaced or touched.
    pub file_stamp: u64,
}

/// Opens the model in a folder. `options` may be null for the defaults, `sink` for silence. A folder that is open
/// already with the same options is not loaded again: both handles share its weights.
///
/// # Safety
/// `path` points to `path_length` bytes of UTF-8; `options` is null or points to options that say their size and
/// whose `manifest` is null or points to `manifest_length` bytes;
/// `sink` is null or a live sink; `model` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stella_model_open(
    path: *const u8,
    path_length: usize,
    options: *const StellaModelOptions,
    sink: *const StellaLogSink,
    model: *mut *mut StellaModel,
) -> *mut StellaError {
    // SAFETY: this function's contract.
    let sink = unsafe { crate::log::optional(sink) };
    fallible(sink.as_ref().ok().cloned().flatten(), || {
        let sink = sink?;
        // SAFETY: this function's contract.
        let (path, options, out) = unsafe {
            (
                args::slice(path, path_length, "path")?,
                args::sized(options, "options")?,
                args::required_mut(model, "model")?,
            )
        };
        let path = args::utf8(path, "path")?;
        // SAFETY: this function's contract.
        let options = unsafe { core_options(&options) }?;
        let model = model_registry::open(Path::new(path), &options)?;
        let handle = StellaModel { model, sink, _counted: Counted::new(StellaHandleKind::Model) };
        *out = Box::into_raw(Box::new(handle));
        Ok(())
    })
}

/// What a model is to do, as far as memory depends on it.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct StellaWorkload {
    /// Size of this struct in bytes.
    pub size: u32,
    /// Sessions that embed at once, 1 to 65536; 0 for 1.
    pub sessions: u32,
    /// Threads of each, as in StellaSessionOptions.
    pub threads: u32,
    /// Tokens that one call may carry, as in StellaSessionOptions; more where a text may be longer.
    pub max_batch_tokens: u32,
}

/// Memory in bytes, by what it is for.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct StellaMemoryEstimate {
    /// Size of this struct in bytes, to be set before the call.
    pub size: u32,
    /// Not used; 0.
    pub reserved: u32,
    /// Encoder, default head and rotary tables, shared by all sessions.
    pub weights: u64,
    /// The tokenizer.
    pub tokenizer: u64,
    /// What loading takes beside the weights, and gives back.
    pub loading: u64,
    /// The peak of one session.
    pub session: u64,
    /// All of it, at the worse of two peaks: the end of loading, and all sessions at work.
    pub total: u64,
}

/// Estimates the memory that the model in a folder would take, from its configuration and the headers of its files.
/// Nothing is loaded. Path and options as for `stella_model_open`; `workload` may be null for one session with the
/// defaults. `estimate->size` must be set.
///
/// # Safety
/// As for `stella_model_open`; `workload` is null or points to a workload that says its size; `estimate` points to a
/// writable struct whose size field is readable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stella_model_estimate(
    path: *const u8,
    path_length: usize,
    options: *const StellaModelOptions,
    workload: *const StellaWorkload,
    estimate: *mut StellaMemoryEstimate,
) -> *mut StellaError {
    fallible(None, || {
        // SAFETY: this function's contract.
        let (path, options, workload, out) = unsafe {
            (
                args::slice(path, path_length, "path")?,
                args::sized(options, "options")?,
                args::sized(workload, "workload")?,
                args::sized_mut(estimate, "estimate")?,
            )
        };
        let path = args::utf8(path, "path")?;
        // SAFETY: this function's contract.
        let options = unsafe { core_options(&options) }?;
        let workload = Workload {
            sessions: args::optional(workload.sessions).unwrap_or(1),
            threads: args::optional(workload.threads),
            max_batch_tokens: args::optional(workload.max_batch_tokens),
        };
        let folder = ModelFolder::open(Path::new(path), options.manifest.as_deref())?;
        let found = Model::estimate(folder, &options, &workload)?;
        *out = StellaMemoryEstimate {
            size: out.size,
            reserved: 0,
            weights: found.weights,
            tokenizer: found.tokenizer,
            loading: found.loading,
            session: found.session,
            total: found.total(),
        };
        Ok(())
    })
}

/// Options as the core takes them.
///
/// # Safety
/// `options.manifest` is null or points to `options.manifest_length` bytes.
unsafe fn core_options(options: &StellaModelOptions) -> stella_core::Result<ModelOptions> {
    // SAFETY: this function's contract.
    let manifest = unsafe { args::slice(options.manifest, options.manifest_length, "options.manifest") }?;
    let manifest = args::utf8(manifest, "options.manifest")?;
    Ok(ModelOptions {
        max_tokens: args::optional(options.max_tokens),
        dimension: args::optional(options.dimension),
        precision: args::choice(options.precision, &PRECISIONS, "options.precision")?,
        mode: args::choice(options.load_mode, &LOAD_MODES, "options.load_mode")?,
        check_weights: args::choice(options.unchecked_weights, &[true, false], "options.unchecked_weights")?,
        encoder: args::choice(options.encoder, &ENCODERS, "options.encoder")?,
        level: None,
        manifest: (!manifest.is_empty()).then(|| PathBuf::from(manifest)),
    })
}

/// Describes a model. `info->size` must be set.
///
/// # Safety
/// `model` is a live model; `info` points to a writable struct whose size field is readable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stella_model_info(
    model: *const StellaModel,
    info: *mut StellaModelInfo,
) -> *mut StellaError {
    fallible(None, || {
        // SAFETY: this function's contract.
        let (model, out) =
            unsafe { (&args::required(model, "model")?.model, args::sized_mut(info, "info")?) };
        let config = model.config();
        *out = StellaModelInfo {
            size: out.size,
            architecture: match config.architecture {
                Architecture::NewModel => StellaArchitecture::New,
                Architecture::Qwen2 => StellaArchitecture::Qwen2,
            } as u32,
            precision: PRECISIONS.iter().position(|&p| p == model.precision()).unwrap_or_default() as u32,
            device: StellaDevice::Cpu as u32,
            hidden_size: narrow(config.hidden_size)?,
            layers: narrow(config.layers)?,
            heads: narrow(config.heads)?,
            vocabulary_size: narrow(config.vocab_size)?,
            max_tokens: narrow(model.max_tokens())?,
            default_dimension: narrow(model.default_dimension())?,
            dimension_count: narrow(model.dimensions().len())?,
            encoder: ENCODERS.iter().position(|&e| e == model.encoder_kind()).unwrap_or_default() as u32,
            cpu_level: model.kernels().level() as u32,
            frame_tokens: narrow(model.frame_tokens())?,
            pooling: match model.pooling().mode {
                PoolingMode::Mean => StellaPooling::Mean,
                PoolingMode::Cls => StellaPooling::Cls,
                PoolingMode::LastToken => StellaPooling::LastToken,
            } as u32,
            leaves_prompt_out: u32::from(!model.pooling().include_prompt),
            prompt_count: narrow(model.prompts().all().len())?,
            default_prompt: narrow(model.prompts().default().map_or(0, |at| at + 1))?,
            parameters: model.parameters(),
            memory_estimate: model.memory().total(),
            max_text_bytes: model.max_text_bytes() as u64,
            file_stamp: model.file_stamp(),
        };
        Ok(())
    })
}

/// A prompt of a model.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct StellaPromptInfo {
    /// Size of this struct in bytes, to be set before the call.
    pub size: u32,
    /// Tokens of its text without special tokens.
    pub tokens: u32,
    /// 1 if the folder lacks it, so that the text is that of the model card of Stella v5; else 0.
    pub from_card: u32,
    /// Not used; 0.
    pub reserved: u32,
    /// Its name, as UTF-8 that lives as long as the model.
    pub name: *const u8,
    /// Length of `name` in bytes.
    pub name_length: usize,
    /// The text that is put before a text, as UTF-8 that lives as long as the model.
    pub text: *const u8,
    /// Length of `text` in bytes.
    pub text_length: usize,
}

impl Default for StellaPromptInfo {
    fn default() -> Self {
        Self {
            size: size_of::<Self>() as u32,
            tokens: 0,
            from_card: 0,
            reserved: 0,
            name: std::ptr::null(),
            name_length: 0,
            text: std::ptr::null(),
            text_length: 0,
        }
    }
}

/// Describes a prompt of a model, by its number from 1 to the model's prompt_count. `info->size` must be set.
///
/// # Safety
/// `model` is a live model; `info` points to a writable struct whose size field is readable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stella_model_prompt(
    model: *const StellaModel,
    number: u32,
    info: *mut StellaPromptInfo,
) -> *mut StellaError {
    fallible(None, || {
        // SAFETY: this function's contract.
        let (model, out) =
            unsafe { (&args::required(model, "model")?.model, args::sized_mut(info, "info")?) };
        let all = model.prompts().all();
        let at = (number as usize).wrapping_sub(1);
        let prompt = all.get(at).ok_or_else(|| {
            args::invalid(format!("number is {number}; the model has {} prompts", all.len()))
        })?;
        *out = StellaPromptInfo {
            size: out.size,
            tokens: narrow(model.prompt_tokens(at))?,
            from_card: u32::from(prompt.from_card),
            reserved: 0,
            name: prompt.name.as_ptr(),
            name_length: prompt.name.len(),
            text: prompt.text.as_ptr(),
            text_length: prompt.text.len(),
        };
        Ok(())
    })
}

/// Writes the dimensions for which the model has a head, ascending, as far as they fit, and their whole number
/// to `count`.
///
/// # Safety
/// `model` is a live model; `dimensions` points to `capacity` writable numbers; `count` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stella_model_dimensions(
    model: *const StellaModel,
    dimensions: *mut u32,
    capacity: usize,
    count: *mut usize,
) -> *mut StellaError {
    fallible(None, || {
        // SAFETY: this function's contract.
        let (model, out, count) = unsafe {
            (
                &args::required(model, "model")?.model,
                args::slice_mut(dimensions, capacity, "dimensions")?,
                args::required_mut(count, "count")?,
            )
        };
        let found = model.dimensions();
        *count = found.len();
        for (slot, dimension) in out.iter_mut().zip(found) {
            *slot = narrow(dimension)?;
        }
        Ok(())
    })
}

/// Writes the fingerprint of a model's vectors of a dimension, 0 for the default: STELLA_HASH_BYTES of SHA-256 over the
/// weights and settings that make them, the same on every machine. The first call may read all files of the model, about 1 to 2 seconds for a gigabyte; the result is kept. A
/// file that changed since the model was opened is an error.
///
/// # Safety
/// `model` is a live model; `fingerprint` points to `capacity` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stella_model_fingerprint(
    model: *const StellaModel,
    dimension: u32,
    fingerprint: *mut u8,
    capacity: usize,
) -> *mut StellaError {
    // SAFETY: this function's contract.
    let model = unsafe { args::required(model, "model") };
    fallible(model.as_ref().ok().and_then(|m| m.sink.clone()), || {
        let model = &model?.model;
        // SAFETY: this function's contract.
        let out = unsafe { args::slice_mut(fingerprint, capacity, "fingerprint") }?;
        let out = hash::room(out, "the fingerprint")?;
        let dimension = (dimension > 0).then_some(dimension as usize);
        out.copy_from_slice(&model.fingerprint(dimension)?);
        Ok(())
    })
}

/// Frees a model's handle. Sessions that were started from it go on working. Null is allowed.
///
/// # Safety
/// `model` is null or a model that was not freed, and no other call uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stella_model_free(model: *mut StellaModel) {
    infallible(|| {
        if !model.is_null() {
            // SAFETY: made by `stella_model_open` and, by this function's contract, not freed yet.
            let StellaModel { model, .. } = *unsafe { Box::from_raw(model) };
            heap::drop_hold(model);
        }
    });
}

fn narrow(number: usize) -> stella_core::Result<u32> {
    u32::try_from(number).map_err(|_| stella_core::Error::Internal(format!("{number} does not fit 32 bits")))
}
