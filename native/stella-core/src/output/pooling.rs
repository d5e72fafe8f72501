//! Hidden states to one vector a text.

use crate::base::fault_injection::{Stage, reach};
use std::ops::Range;

/// Which tokens of a text make its vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PoolingMode {
    /// All of them: the mean of their hidden states.
    Mean,
    /// The first one, which the tokenizer puts before every text.
    Cls,
    /// The last one, which the tokenizer puts after every text.
    LastToken,
}

impl PoolingMode {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Mean, Self::Cls, Self::LastToken];

    /// The name in `1_Pooling/config.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Cls => "cls",
            Self::LastToken => "lasttoken",
        }
    }
}

/// How the hidden states of a text become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pooling {
    /// Which tokens count.
    pub mode: PoolingMode,
    /// Whether those of the prompt, and the special ones before it, count too.
    pub include_prompt: bool,
}

impl Pooling {
    /// The tokens whose mean is the vector of a text, of which the first `left_out` belong to a prompt that does not count.
    pub(crate) fn of(self, text: Range<usize>, left_out: usize) -> Range<usize> {
        match self.mode {
            PoolingMode::Mean => (text.start + left_out).min(text.end)..text.end,
            PoolingMode::Cls => text.start..text.start + 1,
            PoolingMode::LastToken => text.end - 1..text.end,
        }
    }
}

/// The mean of the hidden states of each range of tokens, row-major `[ranges, hidden_size]`; zeros for an empty range.
/// Summed token by token in order, so that a range's mean is its own.
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
    fn each_text_is_averaged_over_its_own_tokens() {
        let mut pooled = vec![9.0; 1];
        mean([0..1, 1..3, 3..3].into_iter(), &[1.0, 2.0, 3.0, 4.0, 5.0, 8.0], 2, &mut pooled);
        assert_eq!(pooled, [1.0, 2.0, 4.0, 6.0, 0.0, 0.0]);
    }

    #[test]
    fn the_mode_says_which_tokens_count() {
        let of = |mode, left_out| Pooling { mode, include_prompt: false }.of(3..8, left_out);
        assert_eq!(PoolingMode::ALL.map(|mode| of(mode, 0)), [3..8, 3..4, 7..8]);
        assert_eq!(PoolingMode::ALL.map(|mode| of(mode, 2)), [5..8, 3..4, 7..8]);
        assert_eq!(of(PoolingMode::Mean, 9), 8..8, "a prompt that fills the text");
    }
}
