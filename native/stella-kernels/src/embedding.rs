//! The embedding table: one row for each token id.

use crate::arithmetic::Arithmetic;
use crate::buffer::{Buffer, OutOfMemory};
use crate::numbers::{Rows, widen_bf16};

/// An embedding table in `f32`, or in bfloat16, which takes half the memory.
#[derive(Debug)]
pub struct Embedding {
    width: usize,
    rows: EmbeddingRows,
}

#[derive(Debug)]
enum EmbeddingRows {
    F32(Buffer<f32>),
    Bf16(Buffer<u16>),
}

impl Embedding {
    /// Creates a table of `rows` rows of zeros: in `f32` for [`Arithmetic::F32`], otherwise in bfloat16.
    ///
    /// # Errors
    /// [`OutOfMemory`]
    pub fn new(arithmetic: Arithmetic, rows: usize, width: usize) -> Result<Self, OutOfMemory> {
        let rows = match arithmetic {
            Arithmetic::F32 => EmbeddingRows::F32(Buffer::zeroed(rows * width)?),
            _ => EmbeddingRows::Bf16(Buffer::zeroed(rows * width)?),
        };
        Ok(Self { width, rows })
    }

    /// Sets consecutive rows, starting at row `first`.
    ///
    /// # Panics
    /// When the last row is incomplete, or the table is too short.
    pub fn set(&mut self, first: usize, rows: Rows<'_>) {
        let (begin, count) = (first * self.width, rows.len());
        assert_eq!(count % self.width, 0, "The last row of {} numbers is incomplete.", self.width);
        match &mut self.rows {
            EmbeddingRows::F32(table) => rows.widen(&mut table[begin..begin + count]),
            EmbeddingRows::Bf16(table) => rows.round_to_bf16(&mut table[begin..begin + count]),
        }
    }

    /// Writes the rows of the token ids to `out`, row-major `[ids, width]`. Adds `offset` to each row, if there is one.
    ///
    /// # Panics
    /// When the table has no such id, or `out` has another size.
    pub fn look_up(&self, ids: &[u32], offset: Option<&[f32]>, out: &mut [f32]) {
        let width = self.width;
        assert_eq!(out.len(), ids.len() * width, "The output must have {} rows of {width}.", ids.len());
        for (&id, out) in ids.iter().zip(out.chunks_exact_mut(width)) {
            let begin = id as usize * width;
            match &self.rows {
                EmbeddingRows::F32(table) => out.copy_from_slice(&table[begin..begin + width]),
                EmbeddingRows::Bf16(table) => {
                    let row = &table[begin..begin + width];
                    out.iter_mut().zip(row).for_each(|(x, &bits)| *x = widen_bf16(bits));
                }
            }
            if let Some(offset) = offset {
                out.iter_mut().zip(offset).for_each(|(x, y)| *x += y);
            }
        }
    }

    /// Returns the memory of a table in bytes.
    pub fn bytes_for(arithmetic: Arithmetic, rows: usize, width: usize) -> u64 {
        let number = if arithmetic == Arithmetic::F32 { 4 } else { 2 };
        number * (rows * width) as u64
    }
}
