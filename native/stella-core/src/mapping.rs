//! Memory as the system sees it: files as memory, and large pages. The one module of this crate with `unsafe`.
#![allow(unsafe_code)]

use std::fs::File;
use std::ops::Deref;

/// A read-only view of a whole file.
#[derive(Debug)]
pub struct Mapping {
    map: memmap2::Mmap,
}

impl Mapping {
    /// Maps all of `file`.
    ///
    /// # Errors
    /// The system's.
    pub fn of(file: &File) -> std::io::Result<Self> {
        // SAFETY: the bytes of a mapping may change, or vanish with SIGBUS, when somebody writes to or cuts
        // the file. Both are outside what Rust can promise, so the time in which it can happen is kept short
        // and what is read is not trusted: a mapping lives only inside `weights::WeightSet::load`, whose
        // caller copies every tensor out before it is dropped; the bytes are only ever read as plain
        // numbers, for which every bit pattern is valid; no length or offset is ever taken from them (the
        // header came through ordinary reads and was checked against the file's size); and the file's
        // identity, size and time are compared again after the copy.
        let map = unsafe { memmap2::Mmap::map(file)? };
        Ok(Self { map })
    }
}

impl Deref for Mapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map
    }
}

/// Asks the system for large pages under `memory`: fewer faults while it is filled, fewer table walks when it is used.
/// A wish: where it is not granted, nothing changes.
pub fn prefer_huge_pages<T>(memory: &mut [T]) {
    #[cfg(target_os = "linux")]
    {
        const HUGE_PAGE: usize = 2 << 20;
        let range = memory.as_mut_ptr_range();
        let begin = (range.start as usize).next_multiple_of(HUGE_PAGE);
        let end = range.end as usize / HUGE_PAGE * HUGE_PAGE;
        if begin < end {
            // SAFETY: the pages from `begin` to `end` lie inside `memory`, which is alive and borrowed here; this
            // advice changes how they are backed and not what they hold.
            unsafe { libc::madvise(begin as *mut libc::c_void, end - begin, libc::MADV_HUGEPAGE) };
        }
    }
}
