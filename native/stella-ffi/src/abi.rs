//! The version of the ABI and the sizes of its structs. A caller checks both before its first other call.

use crate::boundary::infallible;
use crate::model::{
    StellaMemoryEstimate, StellaModelInfo, StellaModelOptions, StellaPromptInfo, StellaWorkload,
};
use crate::session::{StellaEmbedOptions, StellaSessionOptions, StellaSpan};
use crate::tokenize::{StellaPlace, StellaTokenCount, StellaTokenizeOptions};

/// The version of this ABI. It is raised when a signature, a struct or a meaning changes.
pub const STELLA_ABI_VERSION: u32 = 8;

/// The structs of this ABI, as arguments of stella_abi_struct_size.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StellaStruct {
    /// `StellaModelOptions`
    ModelOptions = 0,
    /// `StellaModelInfo`
    ModelInfo = 1,
    /// `StellaTokenizeOptions`
    TokenizeOptions = 2,
    /// `StellaTokenCount`
    TokenCount = 3,
    /// `StellaSessionOptions`
    SessionOptions = 4,
    /// `StellaEmbedOptions`
    EmbedOptions = 5,
    /// `StellaPlace`
    Place = 6,
    /// `StellaSpan`
    Span = 7,
    /// `StellaWorkload`
    Workload = 8,
    /// `StellaMemoryEstimate`
    MemoryEstimate = 9,
    /// `StellaPromptInfo`
    PromptInfo = 10,
}

/// Sizes in bytes, indexed by [`StellaStruct`].
const STRUCT_SIZES: [usize; 11] = [
    size_of::<StellaModelOptions>(),
    size_of::<StellaModelInfo>(),
    size_of::<StellaTokenizeOptions>(),
    size_of::<StellaTokenCount>(),
    size_of::<StellaSessionOptions>(),
    size_of::<StellaEmbedOptions>(),
    size_of::<StellaPlace>(),
    size_of::<StellaSpan>(),
    size_of::<StellaWorkload>(),
    size_of::<StellaMemoryEstimate>(),
    size_of::<StellaPromptInfo>(),
];

/// Returns the version of the ABI of the loaded library. Compare it with STELLA_ABI_VERSION before any other call.
#[unsafe(no_mangle)]
pub extern "C" fn stella_abi_version() -> u32 {
    infallible(|| STELLA_ABI_VERSION)
}

/// Returns the size in bytes of a struct of this ABI (a value of StellaStruct), or 0 for an unknown struct. Compare it with the
/// size in your declarations.
#[unsafe(no_mangle)]
pub extern "C" fn stella_abi_struct_size(which: u32) -> usize {
    infallible(|| STRUCT_SIZES.get(which as usize).copied().unwrap_or(0))
}
