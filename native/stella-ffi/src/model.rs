//! Exports of models: open, estimate memory, describe, compute the fingerprint, free.

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
use crate::boundary::infallible;
use crate::error::{StellaError, fallible};
use crate::handle::Handle;
use crate::handle_counts::StellaHandleKind;
use crate::hash;
use crate::heap;
use crate::log::{self, StellaLogSink};
use crate::log_sink::LogSink;

/// A loaded model. Immutable; any number of threads may use it at once.
#[derive(Debug)]
pub struct StellaModel {
    pub(crate) model: Arc<Model>,
    pub(crate) sink: Option<Arc<LogSink>>,
}

impl Handle for StellaModel {
    const KIND: StellaHandleKind = StellaHandleKind::Model;
}

/// The arithmetic of the encoder.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StellaPrecision {
    /// Bf16 on processors with dot products of bfloat16, otherwise F32.
    Auto = 0,
    /// 32-bit floating point.
    F32 = 1,
    /// bfloat16 weights, 32-bit accumulators.
    Bf16 = 2,
    /// 8-bit integers with per-row scales.
    Int8 = 3,
}

/// The precisions, indexed by [`StellaPrecision`].
const PRECISIONS: [Precision; 4] = [Precision::Auto, Precision::F32, Precision::Bf16, Precision::Int8];

/// The implementation of the encoder.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StellaEncoder {
    /// The kernels of this library.
    Kernels = 0,
    /// The model of candle, as a reference: slower, and only in 32-bit floating point.
    Candle = 1,
}

/// The encoders, indexed by [`StellaEncoder`].
const ENCODERS: [EncoderKind; 2] = [EncoderKind::Kernels, EncoderKind::Candle];

/// The instruction set that the kernels use. Each level includes the levels before it.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StellaCpuLevel {
    /// The instructions that every processor of the architecture has.
    Portable = 0,
    /// AVX2 and FMA.
    Avx2 = 1,
    /// AVX-512.
    Avx512 = 2,
    /// AVX-512 with dot products of bytes (VNNI).
    Avx512Vnni = 3,
    /// AVX-512 with dot products of bytes and of bfloat16.
    Avx512Bf16 = 4,
    /// Tiles of bytes and of bfloat16 (Intel AMX).
    Amx = 5,
}

/// The way in which weights are read from disk.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StellaLoadMode {
    /// Ordinary reads. A file that is truncated during the load causes an error.
    Copied = 0,
    /// A copy from a memory map. A file that is truncated during the load ends the process with SIGBUS.
    Mapped = 1,
}

/// The load modes, indexed by [`StellaLoadMode`].
const LOAD_MODES: [LoadMode; 2] = [LoadMode::Copied, LoadMode::Mapped];

/// The architecture of the encoder.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StellaArchitecture {
    /// NewModel, the architecture of Stella 400M.
    New = 0,
    /// Qwen2 without a causal mask, the architecture of Stella 1.5B.
    Qwen2 = 1,
}

/// The pooling, which makes the vector of a text from the hidden states of its tokens.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StellaPooling {
    /// The mean of the hidden states of all tokens.
    Mean = 0,
    /// The hidden state of the first token.
    Cls = 1,
    /// The hidden state of the last token.
    LastToken = 2,
}

/// The device on which the encoder computes.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StellaDevice {
    /// The processor.
    Cpu = 0,
}

/// Options of `stella_model_open` and `stella_model_estimate`. A field of 0 means its default.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct StellaModelOptions {
    /// The size of this struct in bytes.
    pub size: u32,
    /// A value of StellaPrecision.
    pub precision: u32,
    /// The largest number of tokens of a text, special tokens and prompt included, 1 to STELLA_MAX_TEXT_TOKENS. 0 for the limit
    /// of the folder, or STELLA_DEFAULT_TEXT_TOKENS if the folder has none. The number of positions of the model caps both.
    pub max_tokens: u32,
    /// The dimension of calls that name none: the length of a vector, for which the model needs a head. 0 for the head that
    /// modules.json names.
    pub dimension: u32,
    /// A value of StellaLoadMode.
    pub load_mode: u32,
    /// 0 to refuse weights that are NaN or infinite, 1 to load them without this check.
    pub unchecked_weights: u32,
    /// A value of StellaEncoder.
    pub encoder: u32,
    /// Not used; 0.
    pub reserved: u32,
    /// The path of the manifest of the files, as UTF-8. Null for stella.manifest.json in the folder, if it exists.
    pub manifest: *const u8,
    /// The length of `manifest` in bytes.
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

