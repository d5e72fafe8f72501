//! The C ABI of StellaInterop.
//!
//! # Conventions
//! - Handles ([`model::StellaModel`], [`session::StellaSession`], [`log::StellaLogSink`], [`hash::StellaHasher`],
//!   [`error::StellaError`]) are opaque pointers. Each type has one `_free`, which accepts null.
//! - An export that can fail returns `*mut StellaError`. Null means success. The caller owns the error and frees it.
//! - A slice is a pointer and a length in elements. Null is allowed only with the length 0.
//! - A text is UTF-8 with a length in bytes, without a terminating NUL.
//! - An options struct begins with its own size in bytes, which must be exactly that of this version. A null pointer means the
//!   defaults, and a field of 0 means the default of that field.
//! - Output is written to memory of the caller that does not overlap any input.
//!
//! # Threads
//! Any number of threads may use a model, a log sink, a hash or an error at once. A session takes one call at a time, from any
//! thread; a second call returns `SessionBusy` at once. Any thread may free a handle, once, when no call uses it.
//!
//! # Panics
//! No panic leaves an export. It becomes an error with the code `Panic` and is logged to the sink of the model. A session that
//! panicked refuses further calls. [`boundary`] describes the details, [`error`] those of errors.
//!
//! # Texts from files
//! A message or a log record may quote a model file. Control characters and characters that change the direction of text are
//! escaped in it. Only the backtrace of a panic has line breaks.
//!
//! # Safety
//! Pointers are checked for null, alignment and impossible lengths before they are used. The caller guarantees that they lead
//! to live memory of the stated type.
#![allow(unsafe_code)]

pub mod abi;
pub mod counters;
pub mod error;
pub mod handle_counts;
pub mod hash;
pub mod limits;
pub mod log;
pub mod model;
pub mod session;
pub mod tokenize;

mod args;
mod boundary;
mod escape;
mod handle;
mod heap;
mod log_sink;
