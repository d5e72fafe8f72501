//! A head: the linear layer that projects a pooled vector to the dimension of an embedding, and L2 normalization.

use stella_kernels::Kernels;
use stella_kernels::activations::Activations;
use stella_kernels::arithmetic::Arithmetic;
use stella_kernels::linear::{self, Epilogue, Linear};
use stella_kernels::numbers::Rows;
use stella_kernels::team::Team;

use crate::base::error::{Error, Result, encoder_out_of_memory, team_refused};
use crate::base::fault_injection::{Stage, reach};
use crate::files::folder::ModelFolder;
use crate::files::layout::HeadLayout;
use crate::weights::tensor_table::{HEAD_BIAS, HEAD_WEIGHT, head_specs};
use crate::weights::weight_set::{LoadOptions, WeightSet};

/// The L2 norm below which a vector counts as zero.
pub const NORM_FLOOR: f32 = 1e-12;

/// A loaded head. Its weights are always f32: a head is small, and the last step should not lose accuracy.
#[derive(Debug)]
pub struct Head {
    dimension: usize,
    /// The linear layer; `None` if the pooled vector is the embedding.
    layer: Option<Linear>,
}

impl Head {
    /// Opens the file of a head and checks its header without reading a weight.
    ///
    /// # Errors
    /// Those of [`WeightSet::open_file`] and [`WeightSet::check`]; [`Error::Inconsistent`] for a file with additional tensors.
    pub fn check(folder: &ModelFolder, head: &HeadLayout, hidden_size: usize) -> Result<Option<WeightSet>> {
        let Some(dense) = &head.dense else { return Ok(None) };
        let set = WeightSet::open_file(folder, &dense.weights_file())?;
        let specs = head_specs(head, hidden_size);
        set.check(&specs)?;
        set.check_no_others(&specs)?;
        Ok(Some(set))
    }

    /// Loads a head.
    ///
    /// # Errors
    /// Those of [`Self::check`] and [`WeightSet::load`].
    pub fn load(
        folder: &ModelFolder,
        head: &HeadLayout,
        hidden_size: usize,
        options: LoadOptions,
    ) -> Result<Self> {
        reach(Stage::Head);
        let (Some(dense), Some(set)) = (&head.dense, Self::check(folder, head, hidden_size)?) else {
            return Ok(Self { dimension: head.dimension, layer: None });
        };
        let mut tensors = set.load_whole(options, &head_specs(head, hidden_size))?;
        let (_, weight) = tensors.take(HEAD_WEIGHT)?;
        let bias = if dense.bias { tensors.take(HEAD_BIAS)?.1 } else { Vec::new() };
        Self::new(head.dimension, hidden_size, &weight, &bias)
    }

    fn new(dimension: usize, hidden_size: usize, weight: &[f32], bias: &[f32]) -> Result<Self> {
        let mut layer =
            Linear::new(Arithmetic::F32, dimension, hidden_size).map_err(encoder_out_of_memory)?;
        layer.pack(Kernels::preferred(), &mut single_thread_team(0)?, 0, Rows::F32(weight));
        layer.set_bias(0, bias);
        Ok(Self { dimension, layer: Some(layer) })
    }

    /// Returns the length of the vectors of this head.
    pub fn dimension(&self) -> usize {
        self.dimension
    }
}

/// Returns a team of the calling thread only. More threads do not pay off, because heads are small.
fn single_thread_team(scratch: usize) -> Result<Team> {
    Team::new(1, scratch, None).map_err(|e| team_refused(e, "for a head"))
}

/// The buffers with which a session projects pooled vectors by heads.
#[derive(Debug)]
pub struct Projector {
    kernels: Kernels,
    team: Team,
    rows: Activations,
    /// Vectors on their way into rows that have the vectors of several heads.
    vectors: Vec<f32>,
    hidden_size: usize,
}

/// Number of pooled vectors that are projected together.
const ROW_BLOCK: usize = 64;

