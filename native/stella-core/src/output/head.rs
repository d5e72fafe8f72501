//! Pooled vectors to embeddings: one linear map a dimension, and L2 normalisation.

use stella_kernels::Kernels;
use stella_kernels::activations::{Activations, Arithmetic};
use stella_kernels::linear::{self, Linear, Then};
use stella_kernels::pack::Rows;
use stella_kernels::team::Team;

use crate::base::error::{Error, Result, no_memory, no_team};
use crate::base::fault_injection::{Stage, reach};
use crate::files::folder::ModelFolder;
use crate::files::layout::HeadLayout;
use crate::weights::tensor_table::{HEAD_BIAS, HEAD_WEIGHT, head_specs};
use crate::weights::weight_set::{LoadOptions, WeightSet};

/// A vector shorter than this has no direction.
pub const NORM_FLOOR: f32 = 1e-12;

/// A loaded head. Always in 32 bits: it is small, and the last step should cost no accuracy.
#[derive(Debug)]
pub struct Head {
    dimension: usize,
    /// The map; none where the pooled state itself is the vector.
    layer: Option<Linear>,
}

impl Head {
    /// Opens a head's file and checks its header, without reading any weight.
    ///
    /// # Errors
    /// Those of [`WeightSet::open_file`] and [`WeightSet::check`]; [`Error::Inconsistent`] for a file with more tensors.
    pub fn check(folder: &ModelFolder, head: &HeadLayout, hidden_size: usize) -> Result<Option<WeightSet>> {
        let Some(dense) = &head.dense else { return Ok(None) };
        let set = WeightSet::open_file(folder, &dense.weights_file())?;
        let specs = head_specs(head, hidden_size);
        set.check(&specs)?;
        set.check_no_others(&specs)?;
        Ok(Some(set))
    }

    /// Reads a head.
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
        let mut layer = Linear::new(Arithmetic::F32, dimension, hidden_size).map_err(no_memory)?;
        layer.pack(Kernels::preferred(), &mut alone(0)?, 0, Rows::F32(weight));
        layer.set_bias(0, bias);
        Ok(Self { dimension, layer: Some(layer) })
    }

    /// Length of the vectors that this head gives.
    pub fn dimension(&self) -> usize {
        self.dimension
    }
}

/// A team of the calling thread: heads are small.
fn alone(scratch: usize) -> Result<Team> {
    Team::new(1, scratch, None).map_err(|e| no_team(e, "for a head"))
}

/// What a session projects with.
#[derive(Debug)]
pub struct Projector {
    kernels: Kernels,
    team: Team,
    rows: Activations,
}

/// Rows that are projected at once.
const ROWS: usize = 64;

impl Projector {
    /// A projector of means `hidden_size` wide.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]
    pub fn new(kernels: Kernels, hidden_size: usize) -> Result<Self> {
        let rows = kernels.activations(Arithmetic::F32, ROWS, hidden_size).map_err(no_memory)?;
        Ok(Self { kernels, team: alone(linear::SCRATCH)?, rows })
    }

    /// Projects `pooled` `[texts, hidden_size]` into `out` `[texts, dimension]`.
    ///
    /// # Errors
    /// [`Error::ResultNotFinite`] or [`Error::ResultZero`] that names the first text with such a vector.
    pub fn project(&mut self, head: &Head, pooled: &[f32], normalize: bool, out: &mut [f32]) -> Result<()> {
        reach(Stage::Projection);
        let dimension = head.dimension();
        let Some(layer) = &head.layer else {
            out.copy_from_slice(pooled);
            let mut rows = out.chunks_exact_mut(dimension).enumerate();
            return rows.try_for_each(|(index, row)| finish(index, normalize, row));
        };
        let hidden = layer.inputs();
        let blocks = pooled.chunks(ROWS * hidden).zip(out.chunks_mut(ROWS * dimension));
        for (block, (x, y)) in blocks.enumerate() {
            self.kernels.take(&mut self.team, x, None, &mut self.rows);
            layer.multiply(self.kernels, &mut self.team, &self.rows, 0..x.len() / hidden, Then::Store(y));
            for (row, y) in y.chunks_exact_mut(dimension).enumerate() {
                finish(block * ROWS + row, normalize, y)?;
            }
        }
        Ok(())
    }
}

