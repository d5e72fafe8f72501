//! The options of opening a model.

use std::path::PathBuf;

use stella_kernels::Kernels;
use stella_kernels::arithmetic::Arithmetic;
use stella_kernels::cpu::CpuLevel;

use crate::base::error::{Error, Result};
use crate::encoder::EncoderKind;
use crate::weights::weight_set::{LoadMode, LoadOptions};

/// The precision of the encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Precision {
    /// bf16 for the CPU kernels if the instruction set can multiply bf16, else f32.
    Auto,
    /// 32-bit floating point.
    F32,
    /// bfloat16 weights, 32-bit accumulators.
    Bf16,
    /// 8-bit integer weights and activations.
    Int8,
}

impl Precision {
    /// Gets the name for messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
        }
    }

    /// Replaces [`Self::Auto`] by the precision of this machine.
    ///
    /// # Errors
    /// [`Error::PrecisionUnavailable`].
    pub(crate) fn resolve(self, encoder: EncoderKind, kernels: Kernels) -> Result<Self> {
        match (self, encoder) {
            (Self::Auto, EncoderKind::Kernels) if kernels.multiplies_bf16() => Ok(Self::Bf16),
            (Self::Auto | Self::F32, _) => Ok(Self::F32),
            (Self::Bf16 | Self::Int8, EncoderKind::Kernels) => Ok(self),
            (Self::Bf16 | Self::Int8, EncoderKind::Candle) => Err(Error::PrecisionUnavailable {
                asked: self.name(),
                reason: "The candle encoder computes in f32. Choose auto or f32, or the kernels encoder."
                    .to_owned(),
            }),
        }
    }

    /// Returns the arithmetic of the kernels.
    pub(crate) fn arithmetic(self) -> Arithmetic {
        match self {
            Self::Auto | Self::F32 => Arithmetic::F32,
            Self::Bf16 => Arithmetic::Bf16,
            Self::Int8 => Arithmetic::Int8,
        }
    }
}

/// The options of opening a model.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ModelOptions {
    /// The largest number of tokens of a text, 1 to [`MAX_MAX_TOKENS`](crate::base::limits::MAX_MAX_TOKENS). `None` for the
    /// limit of the folder, or for [`DEFAULT_MAX_TOKENS`](crate::base::limits::DEFAULT_MAX_TOKENS) if the folder has none. The
    /// positions of the model limit both.
    pub max_tokens: Option<usize>,
    /// The dimension that a call uses by default; `None` for that of the head in `modules.json`.
    pub dimension: Option<usize>,
    /// The precision of the encoder.
    pub precision: Precision,
    /// The implementation of the encoder.
    pub encoder: EncoderKind,
    /// The instruction set of the kernels; `None` for the best one of this machine. An instruction set that the machine lacks
    /// is an error.
    pub level: Option<CpuLevel>,
    /// The way in which the bytes of weights get into memory.
    pub mode: LoadMode,
    /// Whether weights that are NaN or infinite are refused.
    pub check_weights: bool,
    /// The path of the manifest; `None` for the manifest in the folder, if there is one.
    pub manifest: Option<PathBuf>,
}

impl ModelOptions {
    /// Returns the options of loading weights.
    pub(crate) fn load_options(&self) -> LoadOptions {
        LoadOptions { mode: self.mode, check_finite: self.check_weights }
    }

    /// Returns the kernels of the requested instruction set.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if the machine does not have it.
    pub(crate) fn kernels(&self) -> Result<Kernels> {
        let Some(level) = self.level else { return Ok(Kernels::preferred()) };
        Kernels::for_level(level).ok_or_else(|| {
            let available = CpuLevel::available().iter().map(|l| l.name()).collect::<Vec<_>>().join(", ");
            Error::InvalidArgument(format!(
                "This machine does not have the instruction set {level}. It has {available}."
            ))
        })
    }
}

impl Default for ModelOptions {
    fn default() -> Self {
        Self {
            max_tokens: None,
            dimension: None,
            precision: Precision::Auto,
            encoder: EncoderKind::Kernels,
            level: None,
            mode: LoadMode::Copied,
            check_weights: true,
            manifest: None,
        }
    }
}
