//! Errors, limits, and hooks of the whole process. Modules of this room import nothing from the other rooms.

pub mod counters;
pub mod error;
pub mod error_code;
pub mod fault_injection;
pub mod limits;
pub(crate) mod message;
pub mod thread_context;
