//! Memory-mapped files. The only module of this crate with `unsafe`.
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
    /// The error of the system.
    pub fn of(file: &File) -> std::io::Result<Self> {
        // SAFETY: the bytes of a mapping may change, or vanish with SIGBUS, when another process writes to or cuts the
        // file. Rust cannot rule out either, so the exposure is kept short and the bytes are not trusted. A mapping
        // lives only inside `WeightSet::load`, which copies every tensor before it drops the mapping. The bytes are only
        // read as numbers, for which every bit pattern is valid. No length or offset comes from the mapping: the header
        // came through ordinary reads and was checked against the size of the file. The file's identity, size and times
        // are compared again after the copy.
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