impl Projector {
    /// Creates a projector of pooled vectors of length `hidden_size`.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]
    pub fn new(kernels: Kernels, hidden_size: usize) -> Result<Self> {
        let rows =
            kernels.activations(Arithmetic::F32, ROW_BLOCK, hidden_size).map_err(encoder_out_of_memory)?;
        Ok(Self {
            kernels,
            team: single_thread_team(linear::SCRATCH)?,
            rows,
            vectors: Vec::new(),
            hidden_size,
        })
    }

    /// Projects `pooled` `[texts, hidden_size]` into the rows of `out` `[texts, row]`, from the number at `column` of each row on.
    /// Scales each vector to an L2 norm of 1 if `l2_normalize`. Does not write to the other columns.
    ///
    /// # Errors
    /// [`Error::ResultNotFinite`] or [`Error::ResultZero`] with the index of the first text with such a vector.
    pub fn project(
        &mut self,
        head: &Head,
        pooled: &[f32],
        l2_normalize: bool,
        column: usize,
        out: &mut [f32],
    ) -> Result<()> {
        reach(Stage::Projection);
        let (dimension, hidden) = (head.dimension(), self.hidden_size);
        if pooled.is_empty() {
            return Ok(());
        }
        let row_length = out.len() / (pooled.len() / hidden);
        let blocks = pooled.chunks(ROW_BLOCK * hidden).zip(out.chunks_mut(ROW_BLOCK * row_length));
        for (block, (x, out)) in blocks.enumerate() {
            let rows = x.len() / hidden;
            let is_whole = row_length == dimension;
            let Self { kernels, team, rows: converted, vectors, .. } = self;
            if !is_whole {
                vectors.resize(rows * dimension, 0.0);
            }
            let y = if is_whole { &mut *out } else { &mut vectors[..] };
            match &head.layer {
                Some(layer) => {
                    kernels.convert_rows(team, x, None, converted);
                    layer.multiply(*kernels, team, converted, 0..rows, Epilogue::Store(y));
                }
                None => y.copy_from_slice(x),
            }
            for (row, y) in y.chunks_exact_mut(dimension).enumerate() {
                check_and_scale(block * ROW_BLOCK + row, l2_normalize, y)?;
            }
            if !is_whole {
                for (row, y) in out.chunks_exact_mut(row_length).zip(vectors.chunks_exact(dimension)) {
                    row[column..column + dimension].copy_from_slice(y);
                }
            }
        }
        Ok(())
    }
}

/// Checks the vector of text `index`, and scales it to an L2 norm of 1 if `l2_normalize`.
fn check_and_scale(index: usize, l2_normalize: bool, row: &mut [f32]) -> Result<()> {
    if row.iter().any(|y| !y.is_finite()) {
        return Err(Error::ResultNotFinite { index });
    }
    let norm = l2_norm(row);
    if norm < f64::from(NORM_FLOOR) {
        return Err(Error::ResultZero { index });
    }
    if l2_normalize {
        row.iter_mut().for_each(|y| *y = (f64::from(*y) / norm) as f32);
    }
    Ok(())
}

