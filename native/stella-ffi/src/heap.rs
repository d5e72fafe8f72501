//! The library's memory: counted, and given back to the system when it is freed.
//!
//! glibc's allocator keeps much of what is freed, in one heap per thread, and takes larger and larger blocks from there once
//! one of that size was freed. A process that loads and unloads would grow for a while by what no longer fits. So large
//! blocks have pages of their own, and what the small ones of a model leave is given back with it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use stella_core::model::Model;

static LIVE_BYTES: AtomicUsize = AtomicUsize::new(0);
static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

/// Bytes that are allocated and not freed.
pub(crate) fn live_bytes() -> u64 {
    LIVE_BYTES.load(Ordering::Relaxed) as u64
}

/// Times that memory was asked for.
pub(crate) fn allocations() -> u64 {
    ALLOCATIONS.load(Ordering::Relaxed) as u64
}

/// Drops one hold of a model. With the last one the model is freed.
pub(crate) fn drop_hold(model: Arc<Model>) {
    if let Some(model) = Arc::into_inner(model) {
        drop(model);
        pages::give_back();
    }
}

/// The system's allocator, or pages from the system itself, with a count of what is alive and of what was asked for.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: whether a block is the allocator's or has pages of its own follows from its layout alone, so each is freed and
// resized where it came from, and what is passed on to the system's allocator is passed on unchanged. Pages begin at a
// multiple of any alignment that has them, hold as many bytes as were asked for, and are zero. Where a block changes sides,
// its bytes are copied up to the shorter length. The counters touch no memory of the caller.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's contract is that of the system's allocator.
        taken(layout, || unsafe { System.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        taken(layout, || unsafe { System.alloc_zeroed(layout) })
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        if pages::has_own(layout) {
            // SAFETY: mapped with this size, by the same question.
            unsafe { pages::unmap(memory, layout.size()) };
        } else {
            // SAFETY: as above.
            unsafe { System.dealloc(memory, layout) };
        }
        LIVE_BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: by the caller's contract the new size is right for this alignment.
        let new = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        match (pages::has_own(layout), pages::has_own(new)) {
            (false, false) => {
                // SAFETY: the caller's contract is that of the system's allocator.
                let moved = unsafe { System.realloc(memory, layout, new_size) };
                resized(moved, layout.size(), new_size)
            }
            (true, true) => {
                // SAFETY: mapped with this size, by the same question.
                let moved = unsafe { pages::remap(memory, layout.size(), new_size) };
                resized(moved, layout.size(), new_size)
            }
            _ => {
                // SAFETY: blocks of this allocator, which do not overlap.
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

/// New memory, of the system's allocator where it has no pages of its own.
fn taken(layout: Layout, of_the_allocator: impl FnOnce() -> *mut u8) -> *mut u8 {
    let memory = if pages::has_own(layout) { pages::map(layout.size()) } else { of_the_allocator() };
    resized(memory, 0, layout.size())
}

/// Counts memory that was really given.
fn resized(memory: *mut u8, from: usize, to: usize) -> *mut u8 {
    if !memory.is_null() {
        LIVE_BYTES.fetch_add(to, Ordering::Relaxed);
        LIVE_BYTES.fetch_sub(from, Ordering::Relaxed);
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
    memory
}

/// Where glibc is. A fuzzer sees what lies beyond a block of its own allocator's alone.
#[cfg(all(target_os = "linux", target_env = "gnu", not(fuzzing)))]
mod pages {
    use std::alloc::Layout;
    use std::ptr::null_mut;

    /// What glibc gives pages of their own until it has freed one.
    const OWN_PAGES: usize = 128 << 10;
    /// The least that a page has.
    const PAGE: usize = 4096;

    pub(super) fn has_own(layout: Layout) -> bool {
        layout.size() >= OWN_PAGES && layout.align() <= PAGE
    }

    pub(super) fn map(size: usize) -> *mut u8 {
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: new pages, where the system likes; nothing that is there changes.
        or_null(unsafe { libc::mmap(null_mut(), size, access, kind, -1, 0) })
    }

    /// # Safety
    /// `memory` is of [`map`] or [`remap`] with this size, and nobody uses it any more.
    pub(super) unsafe fn unmap(memory: *mut u8, size: usize) {
        // SAFETY: this function's contract.
        unsafe { libc::munmap(memory.cast(), size) };
    }

    /// # Safety
    /// `memory` is of [`map`] or [`remap`] with the size `from`; unless the result is null it is not used any more.
    pub(super) unsafe fn remap(memory: *mut u8, from: usize, to: usize) -> *mut u8 {
        // SAFETY: this function's contract.
        or_null(unsafe { libc::mremap(memory.cast(), from, to, libc::MREMAP_MAYMOVE) })
    }

    fn or_null(memory: *mut libc::c_void) -> *mut u8 {
        if memory == libc::MAP_FAILED { null_mut() } else { memory.cast() }
    }

    /// Gives the free pages of all heaps back to the system.
    ///
    /// The thread that frees a model waits for it: 2 to 17 ms of processor time on Zen 4 for the 4 MB that a model of
    /// 30,000 words leaves in small blocks. The free pages of the host go back too, at about 4 ms a megabyte when they lie
    /// in pieces. A thread for it could be refused at that moment, and would lock the same heaps.
    pub(super) fn give_back() {
        // SAFETY: any thread may call it at any time, with any number.
        unsafe { libc::malloc_trim(0) };
    }
}

/// Other allocators give back by themselves, or cannot be asked.
#[cfg(not(all(target_os = "linux", target_env = "gnu", not(fuzzing))))]
mod pages {
    use std::alloc::Layout;
    use std::ptr::null_mut;

    pub(super) fn has_own(_: Layout) -> bool {
        false
    }

    pub(super) fn map(_: usize) -> *mut u8 {
        null_mut()
    }

    pub(super) unsafe fn unmap(_: *mut u8, _: usize) {}

    pub(super) unsafe fn remap(_: *mut u8, _: usize, _: usize) -> *mut u8 {
        null_mut()
    }

    pub(super) fn give_back() {}
}
