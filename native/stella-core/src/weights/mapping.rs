//! Files as memory. The one module of this crate with `unsafe`.
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
