//! Errors, limits, and hooks of the whole process. These modules import nothing from the rest of the crate.

pub mod counters;
pub mod error;
pub mod error_code;
pub mod fault_injection;
pub mod limits;
pub(crate) mod message;
pub mod thread_context;
