//! The table of kernels: what runs at which level.
#![allow(unsafe_code, unsafe_op_in_unsafe_fn)]

use std::ops::Range;

use crate::activations::{Activations, Arithmetic, Format, unscaled_stride};
use crate::attention::{self, AttentionJob};
use crate::buffer::OutOfMemory;
use crate::cpu::CpuLevel;
use crate::linear::{self, Ending};
use crate::pack::{self, PackJob};
use crate::rows::{self, NormJob, SettleJob};
use crate::simd::{Dot, portable};
use crate::tile::{Tile, TileKernel, compute, nothing};

/// The kernels of one level that this machine has.
#[derive(Debug, Clone, Copy)]
pub struct Kernels(&'static Table);

/// A level's row of the table.
#[derive(Debug)]
pub(crate) struct Table {
    level: CpuLevel,
    f32: TileKernel,
    bf16: TileKernel,
    /// Activations in products with bfloat16: that, where the processor multiplies it, else `f32`.
    bf16_format: Format,
    bytes: TileKernel,
    pub(crate) pack: unsafe fn(&PackJob<'_>, usize),
    pub(crate) finish: unsafe fn(&Ending, *const u32, Range<usize>, usize),
    pub(crate) normalize: unsafe fn(&NormJob, Range<usize>, *mut f32),
    pub(crate) settle: unsafe fn(&SettleJob, Range<usize>),
    pub(crate) attend: unsafe fn(&AttentionJob, usize, usize, *mut u32),
}

impl Kernels {
    /// The kernels of a level, if this machine has it.
    pub fn of(level: CpuLevel) -> Option<Self> {
        level.is_available().then(|| Self(Table::of(level)))
    }

    /// The kernels of the level that is used unless a caller names one: [`CpuLevel::preferred`].
    pub fn preferred() -> Self {
        Self(Table::of(CpuLevel::preferred()))
    }

    /// The level.
    pub fn level(self) -> CpuLevel {
        self.0.level
    }

    /// Whether the processor multiplies bfloat16 by itself at this level. Where it does not, weights in bfloat16 are
    /// widened, and cost as much arithmetic as `f32` ones.
    pub fn multiplies_bf16(self) -> bool {
        self.0.bf16_format == Format::Bf16
    }

    /// Room for `rows` rows of `width` numbers.
    ///
    /// # Errors
    /// [`OutOfMemory`]
    pub fn activations(
        self,
        arithmetic: Arithmetic,
        rows: usize,
        width: usize,
    ) -> Result<Activations, OutOfMemory> {
        Activations::new(arithmetic, self.format(arithmetic), rows, width)
    }

    /// Bytes of memory that `rows` rows of `width` numbers take once they are written.
    pub fn activation_bytes(self, arithmetic: Arithmetic, rows: usize, width: usize) -> u64 {
        Activations::bytes_for(arithmetic, self.format(arithmetic), rows, width)
    }

    /// Numbers that [`crate::linear::Then::Gate`] wants room for beside activations of `rows` rows of `width` numbers.
    pub fn gate_room(self, arithmetic: Arithmetic, rows: usize, width: usize) -> usize {
        if self.format(arithmetic) == Format::Bytes { rows * unscaled_stride(width) } else { 0 }
    }

    pub(crate) fn format(self, arithmetic: Arithmetic) -> Format {
        match arithmetic {
            Arithmetic::F32 => Format::F32,
            Arithmetic::Bf16 => self.0.bf16_format,
            Arithmetic::Int8 => Format::Bytes,
        }
    }

    pub(crate) fn table(self) -> &'static Table {
        self.0
    }

    /// The kernels of a table that is no level's.
    #[cfg(test)]
    pub(crate) fn in_table(table: &'static Table) -> Self {
        Self(table)
    }
}

impl Table {
    fn of(level: CpuLevel) -> &'static Self {
        #[cfg(target_arch = "x86_64")]
        match level {
            CpuLevel::Portable => &PORTABLE,
            CpuLevel::Avx2 => &avx2::TABLE,
            CpuLevel::Avx512 => &avx512::TABLE,
            CpuLevel::Avx512Vnni => &avx512_vnni::TABLE,
            CpuLevel::Avx512Bf16 => &avx512_bf16::TABLE,
            CpuLevel::Amx => &amx::TABLE,
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            let _ = level;
            &PORTABLE
        }
    }

    /// Kernels that run anywhere but for the tiles.
    #[cfg(test)]
    pub(crate) const fn with_tiles(bf16: TileKernel, bytes: TileKernel) -> Self {
        Self { bf16, bf16_format: Format::Bf16, bytes, ..PORTABLE_VALUE }
    }

    pub(crate) fn tile(&self, arithmetic: Arithmetic) -> &TileKernel {
        match arithmetic {
            Arithmetic::F32 => &self.f32,
            Arithmetic::Bf16 => &self.bf16,
            Arithmetic::Int8 => &self.bytes,
        }
    }
}

/// A tile kernel of tiles of up to as many rows as are listed.
macro_rules! tiles {
    ($dot:ty, $compute:ident, $($rows:literal)+) => {
        TileKernel {
            by_rows: &[$($compute::<$dot, $rows>),+],
            rows: [$($rows),+].len(),
            row_granule: 1,
            begin: nothing,
            end: nothing,
        }
    };
}

