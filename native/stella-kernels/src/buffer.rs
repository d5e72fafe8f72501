//! Memory for numbers: aligned for vectors and tiles, in large pages, zero until written.

use std::sync::atomic::{AtomicU64, Ordering};

use bytemuck::Pod;
use bytemuck::allocation::try_zeroed_vec;
use memmap2::MmapMut;

/// Where every buffer begins is a multiple of this many bytes: a line of the cache, a row of a tile.
pub const ALIGNMENT: usize = 64;
const HUGE_PAGE: usize = 2 << 20;

/// Memory was asked for and not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{bytes} bytes of memory could not be had")]
pub struct OutOfMemory {
    /// How much was asked for.
    pub bytes: u64,
}

static PAGE_BYTES: AtomicU64 = AtomicU64::new(0);
static PAGE_BUFFERS: AtomicU64 = AtomicU64::new(0);

/// Bytes of the buffers of this process that have pages of their own and are alive, whether or not they were written.
/// Smaller ones come from the allocator, which may count them.
pub fn page_bytes() -> u64 {
    PAGE_BYTES.load(Ordering::Relaxed)
}

/// Buffers of this process so far that had pages of their own.
pub fn page_buffers() -> u64 {
    PAGE_BUFFERS.load(Ordering::Relaxed)
}

/// A fixed number of elements, all zero until they are written. Memory that is never written is never taken from the
/// system, and what was taken goes back when the buffer is dropped.
#[derive(Debug)]
pub struct Buffer<T> {
    memory: Memory<T>,
    begin: usize,
    len: usize,
}

#[derive(Debug)]
enum Memory<T> {
    /// Of the allocator.
    Heap(Vec<T>),
    /// Pages of its own, so that the system can make them large.
    Pages(MmapMut),
}

impl<T: Pod> Buffer<T> {
    /// A buffer of `len` zeros.
    ///
    /// # Errors
    /// [`OutOfMemory`] when the system refuses.
    pub fn zeroed(len: usize) -> Result<Self, OutOfMemory> {
        let out_of_memory = || OutOfMemory { bytes: (len as u64).saturating_mul(size_of::<T>() as u64) };
        let bytes = len.checked_mul(size_of::<T>()).ok_or_else(out_of_memory)?;
        // The element size divides both alignments, so there is an aligned element among the spare ones.
        let (memory, begin) = if bytes < HUGE_PAGE {
            let spare = ALIGNMENT / size_of::<T>();
            let memory = try_zeroed_vec::<T>(len + spare).map_err(|()| out_of_memory())?;
            let begin = memory.as_ptr().align_offset(ALIGNMENT).min(spare);
            (Memory::Heap(memory), begin)
        } else {
            // Large pages are given only where a whole one fits.
            let all = bytes.checked_add(HUGE_PAGE).ok_or_else(out_of_memory)?;
            let mut pages = MmapMut::map_anon(all).map_err(|_| out_of_memory())?;
            let begin = pages.as_ptr().align_offset(HUGE_PAGE).min(HUGE_PAGE);
            prefer_huge_pages(&mut pages[begin..begin + bytes]);
            PAGE_BYTES.fetch_add(all as u64, Ordering::Relaxed);
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
        let all = match &self.memory {
            Memory::Heap(memory) => memory.as_slice(),
            // Pages are aligned for any element; what is left behind the last whole one is not ours.
            Memory::Pages(pages) => {
                bytemuck::cast_slice(&pages[..pages.len() / size_of::<T>() * size_of::<T>()])
            }
        };
        &all[self.begin..self.begin + self.len]
    }
}

impl<T: Pod> std::ops::DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        let all = match &mut self.memory {
            Memory::Heap(memory) => memory.as_mut_slice(),
            Memory::Pages(pages) => {
                let whole = pages.len() / size_of::<T>() * size_of::<T>();
                bytemuck::cast_slice_mut(&mut pages[..whole])
            }
        };
        &mut all[self.begin..self.begin + self.len]
    }
}

/// Asks the system for large pages under `memory`: fewer faults while it is filled, fewer table walks when it is used.
/// A wish: where it is not granted, nothing changes.
#[allow(unsafe_code)]
pub fn prefer_huge_pages<T>(memory: &mut [T]) {
    #[cfg(target_os = "linux")]
    {
        let range = memory.as_mut_ptr_range();
        let begin = (range.start as usize).next_multiple_of(HUGE_PAGE);
        let end = range.end as usize / HUGE_PAGE * HUGE_PAGE;
        if begin < end {
            // SAFETY: the pages from `begin` to `end` lie inside `memory`, which is alive and borrowed here; this
            // advice changes how they are backed and not what they hold.
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
    fn more_than_there_is_memory_is_an_error() {
        assert_eq!(Buffer::<f32>::zeroed(1 << 60).unwrap_err().bytes, 1 << 62);
        assert!(Buffer::<f32>::zeroed(usize::MAX).is_err());
    }
}