/// The properties of a model.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct StellaModelInfo {
    /// The size of this struct in bytes. Set it before the call.
    pub size: u32,
    /// A value of StellaArchitecture.
    pub architecture: u32,
    /// The precision of the encoder: a value of StellaPrecision, never Auto.
    pub precision: u32,
    /// A value of StellaDevice.
    pub device: u32,
    /// The length of a hidden state.
    pub hidden_size: u32,
    /// The number of layers.
    pub layers: u32,
    /// The number of attention heads.
    pub heads: u32,
    /// The number of token ids: rows of the embedding table. Every id is below it.
    pub vocabulary_size: u32,
    /// The largest number of tokens of a text, special tokens and prompt included.
    pub max_tokens: u32,
    /// The dimension of calls that name none.
    pub default_dimension: u32,
    /// The number of dimensions for which the model has a head.
    pub dimension_count: u32,
    /// A value of StellaEncoder.
    pub encoder: u32,
    /// A value of StellaCpuLevel.
    pub cpu_level: u32,
    /// The number of special tokens that are added to every text.
    pub frame_tokens: u32,
    /// A value of StellaPooling.
    pub pooling: u32,
    /// 1 if the pooling excludes the tokens of a prompt, otherwise 0.
    pub leaves_prompt_out: u32,
    /// The number of prompts.
    pub prompt_count: u32,
    /// The number of the default prompt, which is used for calls that name none, from 1. 0 for no prompt.
    pub default_prompt: u32,
    /// The number of parameters of the encoder and the default head.
    pub parameters: u64,
    /// An estimate of the memory in bytes of the model with one session at its peak.
    pub memory_estimate: u64,
    /// The number of bytes of prompt and text that the tokenizer reads. The rest of a longer text is cut off. Characters
    /// without a token do not count: see stella_model_condense.
    pub max_text_bytes: u64,
    /// A hash of the file stamps (path, length, times, device, inode) of the folder when the model was opened. It is equal in
    /// every process on one machine, and differs after a file was changed, replaced or touched.
    pub file_stamp: u64,
}

/// Loads the model in a folder. `path` is UTF-8. Null `options` mean the defaults, and a null `sink` drops log records. If the
/// same files are open already with the same options, the handles share the weights and nothing is loaded.
///
/// Writes the handle to `model`, which stella_model_free frees. Does not write it if the call fails. Any number of threads may
/// call it at once. Calls for the same model wait for one load.
///
/// Errors: ModelFolderNotFound; a code from ModelFileMissing to TokenizerInvalid for files that cannot be used;
/// InvalidArgument, PrecisionUnavailable or UnknownDimension for the options; OutOfMemory; ThreadRefused.
///
/// # Safety
/// `path` points to `path_length` bytes. `options` is null or points to options with their size set, whose `manifest` is null
/// or points to `manifest_length` bytes. `sink` is null or a live sink. `model` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stella_model_open(
    path: *const u8,
    path_length: usize,
    options: *const StellaModelOptions,
    sink: *const StellaLogSink,
    model: *mut *mut StellaModel,
) -> *mut StellaError {
    // SAFETY: this function's contract.
    let sink = unsafe { log::optional(sink) };
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
        *out = StellaModel { model, sink }.into_raw();
        Ok(())
    })
}

/// The calls that a model will run, for an estimate of their memory.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct StellaWorkload {
    /// The size of this struct in bytes.
    pub size: u32,
    /// The number of sessions that embed at once, 1 to STELLA_MAX_SESSIONS; 0 for 1.
    pub sessions: u32,
    /// The number of threads of each session, as in StellaSessionOptions.
    pub threads: u32,
    /// The largest number of tokens of a call, as in StellaSessionOptions. A text of `max_tokens` tokens always fits.
    pub max_batch_tokens: u32,
}

/// An estimate of memory in bytes, by purpose.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct StellaMemoryEstimate {
    /// The size of this struct in bytes. Set it before the call.
    pub size: u32,
    /// Not used; 0.
    pub reserved: u32,
    /// The encoder, the default head and the rotary tables, which all sessions share.
    pub weights: u64,
    /// The tokenizer, which all sessions share.
    pub tokenizer: u64,
    /// The memory that a load needs besides the weights and frees at its end.
    pub loading: u64,
    /// One session at its peak.
    pub session: u64,
    /// The larger of two peaks: the end of the load, and all sessions at work.
    pub total: u64,
}

/// Estimates the memory of the model in a folder from its configuration and the headers of its files. Loads no weights.
/// `path` and `options` are those of `stella_model_open`. A null `workload` means one session with the defaults.
///
/// Errors: those of `stella_model_open`; InvalidArgument for a workload out of range.
///
/// # Safety
/// As for `stella_model_open`. `workload` is null or points to a workload with its size set. `estimate` points to a writable
/// struct with its size set.
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

