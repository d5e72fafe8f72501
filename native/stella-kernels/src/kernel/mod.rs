//! Kernel bodies, written over the traits of [`crate::simd`]. `table.rs` compiles each body once for each instruction set.
//!
//! | kernel | computes |
//! | --- | --- |
//! | [`attention`] | attention of one head within one text: rotary embeddings, scores, softmax, weighted sum of values |
//! | [`epilogue`] | the end of a matrix product: dequantization, bias, residual, GELU or SiLU gate |
//! | [`norm`] | layer norm and RMS norm of rows |
//! | [`pack`] | weights packed into panels, in int8 quantized on the way |
//! | [`row_sink`] | rows converted to activations: copied, rounded to bfloat16, or quantized to int8 |
//!
//! A *job* has the operands that all tasks of a kernel share, as raw pointers. The safe functions above the table check the
//! sizes and create the job.

pub(crate) mod attention;
pub(crate) mod epilogue;
pub(crate) mod norm;
pub(crate) mod pack;
pub(crate) mod row_sink;
