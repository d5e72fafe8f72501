//! Arithmetic on slices for text encoders. Knows no model, no file and no text.
//!
//! | what | module |
//! | --- | --- |
//! | which instructions there are, and which are used | [`cpu`] |
//! | the kernels of each level in one table | [`kernels`] |
//! | threads, and which of them share a piece of work | [`spawn`], [`team`] |
//! | the rounding mode and the like, which a thread has from whoever started it | [`float_state`] |
//! | the payload of a caught panic | [`payload`] |
//! | aligned memory in large pages | [`buffer`] |
//! | rows as a product reads them | [`activations`] |
//! | weights, packed once | [`pack`] |
//! | their product with activations, and what follows it | [`linear`], `tile`, `amx` |
//! | attention within each text | [`attention`], [`rotary`] |
//! | norms, and the scales of rows | [`rows`] |
//! | rows by number | [`embedding`] |
//! | functions of one number, and what is asked of an instruction set | `math`, `simd` |
//!
//! An element of a result is summed in one order, which depends on the level and on the sizes of the layer alone: not on
//! how many rows there are, where among them it stands, or how many threads work. Whoever computes the same row again gets
//! the same bits.

pub mod activations;
pub mod attention;
pub mod buffer;
pub mod cpu;
pub mod embedding;
pub mod float_state;
pub mod kernels;
pub mod linear;
pub mod pack;
pub mod payload;
pub mod rotary;
pub mod rows;
pub mod spawn;
pub mod team;

#[cfg(target_arch = "x86_64")]
mod amx;
mod math;
mod simd;
mod tile;

pub use kernels::Kernels;