/// Converts options to those of stella-core.
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

/// Writes the properties of a model to `info`.
///
/// # Safety
/// `model` is a live model. `info` points to a writable struct with its size set.
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
            hidden_size: to_u32(config.hidden_size)?,
            layers: to_u32(config.layers)?,
            heads: to_u32(config.heads)?,
            vocabulary_size: to_u32(config.vocab_size)?,
            max_tokens: to_u32(model.max_tokens())?,
            default_dimension: to_u32(model.default_dimension())?,
            dimension_count: to_u32(model.dimensions().len())?,
            encoder: ENCODERS.iter().position(|&e| e == model.encoder_kind()).unwrap_or_default() as u32,
            cpu_level: model.kernels().level() as u32,
            frame_tokens: to_u32(model.frame_tokens())?,
            pooling: match model.pooling().mode {
                PoolingMode::Mean => StellaPooling::Mean,
                PoolingMode::Cls => StellaPooling::Cls,
                PoolingMode::LastToken => StellaPooling::LastToken,
            } as u32,
            leaves_prompt_out: u32::from(!model.pooling().include_prompt),
            prompt_count: to_u32(model.prompts().all().len())?,
            default_prompt: to_u32(model.prompts().default().map_or(0, |at| at + 1))?,
            parameters: model.parameters(),
            memory_estimate: model.memory().total(),
            max_text_bytes: model.max_text_bytes() as u64,
            file_stamp: model.file_stamp(),
        };
        Ok(())
    })
}

/// A prompt of a model: a text that is put before each text of a call.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct StellaPromptInfo {
    /// The size of this struct in bytes. Set it before the call.
    pub size: u32,
    /// The number of tokens of the prompt, without special tokens.
    pub tokens: u32,
    /// 1 if the folder does not have the prompt, so that it is that of the model card of Stella v5; otherwise 0.
    pub from_card: u32,
    /// Not used; 0.
    pub reserved: u32,
    /// The name, as UTF-8 that is valid as long as the handle of the model.
    pub name: *const u8,
    /// The length of `name` in bytes.
    pub name_length: usize,
    /// The text of the prompt, as UTF-8 that is valid as long as the handle of the model.
    pub text: *const u8,
    /// The length of `text` in bytes.
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

/// Writes a prompt of a model to `info`. `number` is 1 to `prompt_count` of StellaModelInfo.
///
/// Errors: InvalidArgument for another number.
///
/// # Safety
/// `model` is a live model. `info` points to a writable struct with its size set.
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
            args::invalid(format!(
                "Argument number is {number}, but the model has {} prompts, which are counted from 1.",
                all.len()
            ))
        })?;
        *out = StellaPromptInfo {
            size: out.size,
            tokens: to_u32(model.prompt_tokens(at))?,
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

/// Writes the dimensions for which the model has a head to `dimensions`, in ascending order and at most `capacity` of them.
/// Writes the number of all of them to `count`.
///
/// # Safety
/// `model` is a live model. `dimensions` points to `capacity` writable numbers. `count` is writable.
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
            *slot = to_u32(dimension)?;
        }
        Ok(())
    })
}

/// Writes the fingerprint of the vectors of a dimension, 0 for the default, to the first STELLA_HASH_BYTES bytes of
/// `fingerprint`. It is a SHA-256 hash of the weights and settings that determine the vectors, the same on every machine.
///
/// The first call may read all files of the model, which takes 1 to 2 seconds per gigabyte. The result is kept. Any number of
/// threads may call it at once; they wait for one computation.
///
/// Errors: UnknownDimension; BufferTooSmall; ModelFileInvalid if a file changed after the model was opened.
///
/// # Safety
/// `model` is a live model. `fingerprint` points to `capacity` writable bytes.
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
        let out = hash::first_hash_bytes(out, "the fingerprint")?;
        let dimension = (dimension > 0).then_some(dimension as usize);
        out.copy_from_slice(&model.fingerprint(dimension)?);
        Ok(())
    })
}

/// Frees the handle of a model. Sessions of the model stay usable and keep the weights. Null is allowed.
///
/// # Safety
/// `model` is null or a model that was not freed, and no other call uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stella_model_free(model: *mut StellaModel) {
    infallible(|| {
        // SAFETY: this function's contract.
        if let Some(StellaModel { model, .. }) = unsafe { StellaModel::from_raw(model) } {
            heap::release_model(model);
        }
    });
}

fn to_u32(number: usize) -> stella_core::Result<u32> {
    u32::try_from(number)
        .map_err(|_| stella_core::Error::Internal(format!("{number} does not fit into 32 bits.")))
}
