//! Rotary position embeddings (RoPE): tables of cosines and sines, and their application to queries and keys.
//!
//! Pair `i` of a head of `d` numbers rotates by `base^(-2i/d) / linear_scale` radians from one position to the next: the
//! inverse frequencies (`inv_freq` in Python). `stella-core/src/files/rope.rs` computes them from the configuration of a
//! model. `kernel/attention.rs` applies the embedding to queries and keys while it packs them.
#![allow(unsafe_code, unsafe_op_in_unsafe_fn)]

use crate::buffer::{Buffer, OutOfMemory};

/// Cosines and sines for each position and pair. Pair `i` of a head is the numbers `i` and `i + head_dim / 2`.
#[derive(Debug)]
pub struct Rotary {
    pub(crate) positions: usize,
    pub(crate) pairs: usize,
    /// `[positions, pairs]`
    cos: Buffer<f32>,
    /// `[positions, pairs]`
    sin: Buffer<f32>,
}

impl Rotary {
    /// Computes the tables for positions below `positions`. Pair `i` is rotated by `position * inverse_frequencies[i]`
    /// radians. Angles, sines and cosines are computed in 64 bits and rounded to `f32`.
    ///
    /// # Errors
    /// [`OutOfMemory`]
    pub fn new(inverse_frequencies: &[f64], positions: usize) -> Result<Self, OutOfMemory> {
        let pairs = inverse_frequencies.len();
        let (mut cos, mut sin) = (Buffer::zeroed(positions * pairs)?, Buffer::zeroed(positions * pairs)?);
        for position in 0..positions {
            for (i, frequency) in inverse_frequencies.iter().enumerate() {
                let (s, c) = (position as f64 * frequency).sin_cos();
                cos[position * pairs + i] = c as f32;
                sin[position * pairs + i] = s as f32;
            }
        }
        Ok(Self { positions, pairs, cos, sin })
    }
}

/// Applies the rotary embedding of `position` to one head, a query or a key: rotates the pairs of `x`, multiplies them by
/// `scale`, and writes them to `y`.
///
/// # Safety
/// `x` and `y` are valid for two numbers for each pair and do not overlap.
#[inline(always)]
pub(crate) unsafe fn apply_rotary(rotary: &Rotary, position: usize, x: *const f32, scale: f32, y: *mut f32) {
    let pairs = rotary.pairs;
    let (cos, sin) = (&rotary.cos[position * pairs..][..pairs], &rotary.sin[position * pairs..][..pairs]);
    let x = std::slice::from_raw_parts(x, 2 * pairs);
    let y = std::slice::from_raw_parts_mut(y, 2 * pairs);
    let ((x0, x1), (y0, y1)) = (x.split_at(pairs), y.split_at_mut(pairs));
    for i in 0..pairs {
        y0[i] = (x0[i] * cos[i] - x1[i] * sin[i]) * scale;
        y1[i] = (x1[i] * cos[i] + x0[i] * sin[i]) * scale;
    }
}
