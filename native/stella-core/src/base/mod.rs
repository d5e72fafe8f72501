//! Errors, limits and process-wide hooks. Modules here import nothing from the other rooms of the crate.

pub mod counters;
pub mod error;
pub mod error_code;
pub mod fault_injection;
pub mod thread_context;
