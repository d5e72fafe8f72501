//! The allocator of the library: it counts memory, and returns freed memory to the system.
//!
//! glibc keeps freed blocks in one heap per thread. It maps a large block separately, but freeing such a block raises the
//! threshold, so that later blocks of that size come from the heaps. A process that loads and unloads models would grow by
//! what the heaps keep. So the allocator always maps large blocks (page-backed blocks), and trims the heaps when a model is
//! freed.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use stella_core::model::Model;

static LIVE_BYTES: AtomicUsize = AtomicUsize::new(0);
static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

/// Returns the number of bytes that are allocated and not freed.
pub(crate) fn live_bytes() -> u64 {
    LIVE_BYTES.load(Ordering::Relaxed) as u64
}

/// Returns the number of allocations so far.
pub(crate) fn allocations() -> u64 {
    ALLOCATIONS.load(Ordering::Relaxed) as u64
}

/// Drops a reference to a model. Frees the model and trims the heaps if it was the last.
pub(crate) fn release_model(model: Arc<Model>) {
    if let Some(model) = Arc::into_inner(model) {
        drop(model);
        pages::trim_heaps();
    }
}

/// Allocates small blocks by the allocator of the system and maps large blocks, and counts both.
struct CountingAllocator;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

// SAFETY: the layout alone decides whether a block is page-backed, so each block is freed and resized where it came from.
// Arguments reach the allocator of the system unchanged. Mapped pages are zero, hold the requested bytes, and begin at a
// multiple of every alignment that `is_page_backed` accepts. If a block moves between the two, its bytes are copied up to the
// smaller size. The counters touch no memory of the caller.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's contract is that of the system's allocator.
        allocate(layout, || unsafe { System.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        allocate(layout, || unsafe { System.alloc_zeroed(layout) })
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        if pages::is_page_backed(layout) {
            // SAFETY: a page-backed block of this size was mapped with this size.
            unsafe { pages::unmap(memory, layout.size()) };
        } else {
            // SAFETY: as above.
            unsafe { System.dealloc(memory, layout) };
        }
        LIVE_BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the new size is valid for this alignment by the caller's contract.
        let new = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        match (pages::is_page_backed(layout), pages::is_page_backed(new)) {
            (false, false) => {
                // SAFETY: the caller's contract is that of the system's allocator.
                let moved = unsafe { System.realloc(memory, layout, new_size) };
                count(moved, layout.size(), new_size)
            }
            (true, true) => {
                // SAFETY: as in `dealloc`.
                let moved = unsafe { pages::remap(memory, layout.size(), new_size) };
                count(moved, layout.size(), new_size)
            }
            _ => {
                // SAFETY: two live blocks of this allocator, which do not overlap.
                unsafe {
                    let moved = self.alloc(new);
                    if !moved.is_null() {
                        moved.copy_from_nonoverlapping(memory, layout.size().min(new_size));
                        self.dealloc(memory, layout);
                    }
                    moved
                }
            }
        }
    }
}

/// Allocates and counts a block: maps it if it is page-backed, and calls `by_system` otherwise.
fn allocate(layout: Layout, by_system: impl FnOnce() -> *mut u8) -> *mut u8 {
    let memory = if pages::is_page_backed(layout) { pages::map(layout.size()) } else { by_system() };
    count(memory, 0, layout.size())
}

/// Counts a block that was allocated or resized. Does not count null.
fn count(memory: *mut u8, from: usize, to: usize) -> *mut u8 {
    if !memory.is_null() {
        LIVE_BYTES.fetch_add(to, Ordering::Relaxed);
        LIVE_BYTES.fetch_sub(from, Ordering::Relaxed);
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
    memory
}

/// Page-backed blocks for glibc. Not under a fuzzer: AddressSanitizer checks only blocks of its own allocator for overflows.
#[cfg(all(target_os = "linux", target_env = "gnu", not(fuzzing)))]
mod pages {
    use std::alloc::Layout;
    use std::ptr::null_mut;

    /// The size in bytes from which glibc maps a block separately, as long as it has freed no larger one.
    const MIN_MAPPED_BYTES: usize = 128 << 10;
    /// The smallest size of a page in bytes.
    const PAGE: usize = 4096;

    pub(super) fn is_page_backed(layout: Layout) -> bool {
        layout.size() >= MIN_MAPPED_BYTES && layout.align() <= PAGE
    }

    pub(super) fn map(size: usize) -> *mut u8 {
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: the system chooses the address of new pages, so no mapped memory changes.
        or_null(unsafe { libc::mmap(null_mut(), size, access, kind, -1, 0) })
    }

    /// # Safety
    /// `memory` came from [`map`] or [`remap`] with this size and is not used any more.
    pub(super) unsafe fn unmap(memory: *mut u8, size: usize) {
        // SAFETY: this function's contract.
        unsafe { libc::munmap(memory.cast(), size) };
    }

    /// # Safety
    /// `memory` came from [`map`] or [`remap`] with the size `from`. It is not used any more unless the result is null.
    pub(super) unsafe fn remap(memory: *mut u8, from: usize, to: usize) -> *mut u8 {
        // SAFETY: this function's contract.
        or_null(unsafe { libc::mremap(memory.cast(), from, to, libc::MREMAP_MAYMOVE) })
    }

    fn or_null(memory: *mut libc::c_void) -> *mut u8 {
        if memory == libc::MAP_FAILED { null_mut() } else { memory.cast() }
    }

    /// Returns the free pages of all heaps to the system.
    ///
    /// The thread that frees a model waits for it: 2 to 17 ms of processor time on Zen 4 for the 4 MB that a model of
    /// 30,000 words leaves in small blocks. The free pages of the host are returned too, at about 4 ms per megabyte if they
    /// are scattered. Another thread would not help: the system could refuse it, and it would lock the same heaps.
    pub(super) fn trim_heaps() {
        // SAFETY: any thread may call `malloc_trim` at any time, with any number.
        unsafe { libc::malloc_trim(0) };
    }
}

/// No block is page-backed with other allocators: they return memory by themselves or have no call for it.
#[cfg(not(all(target_os = "linux", target_env = "gnu", not(fuzzing))))]
mod pages {
    use std::alloc::Layout;
    use std::ptr::null_mut;

    pub(super) fn is_page_backed(_: Layout) -> bool {
        false
    }

    pub(super) fn map(_: usize) -> *mut u8 {
        null_mut()
    }

    pub(super) unsafe fn unmap(_: *mut u8, _: usize) {}

    pub(super) unsafe fn remap(_: *mut u8, _: usize, _: usize) -> *mut u8 {
        null_mut()
    }

    pub(super) fn trim_heaps() {}
}
