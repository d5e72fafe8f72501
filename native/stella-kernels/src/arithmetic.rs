//! The number formats of a matrix product: [`Arithmetic`] for the whole product, `ActivationFormat` for its input rows.
//!
//! A *step* is the unit in which products are summed. It is 32 bits of a column of weights: one `f32`, two bfloat16 or
//! four int8 numbers. A step of a row of activations has as many numbers.

/// The number format in which a matrix product computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Arithmetic {
    /// 32-bit floating point.
    F32,
    /// bfloat16 weights and 32-bit sums. Activations are rounded to bfloat16 if the instruction set multiplies bfloat16
    /// numbers. Otherwise activations stay in `f32` and the weights are widened to `f32`.
    Bf16,
    /// int8 weights with a scale per column, unsigned 8-bit activations with a scale per row, 32-bit integer sums.
    Int8,
}

impl Arithmetic {
    /// Numbers in a step.
    pub(crate) fn step_numbers(self) -> usize {
        match self {
            Self::F32 => 1,
            Self::Bf16 => 2,
            Self::Int8 => 4,
        }
    }

    /// Steps of a row of `inputs` numbers, rounded up to [`STEP_GRANULE`].
    pub(crate) fn steps(self, inputs: usize) -> usize {
        inputs.div_ceil(self.step_numbers()).next_multiple_of(STEP_GRANULE)
    }
}

/// The number format in which a row of activations is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ActivationFormat {
    F32,
    Bf16,
    /// int8 stored as unsigned bytes. A byte `q` represents `(q - ZERO_POINT) * scale`, with the per-row scale.
    QuantizedU8,
}

impl ActivationFormat {
    /// Bytes of a number.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
            Self::QuantizedU8 => 1,
        }
    }
}

/// The quantized activation that represents zero.
pub(crate) const ZERO_POINT: i32 = 128;
/// Largest absolute value of a quantized number, without the zero point. The largest number of a row of activations, or
/// of a column of weights, is scaled to it.
pub(crate) const QUANT_MAX: f32 = 127.0;
/// The number of steps of a row is a multiple of this, so that tiles have no remainder. In bfloat16 and in int8 it is 64 bytes,
/// a row of an AMX tile register.
pub(crate) const STEP_GRANULE: usize = 16;
