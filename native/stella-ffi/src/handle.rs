//! Ownership of handles.
//!
//! A handle is the address of a value on the heap that the caller owns. [`Handle::into_raw`] hands it out, and
//! [`Handle::from_raw`] takes it back in the `_free` of its type. Both update the count of live handles, so that the count
//! changes exactly when the owner does.

use crate::handle_counts::{StellaHandleKind, decrement, increment};

/// A type whose values a caller owns by an opaque pointer.
pub(crate) trait Handle: Sized {
    /// The counter of its live handles.
    const KIND: StellaHandleKind;

    /// Moves the value to the heap and hands its address to the caller, which frees it by the `_free` of its type.
    fn into_raw(self) -> *mut Self {
        increment(Self::KIND);
        Box::into_raw(Box::new(self))
    }

    /// Takes the value back from the caller. Returns `None` for null.
    ///
    /// # Safety
    /// `handle` is null or a result of [`Handle::into_raw`] that was not taken back yet, and no other call uses it.
    unsafe fn from_raw(handle: *mut Self) -> Option<Self> {
        if handle.is_null() {
            return None;
        }
        // SAFETY: made by `Box::into_raw` in `into_raw`, and not taken back yet by this function's contract.
        let value = unsafe { Box::from_raw(handle) };
        decrement(Self::KIND);
        Some(*value)
    }
}
