//! A table of rows that are looked up by number.

use crate::activations::Arithmetic;
use crate::buffer::{Buffer, OutOfMemory};
use crate::pack::Rows;

/// Rows of equal width, in `f32`, or in bfloat16 to take half the memory.
#[derive(Debug)]
pub struct Embedding {
    width: usize,
    table: Table,
}

#[derive(Debug)]
enum Table {
    F32(Buffer<f32>),
    Bf16(Buffer<u16>),
}

impl Embedding {
    /// A table of `rows` rows of zeros: in `f32` for [`Arithmetic::F32`], otherwise in bfloat16.
    ///
    /// # Errors
    /// [`OutOfMemory`]
    pub fn new(arithmetic: Arithmetic, rows: usize, width: usize) -> Result<Self, OutOfMemory> {
        let table = match arithmetic {
            Arithmetic::F32 => Table::F32(Buffer::zeroed(rows * width)?),
            _ => Table::Bf16(Buffer::zeroed(rows * width)?),
        };
        Ok(Self { width, table })
    }

    /// Sets the rows from `first` on.
    ///
    /// # Panics
    /// When they are not whole rows, or rows that the table does not have.
    pub fn set(&mut self, first: usize, rows: Rows<'_>) {
        let (begin, count) = (first * self.width, rows.len());
        assert_eq!(count % self.width, 0, "whole rows of {}", self.width);
        match &mut self.table {
            Table::F32(table) => rows.widen(&mut table[begin..begin + count]),
            Table::Bf16(table) => rows.round(&mut table[begin..begin + count]),
        }
    }

    /// Writes the rows `ids`, row-major `[ids, width]`, each with `plus` added where there is such a row.
    ///
    /// # Panics
    /// When an id is not in the table, or sizes do not fit.
    pub fn look_up(&self, ids: &[u32], plus: Option<&[f32]>, out: &mut [f32]) {
        assert_eq!(out.len(), ids.len() * self.width, "room for {} rows of {}", ids.len(), self.width);
        for (&id, out) in ids.iter().zip(out.chunks_exact_mut(self.width)) {
            let at = id as usize * self.width;
            match &self.table {
                Table::F32(table) => out.copy_from_slice(&table[at..at + self.width]),
                Table::Bf16(table) => {
                    let row = &table[at..at + self.width];
                    out.iter_mut().zip(row).for_each(|(x, &half)| *x = f32::from_bits(u32::from(half) << 16));
                }
            }
            if let Some(plus) = plus {
                out.iter_mut().zip(plus).for_each(|(x, y)| *x += y);
            }
        }
    }

    /// Bytes of memory that a table takes.
    pub fn bytes_for(arithmetic: Arithmetic, rows: usize, width: usize) -> u64 {
        let each = if arithmetic == Arithmetic::F32 { 4 } else { 2 };
        each * (rows * width) as u64
    }
}
