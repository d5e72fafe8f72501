//! Letting go of a model.

use std::sync::Arc;

use stella_core::model::Model;

/// Drops one hold of a model. With the last one the model is freed, and the memory goes back to the system: an allocator
/// keeps what was freed for later, and a process that loads and unloads would grow by the pieces that do not fit again.
pub(crate) fn drop_hold(model: Arc<Model>) {
    if let Some(model) = Arc::into_inner(model) {
        drop(model);
        give_back();
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn give_back() {
    unsafe extern "C" {
        fn malloc_trim(pad: usize) -> std::ffi::c_int;
    }
    // SAFETY: a function of the C library that is linked already; any thread may call it at any time, with any number.
    unsafe { malloc_trim(0) };
}

/// Other C libraries do so by themselves, or cannot be asked.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn give_back() {}
