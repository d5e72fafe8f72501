//! Pooled vectors to embeddings: one linear map a dimension, and L2 normalisation.

use crate::error::{Error, Result};
use crate::fault::{Stage, reach};
use crate::folder::ModelFolder;
use crate::layout::HeadFolder;
use crate::specs::{HEAD_BIAS, HEAD_WEIGHT, head_specs};
use crate::weights::{LoadOptions, WeightSet};

/// A vector shorter than this has no direction.
pub const NORM_FLOOR: f32 = 1e-12;

/// A loaded head. Always in 32 bits: it is small, and the last step should cost no accuracy.
#[derive(Debug)]
pub struct Head {
    dimension: usize,
    hidden_size: usize,
    /// `[dimension, hidden_size]`, row-major.
    weight: Vec<f32>,
    /// `[dimension]`, zeros for a head without bias.
    bias: Vec<f32>,
}

impl Head {
    /// Opens a head's file and checks its header, without reading any weight.
    ///
    /// # Errors
    /// Those of [`WeightSet::open_file`] and [`WeightSet::check`].
    pub fn check(folder: &ModelFolder, head: &HeadFolder, hidden_size: usize) -> Result<WeightSet> {
        let set = WeightSet::open_file(folder, &head.weights_file())?;
        set.check(&head_specs(head, hidden_size))?;
        Ok(set)
    }

    /// Reads a head.
    ///
    /// # Errors
    /// Those of [`Self::check`] and [`WeightSet::load`].
    pub fn load(
        folder: &ModelFolder,
        head: &HeadFolder,
        hidden_size: usize,
        options: LoadOptions,
    ) -> Result<Self> {
        reach(Stage::Head);
        Self::check(folder, head, hidden_size)?.load(options, &head_specs(head, hidden_size), |weights| {
            let (_, weight) = weights.tensor(HEAD_WEIGHT)?;
            let bias = if head.bias { weights.tensor(HEAD_BIAS)?.1 } else { vec![0.0; head.dimension] };
            Ok(Self { dimension: head.dimension, hidden_size, weight, bias })
        })
    }

    /// Length of the vectors that this head gives.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Projects `pooled` `[texts, hidden_size]` into `out` `[texts, dimension]`.
    ///
    /// # Errors
    /// [`Error::ResultNotFinite`] or [`Error::ResultZero`] that names the first text with such a vector.
    pub fn project(&self, pooled: &[f32], normalize: bool, out: &mut [f32]) -> Result<()> {
        reach(Stage::Projection);
        let texts = pooled.chunks_exact(self.hidden_size).zip(out.chunks_exact_mut(self.dimension));
        for (index, (x, row)) in texts.enumerate() {
            let weights = self.weight.chunks_exact(self.hidden_size);
            for ((y, w), b) in row.iter_mut().zip(weights).zip(&self.bias) {
                *y = dot(w, x) + b;
            }
            if row.iter().any(|y| !y.is_finite()) {
                return Err(Error::ResultNotFinite { index });
            }
            let norm = norm_l2(row);
            if norm < f64::from(NORM_FLOOR) {
                return Err(Error::ResultZero { index });
            }
            if normalize {
                row.iter_mut().for_each(|y| *y = (f64::from(*y) / norm) as f32);
            }
        }
        Ok(())
    }
}

/// Length of a vector. In 64 bits the squares of any two floats can be added without overflow.
fn norm_l2(row: &[f32]) -> f64 {
    row.iter().map(|&y| f64::from(y) * f64::from(y)).sum::<f64>().sqrt()
}

/// Sum of products, in an order that depends on the length alone: 16 running sums, then those in turn.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 16;
    let mut sums = [0.0f32; LANES];
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let tail: f32 = a_chunks.remainder().iter().zip(b_chunks.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a_chunks.zip(b_chunks) {
        for lane in 0..LANES {
            sums[lane] += x[lane] * y[lane];
        }
    }
    sums.iter().sum::<f32>() + tail
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn head() -> Head {
        Head {
            dimension: 2,
            hidden_size: 3,
            weight: vec![1.0, 0.0, 0.0, 0.0, 2.0, 0.0],
            bias: vec![0.0, 0.5],
        }
    }

    #[test]
    fn rows_are_projected_and_scaled() {
        let mut out = [0.0; 4];
        head().project(&[3.0, 1.75, 9.0, 0.0, 0.75, 9.0], false, &mut out).unwrap();
        assert_eq!(out, [3.0, 4.0, 0.0, 2.0]);
        head().project(&[3.0, 1.75, 9.0, 0.0, 0.75, 9.0], true, &mut out).unwrap();
        assert_eq!(out, [0.6, 0.8, 0.0, 1.0]);
    }

    #[test]
    fn a_result_that_is_not_finite_is_an_error_that_names_its_text() {
        let mut out = [0.0; 4];
        let error = head().project(&[0.0, 0.0, 0.0, f32::MAX, f32::MAX, 0.0], true, &mut out).unwrap_err();
        assert_eq!(error.text_index(), Some(1));
    }

    #[test]
    fn a_vector_of_zeros_is_an_error_that_names_its_text() {
        for normalize in [false, true] {
            let pooled = [1.0, 1.0, 0.0, 0.0, -0.25, 9.0];
            let error = head().project(&pooled, normalize, &mut [0.0; 4]).unwrap_err();
            assert_eq!((error.code(), error.text_index()), (crate::ErrorCode::ResultZero, Some(1)));
        }
    }

    proptest! {
        #[test]
        fn normalised_vectors_have_length_one(pooled in proptest::collection::vec(-1e18f32..1e18, 3)) {
            prop_assume!(pooled[..2].iter().any(|y| y.abs() > 1e-6));
            let mut row = [0.0; 2];
            head().project(&pooled, true, &mut row).unwrap();
            prop_assert!((norm_l2(&row) - 1.0).abs() < 1e-5, "{row:?}");
        }

        #[test]
        fn dot_is_close_to_the_64_bit_sum(pairs in proptest::collection::vec((-9f32..9.0, -9f32..9.0), 0..99)) {
            let (a, b): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            let exact: f64 = a.iter().zip(&b).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum();
            prop_assert!((f64::from(dot(&a, &b)) - exact).abs() < 1e-3);
        }
    }
}
