//! The C ABI of StellaInterop.
//!
//! # Shape
//! - Handles ([`model::StellaModel`], [`session::StellaSession`], [`log::StellaLogSink`], [`hash::StellaHasher`],
//!   [`error::StellaError`]) are opaque. Each has one `_free`, which accepts null.
//! - A fallible export returns `*mut StellaError`: null is success. The caller owns the error and frees it.
//! - Slices are a pointer and a length in elements. A null pointer is an empty slice, and only that.
//! - Text is UTF-8 with a length, never ended by NUL.
//! - Option structs begin with their own size in bytes; a null pointer to one means its defaults, and a field
//!   of 0 means the default of that field.
//! - What is written out goes into memory of the caller, which may not overlap any input.
//!
//! # Threads
//! A model, a log sink, a hash and an error may be used from any number of threads at once. A session takes one call at
//! a time; a second one gets `SessionBusy` instead of waiting. A handle may be freed on any thread, once, when
//! no call uses it.
//!
//! # Panics
//! Every export runs in [`boundary`]: a panic becomes an error with code `Panic`, its report goes to the log
//! sink of the call, and the process goes on. After a panic a session refuses further calls.
//!
//! # Text from files
//! Messages of errors and log records hold no control character and none that changes the direction of text, whatever the
//! files of a model hold: `escape` writes them visibly. The backtrace of a panic has line breaks.
//!
//! # Safety
//! Pointers are checked for null, alignment and impossible lengths before they are used; that they point to
//! live memory of the stated type is the caller's promise.
#![allow(unsafe_code)]

pub mod abi;
pub mod counters;
pub mod error;
pub mod hash;
pub mod live;
pub mod log;
pub mod model;
pub mod session;
pub mod tokenize;

mod args;
mod boundary;
mod escape;
mod heap;
