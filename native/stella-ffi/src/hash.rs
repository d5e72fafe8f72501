//! BLAKE3 for callers whose platform has none: what manifests carry beside SHA-256.

use std::sync::{Mutex, MutexGuard};

use stella_core::Error;
use stella_core::files::hash::{Algorithm, Hasher};

use crate::args;
use crate::boundary::{fallible, infallible};
use crate::error::StellaError;
use crate::live::{Counted, StellaHandleKind};

/// Bytes of a hash.
pub const STELLA_HASH_BYTES: u32 = 32;

/// A BLAKE3 hash on its way. Calls from several threads take turns.
#[derive(Debug)]
pub struct StellaHasher {
    hasher: Mutex<Hasher>,
    _counted: Counted,
}

impl StellaHasher {
    fn lock(&self) -> stella_core::Result<MutexGuard<'_, Hasher>> {
        // What a panic left is the hash of nobody knows how many bytes.
        self.hasher.lock().map_err(|_| Error::Internal("an earlier call on this hash panicked".to_owned()))
    }
}

/// Starts a hash.
///
/// # Safety
/// `hasher` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stella_hasher_new(hasher: *mut *mut StellaHasher) -> *mut StellaError {
    fallible(None, || {
        // SAFETY: this function's contract.
        let out = unsafe { args::required_mut(hasher, "hasher") }?;
        let handle = StellaHasher {
            hasher: Mutex::new(Hasher::new(Algorithm::Blake3)),
            _counted: Counted::new(StellaHandleKind::Hasher),
        };
        *out = Box::into_raw(Box::new(handle));
        Ok(())
    })
}

/// Takes the bytes that come next.
///
/// # Safety
/// `hasher` is a live hash; `bytes` points to `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stella_hasher_update(
    hasher: *const StellaHasher,
    bytes: *const u8,
    length: usize,
) -> *mut StellaError {
    fallible(None, || {
        // SAFETY: this function's contract.
        let (hasher, bytes) =
            unsafe { (args::required(hasher, "hasher")?, args::slice(bytes, length, "bytes")?) };
        hasher.lock()?.update(bytes);
        Ok(())
    })
}

/// Writes the hash of all bytes so far: STELLA_HASH_BYTES of them. More bytes may follow.
///
/// # Safety
/// `hasher` is a live hash; `hash` points to `capacity` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stella_hasher_finish(
    hasher: *const StellaHasher,
    hash: *mut u8,
    capacity: usize,
) -> *mut StellaError {
    fallible(None, || {
        // SAFETY: this function's contract.
        let (hasher, out) =
            unsafe { (args::required(hasher, "hasher")?, args::slice_mut(hash, capacity, "hash")?) };
        let found = hasher.lock()?.clone().finish();
        room(out, "hash")?.copy_from_slice(&found);
        Ok(())
    })
}

/// Returns the beginning of a caller's buffer that a hash fits into.
pub(crate) fn room<'a>(buffer: &'a mut [u8], what: &'static str) -> stella_core::Result<&'a mut [u8]> {
    let (capacity, needed) = (buffer.len(), STELLA_HASH_BYTES as usize);
    buffer.get_mut(..needed).ok_or(Error::BufferTooSmall { what, capacity, needed })
}

/// Frees a hash. Null is allowed.
///
/// # Safety
/// `hasher` is null or a hash that was not freed, and no other call uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stella_hasher_free(hasher: *mut StellaHasher) {
    infallible(|| {
        if !hasher.is_null() {
            // SAFETY: made by `stella_hasher_new` and, by this function's contract, not freed yet.
            drop(unsafe { Box::from_raw(hasher) });
        }
    });
}
