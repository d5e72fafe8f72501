//! What a caller checks before its first call: version, struct sizes, and the count of live handles.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::boundary::infallible;
use crate::model::{StellaModelInfo, StellaModelOptions};
use crate::session::{StellaEmbedOptions, StellaSessionOptions};
use crate::tokenize::{StellaTokenCount, StellaTokenizeOptions};

/// Version of this ABI. Raised when a signature, a struct or a meaning changes.
pub const STELLA_ABI_VERSION: u32 = 1;

/// The structs whose size both sides must agree on.
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
}

/// Sizes in bytes, in the order of [`StellaStruct`].
const STRUCT_SIZES: [usize; 6] = [
    size_of::<StellaModelOptions>(),
    size_of::<StellaModelInfo>(),
    size_of::<StellaTokenizeOptions>(),
    size_of::<StellaTokenCount>(),
    size_of::<StellaSessionOptions>(),
    size_of::<StellaEmbedOptions>(),
];

/// The kinds of handle that are counted.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StellaHandleKind {
    /// `StellaModel`
    Model = 0,
    /// `StellaSession`
    Session = 1,
    /// `StellaLogSink`
    LogSink = 2,
    /// `StellaError`
    Error = 3,
}

static LIVE: [AtomicUsize; 4] = [const { AtomicUsize::new(0) }; 4];

/// Counts one live handle from creation to drop.
#[derive(Debug)]
pub(crate) struct Counted(StellaHandleKind);

impl Counted {
    pub(crate) fn new(kind: StellaHandleKind) -> Self {
        LIVE[kind as usize].fetch_add(1, Ordering::Relaxed);
        Self(kind)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        LIVE[self.0 as usize].fetch_sub(1, Ordering::Relaxed);
    }
}

/// The version of this ABI.
#[unsafe(no_mangle)]
pub extern "C" fn stella_abi_version() -> u32 {
    infallible(|| STELLA_ABI_VERSION)
}

/// Size in bytes of a struct of this ABI (a value of StellaStruct), 0 for one that is not known.
#[unsafe(no_mangle)]
pub extern "C" fn stella_abi_struct_size(which: u32) -> usize {
    infallible(|| STRUCT_SIZES.get(which as usize).copied().unwrap_or(0))
}

/// Handles of a kind (a value of StellaHandleKind) that were made and not freed, in the whole process.
#[unsafe(no_mangle)]
pub extern "C" fn stella_live_handles(kind: u32) -> usize {
    infallible(|| LIVE.get(kind as usize).map_or(0, |count| count.load(Ordering::Relaxed)))
}
