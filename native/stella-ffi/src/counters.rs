//! What the library has done and what it holds, in numbers: how a caller sees that nothing is loaded twice and nothing
//! leaks.

use stella_core::base::counters::{LOADS, MAPS, TENSORS};
use stella_kernels::buffer;

use crate::boundary::infallible;
use crate::heap;

/// What is counted, in the whole process.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StellaCounter {
    /// Models whose weights were loaded. A model that is opened again while it is open does not count.
    Loads = 0,
    /// Files that were mapped.
    Maps = 1,
    /// Tensors that memory was taken for, to be read into it or copied out of a map.
    Tensors = 2,
    /// Bytes that the library has allocated and not freed. The one that falls again.
    LiveBytes = 3,
    /// Times that the library asked for memory.
    Allocations = 4,
}

/// The value of a counter (a value of StellaCounter); 0 for one that is not known.
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
