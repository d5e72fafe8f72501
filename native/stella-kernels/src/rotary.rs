//! Rotary positions: each pair of numbers of a head is turned by an angle that grows with the position.

use crate::buffer::{Buffer, OutOfMemory};

/// Cosine and sine for each position and pair. Pairs are the numbers `i` and `i + head_dim / 2`.
#[derive(Debug)]
pub struct Rotary {
    pub(crate) positions: usize,
    pub(crate) pairs: usize,
    /// `[positions, pairs]`
    pub(crate) cos: Buffer<f32>,
    /// `[positions, pairs]`
    pub(crate) sin: Buffer<f32>,
}

impl Rotary {
    /// Tables for positions below `positions`: pair `i` turns by `frequencies[i]` radians a position. Angles and their
    /// functions are computed in 64 bits.
    ///
    /// # Errors
    /// [`OutOfMemory`]
    pub fn new(frequencies: &[f64], positions: usize) -> Result<Self, OutOfMemory> {
        let pairs = frequencies.len();
        let (mut cos, mut sin) = (Buffer::zeroed(positions * pairs)?, Buffer::zeroed(positions * pairs)?);
        for position in 0..positions {
            for (i, frequency) in frequencies.iter().enumerate() {
                let (s, c) = (position as f64 * frequency).sin_cos();
                cos[position * pairs + i] = c as f32;
                sin[position * pairs + i] = s as f32;
            }
        }
        Ok(Self { positions, pairs, cos, sin })
    }
}
