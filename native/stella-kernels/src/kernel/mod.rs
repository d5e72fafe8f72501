//! Kernel bodies, written over the traits of [`crate::simd`]. `table.rs` compiles each body once for each instruction set.
//!
//! A *job* has the operands that all tasks of a kernel share, most of them as raw pointers. The safe functions of
//! `activations.rs`, `attention.rs`, `linear.rs` and `norm.rs` check the sizes and create the job.

// Attention of one head within one text: rotary embeddings, scores, softmax, weighted sum of values.
pub(crate) mod attention;
// The end of a matrix product: dequantization, bias, residual connection, GELU or SiLU gate.
pub(crate) mod epilogue;
// Layer norm and RMS norm of rows.
pub(crate) mod norm;
// Weights packed into panels, and quantized to int8 on the way.
pub(crate) mod pack;
// Rows converted to activations: copied, rounded to bfloat16, or quantized to int8.
pub(crate) mod row_sink;
// Softmax of attention scores.
pub(crate) mod softmax;
