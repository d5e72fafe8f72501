//! The kernel table: the kernels of each instruction set. [`Kernels::preferred`] and [`Kernels::for_level`] choose from it.
//!
//! `cpu.rs` detects the instruction sets, and has the list of steps to add one. There is no entry for Neon: Arm processors
//! use the portable kernels.
#![allow(unsafe_code, unsafe_op_in_unsafe_fn)]

use std::ops::Range;

use crate::arithmetic::{ActivationFormat, Arithmetic};
use crate::cpu::CpuLevel;
use crate::kernel::attention::{AttentionJob, attend_head};
use crate::kernel::epilogue::{EpilogueJob, apply_epilogue};
use crate::kernel::norm::{NormJob, norm_rows};
use crate::kernel::pack::{PackJob, pack_panel};
use crate::kernel::row_sink::{ConvertJob, convert_rows};
use crate::simd::{Dot, portable};
use crate::tile::{Tile, TileKernel, compute, no_op};

/// The kernels of one instruction set that this process can use.
#[derive(Debug, Clone, Copy)]
pub struct Kernels(&'static KernelTable);

/// The kernels of one instruction set.
#[derive(Debug)]
pub(crate) struct KernelTable {
    level: CpuLevel,
    f32: TileKernel,
    bf16: TileKernel,
    /// Activations of bfloat16 products: `Bf16` if the instruction set multiplies bfloat16, else `F32`.
    bf16_format: ActivationFormat,
    int8: TileKernel,
    /// Arguments: the job and a panel.
    pub(crate) pack_panel: unsafe fn(&PackJob<'_>, usize),
    /// Arguments: the job, sums, their rows and their panel.
    pub(crate) epilogue: unsafe fn(&EpilogueJob, *const u32, Range<usize>, usize),
    /// Arguments: the job, rows, and scratch memory for a row.
    pub(crate) norm_rows: unsafe fn(&NormJob, Range<usize>, *mut f32),
    /// Arguments: the job and rows.
    pub(crate) convert_rows: unsafe fn(&ConvertJob, Range<usize>),
    /// Arguments: the job, a text, a head, and scratch memory.
    pub(crate) attend_head: unsafe fn(&AttentionJob, usize, usize, *mut u32),
}

impl Kernels {
    /// Returns the kernels of an instruction set, if this process can use it.
    pub fn for_level(level: CpuLevel) -> Option<Self> {
        level.is_available().then(|| Self(KernelTable::of(level)))
    }

    /// Returns the kernels of the preferred instruction set, [`CpuLevel::preferred`].
    pub fn preferred() -> Self {
        Self(KernelTable::of(CpuLevel::preferred()))
    }

    /// Returns the instruction set.
    pub fn level(self) -> CpuLevel {
        self.0.level
    }

    /// Whether the instruction set multiplies bfloat16 numbers. Otherwise bfloat16 weights are widened to `f32`, and their
    /// products take as much time as `f32` products.
    pub fn multiplies_bf16(self) -> bool {
        self.0.bf16_format == ActivationFormat::Bf16
    }

    /// Returns the number format of activations for products in `arithmetic`.
    pub(crate) fn activation_format(self, arithmetic: Arithmetic) -> ActivationFormat {
        match arithmetic {
            Arithmetic::F32 => ActivationFormat::F32,
            Arithmetic::Bf16 => self.0.bf16_format,
            Arithmetic::Int8 => ActivationFormat::QuantizedU8,
        }
    }

    pub(crate) fn table(self) -> &'static KernelTable {
        self.0
    }

    /// Returns the kernels of a table that belongs to no instruction set.
    #[cfg(all(test, target_arch = "x86_64"))]
    pub(crate) fn in_table(table: &'static KernelTable) -> Self {
        Self(table)
    }
}

impl KernelTable {
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
        // Arm and other architectures: no Neon kernels exist, so the portable kernels run.
        #[cfg(not(target_arch = "x86_64"))]
        {
            let _ = level;
            &PORTABLE
        }
    }

    /// Returns the portable kernels with other tile kernels for bfloat16 and int8.
    #[cfg(all(test, target_arch = "x86_64"))]
    pub(crate) const fn with_tiles(bf16: TileKernel, int8: TileKernel) -> Self {
        Self { bf16, bf16_format: ActivationFormat::Bf16, int8, ..PORTABLE_VALUE }
    }

    /// Returns the tile kernel for `arithmetic`.
    pub(crate) fn tile_kernel(&self, arithmetic: Arithmetic) -> &TileKernel {
        match arithmetic {
            Arithmetic::F32 => &self.f32,
            Arithmetic::Bf16 => &self.bf16,
            Arithmetic::Int8 => &self.int8,
        }
    }
}

/// Builds a [`TileKernel`] with a function for each listed number of rows.
macro_rules! tiles {
    ($dot:ty, $compute:ident, $($rows:literal)+) => {
        TileKernel {
            by_rows: &[$($compute::<$dot, $rows>),+],
            max_rows: [$($rows),+].len(),
            row_granule: 1,
            begin: no_op,
            end: no_op,
        }
    };
}

