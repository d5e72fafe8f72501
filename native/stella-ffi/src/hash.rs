//! BLAKE3 hashes for callers whose platform has no BLAKE3. Manifests may hold them beside SHA-256.

use std::sync::{Mutex, MutexGuard};

use stella_core::Error;
use stella_core::files::hash::{Algorithm, Hasher};

use crate::args;
use crate::boundary::infallible;
use crate::error::{StellaError, fallible};
use crate::handle::Handle;
use crate::handle_counts::StellaHandleKind;

/// The size of a hash and of a fingerprint, in bytes.
pub const STELLA_HASH_BYTES: u32 = 32;

/// A BLAKE3 hash that is being computed. Any thread may call it; calls of several threads take turns.
#[derive(Debug)]
pub struct StellaHasher {
    hasher: Mutex<Hasher>,
}

impl Handle for StellaHasher {
    const KIND: StellaHandleKind = StellaHandleKind::Hasher;
}

impl StellaHasher {
    fn lock(&self) -> stella_core::Result<MutexGuard<'_, Hasher>> {
        // After a panic in an update, the number of hashed bytes is unknown.
        let panicked = "An earlier call on this hash panicked. Free the hash and start another.";
        self.hasher.lock().map_err(|_| Error::Internal(panicked.to_owned()))
    }
}

/// Starts a BLAKE3 hash. Writes the handle to `hasher`, which stella_hasher_free frees.
///
/// # Safety
/// `hasher` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stella_hasher_new(hasher: *mut *mut StellaHasher) -> *mut StellaError {
    fallible(None, || {
        // SAFETY: this function's contract.
        let out = unsafe { args::required_mut(hasher, "hasher") }?;
        *out = StellaHasher { hasher: Mutex::new(Hasher::new(Algorithm::Blake3)) }.into_raw();
        Ok(())
    })
}

/// Appends bytes to the input of a hash.
///
/// # Safety
/// `hasher` is a live hash. `bytes` points to `length` bytes.
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

/// Writes the hash of all bytes so far to the first STELLA_HASH_BYTES bytes of `hash`. More bytes may be appended afterwards.
///
/// Errors: BufferTooSmall if `capacity` is less than STELLA_HASH_BYTES.
///
/// # Safety
/// `hasher` is a live hash. `hash` points to `capacity` writable bytes.
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
        first_hash_bytes(out, "hash")?.copy_from_slice(&found);
        Ok(())
    })
}

/// Returns the first [`STELLA_HASH_BYTES`] bytes of the buffer of a caller.
pub(crate) fn first_hash_bytes<'a>(
    buffer: &'a mut [u8],
    what: &'static str,
) -> stella_core::Result<&'a mut [u8]> {
    let (capacity, needed) = (buffer.len(), STELLA_HASH_BYTES as usize);
    buffer.get_mut(..needed).ok_or(Error::BufferTooSmall { what, capacity, needed })
}

/// Frees a hash. Null is allowed.
///
/// # Safety
/// `hasher` is null or a hash that was not freed, and no other call uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stella_hasher_free(hasher: *mut StellaHasher) {
    // SAFETY: this function's contract.
    infallible(|| drop(unsafe { StellaHasher::from_raw(hasher) }));
}
