//! Pooling: reduces the hidden states of a text to one vector (mean, first token or last token).

use crate::base::fault_injection::{Stage, reach};
use std::ops::Range;

/// Mean pooling: writes the mean of the hidden states of each range of tokens into `pooled`, row-major
/// `[ranges, hidden_size]`. The mean of an empty range is zero. The sum runs token by token in order, so that the mean of a
/// range does not depend on the other ranges.
pub fn mean(
    ranges: impl ExactSizeIterator<Item = Range<usize>>,
    hidden: &[f32],
    hidden_size: usize,
    pooled: &mut Vec<f32>,
) {
    reach(Stage::Pooling);
    pooled.clear();
    pooled.resize(ranges.len() * hidden_size, 0.0);
    for (range, out) in ranges.zip(pooled.chunks_exact_mut(hidden_size)) {
        let tokens = range.len().max(1) as f32;
        for state in hidden[range.start * hidden_size..range.end * hidden_size].chunks_exact(hidden_size) {
            for (sum, &x) in out.iter_mut().zip(state) {
                *sum += x;
            }
        }
        for sum in out {
            *sum /= tokens;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_of_a_text_covers_its_own_tokens_only() {
        let mut pooled = vec![9.0; 1];
        mean([0..1, 1..3, 3..3].into_iter(), &[1.0, 2.0, 3.0, 4.0, 5.0, 8.0], 2, &mut pooled);
        assert_eq!(pooled, [1.0, 2.0, 4.0, 6.0, 0.0, 0.0]);
    }
}
