//! Counters of loads and of memory, by which tests check that no weights are loaded twice and that no memory leaks.

use stella_core::base::counters::{LOADS, MAPS, TENSORS};
use stella_kernels::buffer;

use crate::boundary::infallible;
use crate::heap;

/// The counters of the process. All but LiveBytes only rise.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StellaCounter {
    /// Models whose weights were loaded. Opening a folder again while it is open does not count.
    Loads = 0,
    /// Files that were mapped into memory.
    Maps = 1,
    /// Tensors for which memory was allocated, to read the tensor into it or to copy it from a map.
    Tensors = 2,
    /// Bytes that the library has allocated and not freed.
    LiveBytes = 3,
    /// Allocations of the library.
    Allocations = 4,
}

/// Returns the value of a counter (a value of StellaCounter), or 0 for an unknown counter. Any thread may call it.
#[unsafe(no_mangle)]
pub extern "C" fn stella_counter(which: u32) -> u64 {
    infallible(|| match which {
        0 => LOADS.get(),
        1 => MAPS.get(),
        2 => TENSORS.get(),
        3 => heap::live_bytes() + buffer::page_bytes(),
        4 => heap::allocations() + buffer::page_buffers(),
        _ => 0,
    })
}
