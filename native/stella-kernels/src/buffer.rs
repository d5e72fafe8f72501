//! Memory for numbers: aligned for vectors and tiles, in huge pages if it is large, zero until it is written.

use std::sync::atomic::{AtomicU64, Ordering};

use bytemuck::Pod;
use bytemuck::allocation::try_zeroed_vec;
use memmap2::MmapMut;

/// Alignment of every buffer in bytes: a cache line, which is also a row of an AMX tile.
pub const ALIGNMENT: usize = 64;
const HUGE_PAGE: usize = 2 << 20;

/// The system refused an allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Could not allocate {bytes} bytes of memory.")]
pub struct OutOfMemory {
    /// Size of the allocation.
    pub bytes: u64,
}

/// Returns the distance between rows of `bytes` bytes: an odd number of cache lines. With an even number, the same column
/// of many rows would compete for a few sets of the cache.
pub(crate) fn row_stride(bytes: usize) -> usize {
    (bytes.div_ceil(ALIGNMENT) | 1) * ALIGNMENT
}

static PAGE_BYTES: AtomicU64 = AtomicU64::new(0);
static PAGE_BUFFERS: AtomicU64 = AtomicU64::new(0);

/// Returns the bytes of all live buffers of the process that are mapped, written or not. Smaller buffers come from the
/// allocator, which may count them.
pub fn page_bytes() -> u64 {
    PAGE_BYTES.load(Ordering::Relaxed)
}

/// Returns the number of mapped buffers that the process has allocated so far.
pub fn page_buffers() -> u64 {
    PAGE_BUFFERS.load(Ordering::Relaxed)
}

/// A fixed number of elements that are zero until they are written. The system provides a page of a large buffer at its
/// first write, and gets all pages back when the buffer is dropped.
#[derive(Debug)]
pub struct Buffer<T> {
    memory: Memory<T>,
    begin: usize,
    len: usize,
}

#[derive(Debug)]
enum Memory<T> {
    /// Allocated by the global allocator.
    Heap(Vec<T>),
    /// Mapped, so that the system can use huge pages.
    Pages(MmapMut),
}

impl<T: Pod> Buffer<T> {
    /// Allocates `len` zeros.
    ///
    /// # Errors
    /// [`OutOfMemory`] when the system refuses the memory.
    pub fn zeroed(len: usize) -> Result<Self, OutOfMemory> {
        let out_of_memory = || OutOfMemory { bytes: (len as u64).saturating_mul(size_of::<T>() as u64) };
        let bytes = len.checked_mul(size_of::<T>()).ok_or_else(out_of_memory)?;
        // The element size divides both alignments, so the buffer can begin at an element.
        let (memory, begin) = if bytes < HUGE_PAGE {
            let spare = ALIGNMENT / size_of::<T>();
            let memory = try_zeroed_vec::<T>(len + spare).map_err(|()| out_of_memory())?;
            let begin = memory.as_ptr().align_offset(ALIGNMENT).min(spare);
            (Memory::Heap(memory), begin)
        } else {
            // The spare page lets the buffer begin at a huge page.
            let mapped = bytes.checked_add(HUGE_PAGE).ok_or_else(out_of_memory)?;
            let mut pages = MmapMut::map_anon(mapped).map_err(|_| out_of_memory())?;
            let begin = pages.as_ptr().align_offset(HUGE_PAGE).min(HUGE_PAGE);
            prefer_huge_pages(&mut pages[begin..begin + bytes]);
            PAGE_BYTES.fetch_add(mapped as u64, Ordering::Relaxed);
            PAGE_BUFFERS.fetch_add(1, Ordering::Relaxed);
            (Memory::Pages(pages), begin / size_of::<T>())
        };
        Ok(Self { memory, begin, len })
    }
}

impl<T> Drop for Buffer<T> {
    fn drop(&mut self) {
        if let Memory::Pages(pages) = &self.memory {
            PAGE_BYTES.fetch_sub(pages.len() as u64, Ordering::Relaxed);
        }
    }
}

impl<T: Pod> std::ops::Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        let elements = match &self.memory {
            Memory::Heap(memory) => memory.as_slice(),
            // Pages are aligned for any element. Bytes after the last whole element are unused.
            Memory::Pages(pages) => {
                bytemuck::cast_slice(&pages[..pages.len() / size_of::<T>() * size_of::<T>()])
            }
        };
        &elements[self.begin..self.begin + self.len]
    }
}

impl<T: Pod> std::ops::DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        let elements = match &mut self.memory {
            Memory::Heap(memory) => memory.as_mut_slice(),
            Memory::Pages(pages) => {
                let whole = pages.len() / size_of::<T>() * size_of::<T>();
                bytemuck::cast_slice_mut(&mut pages[..whole])
            }
        };
        &mut elements[self.begin..self.begin + self.len]
    }
}

/// Advises the system to use huge pages for `memory`: fewer page faults while it is filled, fewer page table walks when
/// it is read. The system may ignore the advice.
#[allow(unsafe_code)]
pub fn prefer_huge_pages<T>(memory: &mut [T]) {
    #[cfg(target_os = "linux")]
    {
        let range = memory.as_mut_ptr_range();
        let begin = (range.start as usize).next_multiple_of(HUGE_PAGE);
        let end = range.end as usize / HUGE_PAGE * HUGE_PAGE;
        if begin < end {
            // SAFETY: the pages from `begin` to `end` are inside `memory`, which is alive and borrowed here. The advice
            // changes how pages are backed and not their contents.
            unsafe { libc::madvise(begin as *mut libc::c_void, end - begin, libc::MADV_HUGEPAGE) };
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = memory;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_and_zero() {
        for len in [0, 1, 15, 1000, 1 << 15, 1 << 20, (1 << 20) + 1] {
            let mut buffer = Buffer::<f32>::zeroed(len).unwrap();
            assert_eq!((buffer.len(), buffer.as_ptr() as usize % ALIGNMENT), (len, 0));
            assert!(buffer.iter().all(|&x| x == 0.0));
            buffer.fill(1.0);
        }
        assert_eq!(Buffer::<u8>::zeroed(1 << 22).unwrap().as_ptr() as usize % HUGE_PAGE, 0);
    }

    #[test]
    fn an_allocation_larger_than_the_address_space_is_an_error() {
        assert_eq!(Buffer::<f32>::zeroed(1 << 60).unwrap_err().bytes, 1 << 62);
        assert!(Buffer::<f32>::zeroed(usize::MAX).is_err());
    }
}
