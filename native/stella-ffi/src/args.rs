//! Checks of the arguments of exports.
//!
//! A pointer is checked for null and alignment, and a length for the size of memory, before either is used. The caller
//! guarantees that a pointer leads to live memory of the stated type.

use std::sync::atomic::AtomicU32;

use stella_core::encoder::CancelFlag;
use stella_core::{Error, Result};

/// Returns the error for an argument that is out of range or contradicts another.
pub(crate) fn invalid(reason: impl Into<String>) -> Error {
    Error::InvalidArgument(reason.into())
}

/// Returns the error for an argument that must not be null.
pub(crate) fn null(name: &str) -> Error {
    invalid(format!("Argument {name} is null. Pass a valid pointer."))
}

fn check_pointer<T>(pointer: *const T, name: &str) -> Result<()> {
    if pointer.is_null() {
        return Err(null(name));
    }
    if !pointer.is_aligned() {
        let alignment = align_of::<T>();
        return Err(invalid(format!(
            "Argument {name} is not aligned. Its address must be a multiple of {alignment}."
        )));
    }
    Ok(())
}

fn check_length<T>(len: usize, name: &str) -> Result<()> {
    match len.checked_mul(size_of::<T>()) {
        Some(bytes) if bytes <= isize::MAX as usize => Ok(()),
        _ => Err(invalid(format!(
            "Argument {name} has {len} elements, more than memory can hold. Pass its real length."
        ))),
    }
}

/// Returns a reference to a value that must be present.
///
/// # Safety
/// If not null and aligned, `pointer` points to a `T` that is alive and not written to during `'a`.
pub(crate) unsafe fn required<'a, T>(pointer: *const T, name: &str) -> Result<&'a T> {
    check_pointer(pointer, name)?;
    // SAFETY: not null and aligned as checked; the rest is this function's contract.
    Ok(unsafe { &*pointer })
}

/// Returns a reference for writing to a value that must be present.
///
/// # Safety
/// If not null and aligned, `pointer` points to memory for a `T` that nothing else uses during `'a`. The memory holds a valid
/// `T`, or any bytes are valid for `T`.
pub(crate) unsafe fn required_mut<'a, T>(pointer: *mut T, name: &str) -> Result<&'a mut T> {
    check_pointer(pointer, name)?;
    // SAFETY: not null and aligned as checked; the rest is this function's contract.
    Ok(unsafe { &mut *pointer })
}

/// Returns a slice. Null is allowed only with the length 0.
///
/// # Safety
/// If not null and aligned, `pointer` points to `len` values that are alive and not written to during `'a`.
pub(crate) unsafe fn slice<'a, T>(pointer: *const T, len: usize, name: &str) -> Result<&'a [T]> {
    if len == 0 {
        return Ok(&[]);
    }
    check_pointer(pointer, name)?;
    check_length::<T>(len, name)?;
    // SAFETY: not null, aligned and of possible length as checked; the rest is this function's contract.
    Ok(unsafe { std::slice::from_raw_parts(pointer, len) })
}

/// Returns a slice for writing. Null is allowed only with the length 0.
///
/// # Safety
/// If not null and aligned, `pointer` points to memory for `len` values that nothing else uses during `'a`.
/// `T` is a type for which any bytes are valid.
pub(crate) unsafe fn slice_mut<'a, T>(pointer: *mut T, len: usize, name: &str) -> Result<&'a mut [T]> {
    if len == 0 {
        return Ok(&mut []);
    }
    check_pointer(pointer, name)?;
    check_length::<T>(len, name)?;
    // SAFETY: not null, aligned and of possible length as checked; the rest is this function's contract.
    Ok(unsafe { std::slice::from_raw_parts_mut(pointer, len) })
}

/// Copies a struct whose first field is its own size. Returns the defaults for null.
///
/// # Safety
/// If not null and aligned, `pointer` points to a readable `u32`, and to a `T` if that number is the size of `T`.
pub(crate) unsafe fn sized<T: Copy + Default>(pointer: *const T, name: &str) -> Result<T> {
    if pointer.is_null() {
        return Ok(T::default());
    }
    // SAFETY: this function's contract.
    unsafe { check_size(pointer, name) }?;
    // SAFETY: the size is that of `T`, so a whole `T` is there by this function's contract.
    Ok(unsafe { *pointer })
}

/// Returns a reference for writing to a struct whose first field is its own size.
///
/// # Safety
/// As for [`sized`], and nothing else uses the memory during `'a`. `T` is a type for which any bytes are valid.
pub(crate) unsafe fn sized_mut<'a, T>(pointer: *mut T, name: &str) -> Result<&'a mut T> {
    // SAFETY: this function's contract.
    unsafe { check_size(pointer.cast_const(), name) }?;
    // SAFETY: the size is that of `T`, so a whole `T` is there by this function's contract.
    Ok(unsafe { &mut *pointer })
}

/// Checks the size that a caller wrote into a struct. Another size means another version of the ABI, in which fields may be
/// missing, so it is refused instead of reading a part of the struct.
///
/// # Safety
/// If not null and aligned for `T`, `pointer` points to a readable `u32`.
unsafe fn check_size<T>(pointer: *const T, name: &str) -> Result<()> {
    check_pointer(pointer, name)?;
    // SAFETY: aligned for `T` and so for its first field; a `u32` is there by this function's contract.
    let size = unsafe { pointer.cast::<u32>().read() } as usize;
    let expected = size_of::<T>();
    if size == expected {
        return Ok(());
    }
    Err(invalid(format!(
        "Argument {name} has a size field of {size}, but the struct has {expected} bytes in this version of the ABI. Set the \
         field to the size of the struct, as this version declares it."
    )))
}

/// Returns the cancellation flag of a call. Null is a flag that is never set.
///
/// Another thread cancels the call by writing a number other than 0. The forward pass polls the flag with a relaxed atomic
/// load: before each layer on the kernels, before each text on candle. A flag that is set later than that has no effect.
///
/// # Safety
/// If not null and aligned, `pointer` points to a number that is alive during `'a` and is written to only atomically.
pub(crate) unsafe fn cancel_flag<'a>(pointer: *const u32) -> Result<CancelFlag<'a>> {
    if pointer.is_null() {
        return Ok(CancelFlag::default());
    }
    // SAFETY: an atomic has the size and alignment of its number; the rest is this function's contract.
    Ok(CancelFlag::new(Some(unsafe { required(pointer.cast::<AtomicU32>(), "cancel") }?)))
}

/// Returns bytes as UTF-8 text.
pub(crate) fn utf8<'a>(bytes: &'a [u8], name: &str) -> Result<&'a str> {
    std::str::from_utf8(bytes).map_err(|e| {
        let at = e.valid_up_to();
        invalid(format!("Argument {name} is not valid UTF-8 at byte {at}. Pass UTF-8 text."))
    })
}

/// Returns the value of an enum that is passed as a number: `table[number]`.
pub(crate) fn choice<T: Copy>(number: u32, table: &[T], name: &str) -> Result<T> {
    let last = table.len().saturating_sub(1);
    table
        .get(number as usize)
        .copied()
        .ok_or_else(|| invalid(format!("Argument {name} is {number}. It must be 0 to {last}.")))
}

/// Returns an optional number, of which 0 means none.
pub(crate) fn optional(number: u32) -> Option<usize> {
    (number != 0).then_some(number as usize)
}