/// Checks the vector of text `index`, and scales it.
fn finish(index: usize, normalize: bool, row: &mut [f32]) -> Result<()> {
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
    Ok(())
}

/// Length of a vector. In 64 bits the squares of any two floats can be added without overflow.
fn norm_l2(row: &[f32]) -> f64 {
    row.iter().map(|&y| f64::from(y) * f64::from(y)).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Projects by a head of two numbers over three.
    fn project(pooled: &[f32], normalize: bool, out: &mut [f32]) -> Result<()> {
        let head = Head::new(2, 3, &[1.0, 0.0, 0.0, 0.0, 2.0, 0.0], &[0.0, 0.5]).unwrap();
        Projector::new(Kernels::preferred(), 3).unwrap().project(&head, pooled, normalize, out)
    }

    #[test]
    fn rows_are_projected_and_scaled() {
        let mut out = [0.0; 4];
        project(&[3.0, 1.75, 9.0, 0.0, 0.75, 9.0], false, &mut out).unwrap();
        assert_eq!(out, [3.0, 4.0, 0.0, 2.0]);
        project(&[3.0, 1.75, 9.0, 0.0, 0.75, 9.0], true, &mut out).unwrap();
        assert_eq!(out, [0.6, 0.8, 0.0, 1.0]);
    }

    #[test]
    fn a_result_that_is_not_finite_is_an_error_that_names_its_text() {
        let mut out = [0.0; 4];
        let error = project(&[0.0, 0.0, 0.0, f32::MAX, f32::MAX, 0.0], true, &mut out).unwrap_err();
        assert_eq!(error.text_index(), Some(1));
    }

    #[test]
    fn a_vector_of_zeros_is_an_error_that_names_its_text() {
        for normalize in [false, true] {
            let pooled = [1.0, 1.0, 0.0, 0.0, -0.25, 9.0];
            let error = project(&pooled, normalize, &mut [0.0; 4]).unwrap_err();
            assert_eq!((error.code(), error.text_index()), (crate::ErrorCode::ResultZero, Some(1)));
        }
    }

    proptest! {
        #[test]
        fn normalised_vectors_have_length_one(pooled in proptest::collection::vec(-1e18f32..1e18, 3)) {
            prop_assume!(pooled[..2].iter().any(|y| y.abs() > 1e-6));
            let mut row = [0.0; 2];
            project(&pooled, true, &mut row).unwrap();
            prop_assert!((norm_l2(&row) - 1.0).abs() < 1e-5, "{row:?}");
        }
    }

    #[test]
    fn without_a_map_the_pooled_state_is_the_vector() {
        let head = Head { dimension: 2, layer: None };
        let mut projector = Projector::new(Kernels::preferred(), 2).unwrap();
        let mut out = [0.0; 4];
        projector.project(&head, &[3.0, 4.0, 0.0, 2.0], false, &mut out).unwrap();
        assert_eq!(out, [3.0, 4.0, 0.0, 2.0]);
        projector.project(&head, &[3.0, 4.0, 0.0, 2.0], true, &mut out).unwrap();
        assert_eq!(out, [0.6, 0.8, 0.0, 1.0]);
        let error = projector.project(&head, &[3.0, 4.0, 0.0, 0.0], false, &mut out).unwrap_err();
        assert_eq!((error.code(), error.text_index()), (crate::ErrorCode::ResultZero, Some(1)));
    }

    #[test]
    fn texts_beyond_the_first_block_are_projected_and_named() {
        let mut pooled = [3.0, 1.75, 9.0].repeat(ROWS + 2);
        let mut out = vec![0.0; 2 * (ROWS + 2)];
        project(&pooled, false, &mut out).unwrap();
        assert_eq!(out, [3.0, 4.0].repeat(ROWS + 2));
        pooled[3 * (ROWS + 1)] = f32::NAN;
        assert_eq!(project(&pooled, false, &mut out).unwrap_err().text_index(), Some(ROWS + 1));
    }
}
