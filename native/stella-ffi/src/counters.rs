//! What the library has done and what it holds, in numbers: how a caller sees that nothing is loaded twice and nothing
//! leaks.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use stella_core::counters::{LOADS, MAPS, TENSORS};
use stella_kernels::buffer;

use crate::boundary::infallible;

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
        3 => LIVE_BYTES.load(Ordering::Relaxed) as u64 + buffer::page_bytes(),
        4 => ALLOCATIONS.load(Ordering::Relaxed) as u64 + buffer::page_buffers(),
        _ => 0,
    })
}

static LIVE_BYTES: AtomicUsize = AtomicUsize::new(0);
static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, with a count of what is alive and of what was asked for.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call is passed on unchanged to the system's allocator, whose contract is the same; the counters
// beside it touch no memory of the caller.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's contract is that of the system's allocator.
        counted(unsafe { System.alloc(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above. Passed on, so that large blocks stay unwritten until they are used.
        counted(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) };
        LIVE_BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: as above.
        let moved = counted(unsafe { System.realloc(memory, layout, new_size) }, new_size);
        if !moved.is_null() {
            LIVE_BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        }
        moved
    }
}

/// Counts memory that was really given.
fn counted(memory: *mut u8, size: usize) -> *mut u8 {
    if !memory.is_null() {
        LIVE_BYTES.fetch_add(size, Ordering::Relaxed);
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
    memory
}
