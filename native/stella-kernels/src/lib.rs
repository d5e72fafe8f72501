//! Arithmetic on slices for text encoders. The crate knows no model, no file and no text.
//!
//! Each module imports only modules above it in this table.
//!
//! | subject | module |
//! | --- | --- |
//! | text of a caught panic | [`payload`] |
//! | floating-point control state of a thread (rounding mode, flush-to-zero) | [`float_state`] |
//! | start of threads | [`spawn`] |
//! | aligned memory in huge pages | [`buffer`] |
//! | threads that share a region of tasks | [`team`] |
//! | detection and choice of the instruction set: AVX2, AVX-512, AMX | [`cpu`] |
//! | number formats of products and of activations | [`arithmetic`] |
//! | numbers in the types of weight files: `f32`, half precision, bfloat16 | [`numbers`] |
//! | embedding table | [`embedding`] |
//! | rotary position embeddings | [`rotary`] |
//! | traits of an instruction set, and their implementations | `simd` |
//! | exp, GELU and SiLU of vectors | `math` |
//! | products of a few rows and a panel of weights | `tile`, `amx` |
//! | kernel bodies: attention with softmax, epilogue, layer norm and RMS norm, packing, quantization | `kernel` |
//! | kernel table: the kernels of each instruction set | [`table`] |
//! | activation buffers, and the conversion of rows to activations | [`activations`] |
//! | layer norm and RMS norm | [`norm`] |
//! | linear layers and gated layers (GELU, SwiGLU) | [`linear`] |
//! | attention within each text of a packed batch | [`attention`] |
//!
//! The terms of a sum are added in one order, which depends only on the instruction set and the size of the layer. It does not
//! depend on the number of rows, the position of a row, or the number of threads. So the same row always has the same bits.

pub mod activations;
pub mod arithmetic;
pub mod attention;
pub mod buffer;
pub mod cpu;
pub mod embedding;
pub mod float_state;
pub mod linear;
pub mod norm;
pub mod numbers;
pub mod payload;
pub mod rotary;
pub mod spawn;
pub mod table;
pub mod team;

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(test)]
#[cfg(target_arch = "x86_64")]
mod amx_tests;
mod kernel;
mod math;
mod simd;
mod tile;

pub use table::Kernels;
