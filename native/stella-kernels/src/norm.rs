//! Layer norm and RMS norm of rows, and their conversion to the input of the next matrix product. `kernel/norm.rs` computes
//! them.

use crate::activations::Activations;
use crate::kernel::norm::NormJob;
use crate::table::Kernels;
use crate::team::Team;

pub use crate::kernel::norm::Residual;

/// The weights of a norm: a layer norm if there is a bias, an RMS norm otherwise.
#[derive(Debug, Clone, Copy)]
pub struct Norm<'a> {
    /// Factor of each channel.
    pub weight: &'a [f32],
    /// Added to each channel by a layer norm, which also subtracts the mean of the row before. An RMS norm does neither.
    pub bias: Option<&'a [f32]>,
    /// Added to the mean square.
    pub epsilon: f32,
    /// Inverse smoothing scales of the next product, multiplied with normalized values before they are quantized. Values
    /// that stay in the residual stream are not scaled.
    pub channel_scales: Option<&'a [f32]>,
}

impl Kernels {
    /// Applies a layer norm or an RMS norm to each row of `x`, row-major `[rows, width]`. `residual` chooses the values that
    /// `x` has afterwards. The normalized rows are also converted to the activations `out`, if there are any.
    ///
    /// # Panics
    /// When sizes do not match.
    #[allow(unsafe_code)]
    pub fn norm_rows(
        self,
        team: &mut Team,
        norm: Norm<'_>,
        x: &mut [f32],
        residual: Residual,
        mut out: Option<&mut Activations>,
    ) {
        let width = norm.weight.len();
        let rows = x.len() / width;
        assert_eq!(rows * width, x.len(), "The last row of {width} numbers is incomplete.");
        assert!(norm.bias.is_none_or(|bias| bias.len() == width), "The bias must have {width} numbers.");
        if let Some(out) = &mut out {
            assert!(out.width == width && out.rows >= rows, "The output must have {rows} rows of {width}.");
        }
        let job = NormJob {
            x: x.as_mut_ptr(),
            width,
            weight: norm.weight.as_ptr(),
            bias: norm.bias.map(<[f32]>::as_ptr),
            epsilon: norm.epsilon,
            residual,
            out: out.map(|out| out.row_sink(norm.channel_scales)),
        };
        team.run_row_blocks(rows, &|rows, scratch| {
            assert!(scratch.len() >= width, "The scratch memory must have {width} words.");
            // SAFETY: the instruction set is available. The rows belong to this task alone, and all sizes were checked
            // above.
            unsafe { (self.table().norm_rows)(&job, rows, scratch.as_mut_ptr().cast()) };
        });
    }
}