/// Compiles the kernel bodies for the target features and the vectors of an instruction set.
#[cfg(target_arch = "x86_64")]
macro_rules! compile_kernels {
    ($features:literal, $simd:ty) => {
        #[target_feature(enable = $features)]
        unsafe fn pack_panel(job: &PackJob<'_>, panel: usize) {
            super::pack_panel(job, panel);
        }
        #[target_feature(enable = $features)]
        unsafe fn epilogue(job: &EpilogueJob, sums: *const u32, rows: Range<usize>, panel: usize) {
            apply_epilogue::<$simd>(job, sums, rows, panel);
        }
        #[target_feature(enable = $features)]
        unsafe fn norm_rows(job: &NormJob, rows: Range<usize>, scratch: *mut f32) {
            super::norm_rows::<$simd>(job, rows, scratch);
        }
        #[target_feature(enable = $features)]
        unsafe fn convert_rows(job: &ConvertJob, rows: Range<usize>) {
            super::convert_rows::<$simd>(job, rows);
        }
        #[target_feature(enable = $features)]
        unsafe fn attend_head(job: &AttentionJob, text: usize, head: usize, scratch: *mut u32) {
            super::attend_head::<$simd>(job, text, head, scratch);
        }
        /// Computes a tile, two vectors of columns at a time.
        #[target_feature(enable = $features)]
        unsafe fn compute_tile<D: Dot, const R: usize>(tile: &Tile) {
            compute::<D, R, 2>(tile);
        }
    };
}

/// Computes a tile without target features, two vectors of columns at a time.
unsafe fn compute_tile<D: Dot, const R: usize>(tile: &Tile) {
    compute::<D, R, 2>(tile);
}

const PORTABLE_VALUE: KernelTable = KernelTable {
    level: CpuLevel::Portable,
    f32: tiles!(portable::F32, compute_tile, 1 2 3 4),
    bf16: tiles!(portable::WidenedBf16, compute_tile, 1 2 3),
    bf16_format: ActivationFormat::F32,
    int8: tiles!(portable::Int8, compute_tile, 1 2),
    pack_panel,
    epilogue: apply_epilogue::<portable::Portable>,
    norm_rows: norm_rows::<portable::Portable>,
    convert_rows: convert_rows::<portable::Portable>,
    attend_head: attend_head::<portable::Portable>,
};
static PORTABLE: KernelTable = PORTABLE_VALUE;

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::*;
    use crate::simd::avx2::{Avx2, F32, Int8, WidenedBf16};

    compile_kernels!("avx2,fma", Avx2);

    pub(super) static TABLE: KernelTable = KernelTable {
        level: CpuLevel::Avx2,
        f32: tiles!(F32, compute_tile, 1 2 3 4 5 6),
        bf16: tiles!(WidenedBf16, compute_tile, 1 2 3 4),
        bf16_format: ActivationFormat::F32,
        int8: tiles!(Int8, compute_tile, 1 2 3 4),
        pack_panel,
        epilogue,
        norm_rows,
        convert_rows,
        attend_head,
    };
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use super::*;
    use crate::simd::avx512::{Avx512, F32, Int8, WidenedBf16};

    compile_kernels!("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma", Avx512);

    pub(super) const TABLE_VALUE: KernelTable = KernelTable {
        level: CpuLevel::Avx512,
        f32: tiles!(F32, compute_tile, 1 2 3 4 5 6 7 8 9 10 11 12),
        bf16: tiles!(WidenedBf16, compute_tile, 1 2 3 4 5 6 7 8 9 10 11 12),
        bf16_format: ActivationFormat::F32,
        int8: tiles!(Int8, compute_tile, 1 2 3 4 5 6 7 8 9 10),
        pack_panel,
        epilogue,
        norm_rows,
        convert_rows,
        attend_head,
    };
    pub(super) static TABLE: KernelTable = TABLE_VALUE;
}

#[cfg(target_arch = "x86_64")]
mod avx512_vnni {
    use super::*;
    use crate::simd::avx512::VnniInt8;

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
    unsafe fn compute_tile<D: Dot, const R: usize>(tile: &Tile) {
        compute::<D, R, 2>(tile);
    }

    pub(super) const TABLE_VALUE: KernelTable = KernelTable {
        level: CpuLevel::Avx512Vnni,
        int8: tiles!(VnniInt8, compute_tile, 1 2 3 4 5 6 7 8 9 10 11 12),
        ..avx512::TABLE_VALUE
    };
    pub(super) static TABLE: KernelTable = TABLE_VALUE;
}

#[cfg(target_arch = "x86_64")]
mod avx512_bf16 {
    use super::*;
    use crate::simd::avx512::Bf16;

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16,avx2,fma")]
    unsafe fn compute_tile<D: Dot, const R: usize>(tile: &Tile) {
        compute::<D, R, 2>(tile);
    }

    pub(super) const TABLE_VALUE: KernelTable = KernelTable {
        level: CpuLevel::Avx512Bf16,
        bf16: tiles!(Bf16, compute_tile, 1 2 3 4 5 6 7 8 9 10 11 12),
        bf16_format: ActivationFormat::Bf16,
        ..avx512_vnni::TABLE_VALUE
    };
    pub(super) static TABLE: KernelTable = TABLE_VALUE;
}

#[cfg(target_arch = "x86_64")]
mod amx {
    use super::*;
    use crate::amx::{BF16, INT8};

    pub(super) static TABLE: KernelTable =
        KernelTable { level: CpuLevel::Amx, bf16: BF16, int8: INT8, ..avx512_bf16::TABLE_VALUE };
}