/// The kernels of a level: everything that is generic over vectors, compiled for its features.
#[cfg(target_arch = "x86_64")]
macro_rules! level {
    ($features:literal, $simd:ty) => {
        #[target_feature(enable = $features)]
        unsafe fn pack(job: &PackJob<'_>, panel: usize) {
            pack::pack(job, panel);
        }
        #[target_feature(enable = $features)]
        unsafe fn finish(ending: &Ending, sums: *const u32, rows: Range<usize>, panel: usize) {
            linear::finish::<$simd>(ending, sums, rows, panel);
        }
        #[target_feature(enable = $features)]
        unsafe fn normalize(job: &NormJob, rows: Range<usize>, spare: *mut f32) {
            rows::normalize::<$simd>(job, rows, spare);
        }
        #[target_feature(enable = $features)]
        unsafe fn settle(job: &SettleJob, rows: Range<usize>) {
            rows::settle::<$simd>(job, rows);
        }
        #[target_feature(enable = $features)]
        unsafe fn attend(job: &AttentionJob, text: usize, head: usize, scratch: *mut u32) {
            attention::attend::<$simd>(job, text, head, scratch);
        }
        /// Two vectors of columns at a time.
        #[target_feature(enable = $features)]
        unsafe fn two<D: Dot, const R: usize>(tile: &Tile) {
            compute::<D, R, 2>(tile);
        }
    };
}

/// Two vectors of columns at a time, as [`level`] has it.
unsafe fn two<D: Dot, const R: usize>(tile: &Tile) {
    compute::<D, R, 2>(tile);
}

const PORTABLE_VALUE: Table = Table {
    level: CpuLevel::Portable,
    f32: tiles!(portable::F32, two, 1 2 3 4),
    bf16: tiles!(portable::Widened, two, 1 2 3),
    bf16_format: Format::F32,
    bytes: tiles!(portable::Bytes, two, 1 2),
    pack: pack::pack,
    finish: linear::finish::<portable::Portable>,
    normalize: rows::normalize::<portable::Portable>,
    settle: rows::settle::<portable::Portable>,
    attend: attention::attend::<portable::Portable>,
};
static PORTABLE: Table = PORTABLE_VALUE;

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::*;
    use crate::simd::avx2::{Avx2, Bytes, F32, Widened};

    level!("avx2,fma", Avx2);

    pub(super) static TABLE: Table = Table {
        level: CpuLevel::Avx2,
        f32: tiles!(F32, two, 1 2 3 4 5 6),
        bf16: tiles!(Widened, two, 1 2 3 4),
        bf16_format: Format::F32,
        bytes: tiles!(Bytes, two, 1 2 3 4),
        pack,
        finish,
        normalize,
        settle,
        attend,
    };
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use super::*;
    use crate::simd::avx512::{Avx512, Bytes, F32, Widened};

    level!("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma", Avx512);

    pub(super) const TABLE_VALUE: Table = Table {
        level: CpuLevel::Avx512,
        f32: tiles!(F32, two, 1 2 3 4 5 6 7 8 9 10 11 12),
        bf16: tiles!(Widened, two, 1 2 3 4 5 6 7 8 9 10 11 12),
        bf16_format: Format::F32,
        bytes: tiles!(Bytes, two, 1 2 3 4 5 6 7 8 9 10),
        pack,
        finish,
        normalize,
        settle,
        attend,
    };
    pub(super) static TABLE: Table = TABLE_VALUE;
}

#[cfg(target_arch = "x86_64")]
mod avx512_vnni {
    use super::*;
    use crate::simd::avx512::Vnni;

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
    unsafe fn two<D: Dot, const R: usize>(tile: &Tile) {
        compute::<D, R, 2>(tile);
    }

    pub(super) const TABLE_VALUE: Table = Table {
        level: CpuLevel::Avx512Vnni,
        bytes: tiles!(Vnni, two, 1 2 3 4 5 6 7 8 9 10 11 12),
        ..avx512::TABLE_VALUE
    };
    pub(super) static TABLE: Table = TABLE_VALUE;
}

#[cfg(target_arch = "x86_64")]
mod avx512_bf16 {
    use super::*;
    use crate::simd::avx512::Bf16;

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16,avx2,fma")]
    unsafe fn two<D: Dot, const R: usize>(tile: &Tile) {
        compute::<D, R, 2>(tile);
    }

    pub(super) const TABLE_VALUE: Table = Table {
        level: CpuLevel::Avx512Bf16,
        bf16: tiles!(Bf16, two, 1 2 3 4 5 6 7 8 9 10 11 12),
        bf16_format: Format::Bf16,
        ..avx512_vnni::TABLE_VALUE
    };
    pub(super) static TABLE: Table = TABLE_VALUE;
}

#[cfg(target_arch = "x86_64")]
mod amx {
    use super::*;
    use crate::amx::{BF16, BYTES};

    pub(super) static TABLE: Table =
        Table { level: CpuLevel::Amx, bf16: BF16, bytes: BYTES, ..avx512_bf16::TABLE_VALUE };
}
