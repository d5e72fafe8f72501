//! Arguments from the other side, checked before they are used.

use std::sync::atomic::AtomicU32;

use stella_core::encoder::CancelFlag;
use stella_core::{Error, Result};

/// An argument that cannot be used.
pub(crate) fn invalid(reason: impl Into<String>) -> Error {
    Error::InvalidArgument(reason.into())
}

fn check_pointer<T>(pointer: *const T, name: &str) -> Result<()> {
    if pointer.is_null() {
        return Err(invalid(format!("{name} is null")));
    }
    if !pointer.is_aligned() {
        return Err(invalid(format!("{name} is not aligned to {} bytes", align_of::<T>())));
    }
    Ok(())
}

fn check_length<T>(len: usize, name: &str) -> Result<()> {
    match len.checked_mul(size_of::<T>()) {
        Some(bytes) if bytes <= isize::MAX as usize => Ok(()),
        _ => Err(invalid(format!("{name} claims {len} elements, more than memory can hold"))),
    }
}

/// A reference that must be there.
///
/// # Safety
/// If not null and aligned, `pointer` points to a `T` that lives and is not written to during `'a`.
pub(crate) unsafe fn required<'a, T>(pointer: *const T, name: &str) -> Result<&'a T> {
    check_pointer(pointer, name)?;
    // SAFETY: not null and aligned as checked; the rest is this function's contract.
    Ok(unsafe { &*pointer })
}

/// A place to write to that must be there.
///
/// # Safety
/// If not null and aligned, `pointer` points to memory for a `T` that nothing else uses during `'a`, and that
/// holds a valid `T` or one for which any bytes are valid.
pub(crate) unsafe fn required_mut<'a, T>(pointer: *mut T, name: &str) -> Result<&'a mut T> {
    check_pointer(pointer, name)?;
    // SAFETY: not null and aligned as checked; the rest is this function's contract.
    Ok(unsafe { &mut *pointer })
}

/// A slice; null is the empty slice and only that.
///
/// # Safety
/// If not null and aligned, `pointer` points to `len` values that live and are not written to during `'a`.
pub(crate) unsafe fn slice<'a, T>(pointer: *const T, len: usize, name: &str) -> Result<&'a [T]> {
    if len == 0 {
        return Ok(&[]);
    }
    check_pointer(pointer, name)?;
    check_length::<T>(len, name)?;
    // SAFETY: not null, aligned and of possible length as checked; the rest is this function's contract.
    Ok(unsafe { std::slice::from_raw_parts(pointer, len) })
}

/// A slice to write to; null is the empty slice and only that.
///
/// # Safety
/// If not null and aligned, `pointer` points to memory for `len` values that nothing else uses during `'a`.
/// `T` must be a type for which any bytes are valid.
pub(crate) unsafe fn slice_mut<'a, T>(pointer: *mut T, len: usize, name: &str) -> Result<&'a mut [T]> {
    if len == 0 {
        return Ok(&mut []);
    }
    check_pointer(pointer, name)?;
    check_length::<T>(len, name)?;
    // SAFETY: not null, aligned and of possible length as checked; the rest is this function's contract.
    Ok(unsafe { std::slice::from_raw_parts_mut(pointer, len) })
}

/// A struct whose first field is its own size. Null gives the defaults.
///
/// # Safety
/// If not null and aligned, `pointer` points to a readable `u32`, and to a `T` if that number is `T`'s size.
pub(crate) unsafe fn sized<T: Copy + Default>(pointer: *const T, name: &str) -> Result<T> {
    if pointer.is_null() {
        return Ok(T::default());
    }
    // SAFETY: this function's contract.
    unsafe { check_size(pointer, name) }?;
    // SAFETY: the size says that a whole `T` is there, by this function's contract.
    Ok(unsafe { *pointer })
}

/// A struct to write to, whose first field is its own size.
///
/// # Safety
/// As for [`sized`], and nothing else uses the memory during `'a`. `T` is a type for which any bytes are valid.
pub(crate) unsafe fn sized_mut<'a, T>(pointer: *mut T, name: &str) -> Result<&'a mut T> {
    // SAFETY: this function's contract.
    unsafe { check_size(pointer.cast_const(), name) }?;
    // SAFETY: the size says that a whole `T` is there, by this function's contract.
    Ok(unsafe { &mut *pointer })
}

/// Checks the size that a caller wrote into a struct.
///
/// # Safety
/// If not null and aligned for `T`, `pointer` points to a readable `u32`.
unsafe fn check_size<T>(pointer: *const T, name: &str) -> Result<()> {
    check_pointer(pointer, name)?;
    // SAFETY: aligned for `T` and so for its first field; that a `u32` is there is this function's contract.
    let size = unsafe { pointer.cast::<u32>().read() } as usize;
    let expected = size_of::<T>();
    if size == expected {
        return Ok(());
    }
    Err(invalid(format!(
        "{name} says that it has {size} bytes; in this version of the ABI it has {expected}"
    )))
}

/// A flag that another thread may set; null is never set.
///
/// # Safety
/// If not null and aligned, `pointer` points to a number that lives during `'a` and is written to atomically.
pub(crate) unsafe fn cancel_flag<'a>(pointer: *const u32) -> Result<CancelFlag<'a>> {
    if pointer.is_null() {
        return Ok(CancelFlag::default());
    }
    // SAFETY: an atomic has the size and alignment of its number; the rest is this function's contract.
    Ok(CancelFlag::new(Some(unsafe { required(pointer.cast::<AtomicU32>(), "cancel") }?)))
}

/// UTF-8 text. `what` names it in the error.
pub(crate) fn utf8<'a>(bytes: &'a [u8], what: &str) -> Result<&'a str> {
    std::str::from_utf8(bytes)
        .map_err(|e| invalid(format!("{what} is not valid UTF-8: byte {}", e.valid_up_to())))
}

/// An enum value that came as a number: `table[number]`.
pub(crate) fn choice<T: Copy>(number: u32, table: &[T], name: &str) -> Result<T> {
    let last = table.len().saturating_sub(1);
    table
        .get(number as usize)
        .copied()
        .ok_or_else(|| invalid(format!("{name} is {number}; it must be 0 to {last}")))
}

/// An optional number: 0 stands for none.
pub(crate) fn optional(number: u32) -> Option<usize> {
    (number != 0).then_some(number as usize)
}