/// Returns the L2 norm of a vector. The sum is an f64, which the squares of f32 values cannot overflow.
fn l2_norm(row: &[f32]) -> f64 {
    row.iter().map(|&y| f64::from(y) * f64::from(y)).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Projects vectors of length 3 by a head of dimension 2.
    fn project(pooled: &[f32], l2_normalize: bool, out: &mut [f32]) -> Result<()> {
        let head = Head::new(2, 3, &[1.0, 0.0, 0.0, 0.0, 2.0, 0.0], &[0.0, 0.5]).unwrap();
        Projector::new(Kernels::preferred(), 3).unwrap().project(&head, pooled, l2_normalize, 0, out)
    }

    #[test]
    fn vectors_are_projected_and_scaled_to_length_one_on_request() {
        let mut out = [0.0; 4];
        project(&[3.0, 1.75, 9.0, 0.0, 0.75, 9.0], false, &mut out).unwrap();
        assert_eq!(out, [3.0, 4.0, 0.0, 2.0]);
        project(&[3.0, 1.75, 9.0, 0.0, 0.75, 9.0], true, &mut out).unwrap();
        assert_eq!(out, [0.6, 0.8, 0.0, 1.0]);
    }

    #[test]
    fn a_vector_that_is_not_finite_is_an_error_with_the_index_of_its_text() {
        let mut out = [0.0; 4];
        let error = project(&[0.0, 0.0, 0.0, f32::MAX, f32::MAX, 0.0], true, &mut out).unwrap_err();
        assert_eq!(error.text_index(), Some(1));
    }

    #[test]
    fn a_zero_vector_is_an_error_with_the_index_of_its_text() {
        for l2_normalize in [false, true] {
            let pooled = [1.0, 1.0, 0.0, 0.0, -0.25, 9.0];
            let error = project(&pooled, l2_normalize, &mut [0.0; 4]).unwrap_err();
            assert_eq!((error.code(), error.text_index()), (crate::ErrorCode::ResultZero, Some(1)));
        }
    }

    proptest! {
        #[test]
        fn normalized_vectors_have_length_one(pooled in proptest::collection::vec(-1e18f32..1e18, 3)) {
            prop_assume!(pooled[..2].iter().any(|y| y.abs() > 1e-6));
            let mut row = [0.0; 2];
            project(&pooled, true, &mut row).unwrap();
            prop_assert!((l2_norm(&row) - 1.0).abs() < 1e-5, "{row:?}");
        }
    }

    #[test]
    fn without_a_linear_layer_the_pooled_vector_is_the_result() {
        let head = Head { dimension: 2, layer: None };
        let mut projector = Projector::new(Kernels::preferred(), 2).unwrap();
        let mut out = [0.0; 4];
        projector.project(&head, &[3.0, 4.0, 0.0, 2.0], false, 0, &mut out).unwrap();
        assert_eq!(out, [3.0, 4.0, 0.0, 2.0]);
        projector.project(&head, &[3.0, 4.0, 0.0, 2.0], true, 0, &mut out).unwrap();
        assert_eq!(out, [0.6, 0.8, 0.0, 1.0]);
        let error = projector.project(&head, &[3.0, 4.0, 0.0, 0.0], false, 0, &mut out).unwrap_err();
        assert_eq!((error.code(), error.text_index()), (crate::ErrorCode::ResultZero, Some(1)));
    }

    #[test]
    fn vectors_beyond_the_first_row_block_are_projected_and_have_the_right_index_in_errors() {
        let mut pooled = [3.0, 1.75, 9.0].repeat(ROW_BLOCK + 2);
        let mut out = vec![0.0; 2 * (ROW_BLOCK + 2)];
        project(&pooled, false, &mut out).unwrap();
        assert_eq!(out, [3.0, 4.0].repeat(ROW_BLOCK + 2));
        pooled[3 * (ROW_BLOCK + 1)] = f32::NAN;
        assert_eq!(project(&pooled, false, &mut out).unwrap_err().text_index(), Some(ROW_BLOCK + 1));
    }

    #[test]
    fn heads_write_to_their_columns_of_shared_rows() {
        let (wide, narrow) = (
            Head::new(2, 3, &[1.0, 0.0, 0.0, 0.0, 2.0, 0.0], &[0.0, 0.5]).unwrap(),
            Head::new(1, 3, &[0.0, 0.0, 2.0], &[0.0]).unwrap(),
        );
        let mut projector = Projector::new(Kernels::preferred(), 3).unwrap();
        let pooled = [3.0, 1.75, 9.0].repeat(ROW_BLOCK + 2);
        let mut out = vec![7.0; 4 * (ROW_BLOCK + 2)];
        projector.project(&narrow, &pooled, false, 0, &mut out).unwrap();
        projector.project(&wide, &pooled, true, 2, &mut out).unwrap();
        assert_eq!(out, [18.0, 7.0, 0.6, 0.8].repeat(ROW_BLOCK + 2));
    }
}
