//! Pooling: reduces the hidden states of a text to one vector (mean, first token or last token).

use crate::fault::{Stage, reach};
use std::ops::Range;

/// The tokens of a text that its vector is computed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PoolingMode {
    /// All tokens: the mean of their hidden states.
    Mean,
    /// The first token, which the tokenizer adds before every text.
    Cls,
    /// The last token, which the tokenizer adds after every text.
    LastToken,
}

impl PoolingMode {
    /// All pooling modes.
    pub const ALL: [Self; 3] = [Self::Mean, Self::Cls, Self::LastToken];

    /// Returns the name in `1_Pooling/config.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Cls => "cls",
            Self::LastToken => "lasttoken",
        }
    }
}

/// The pooling of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pooling {
    /// The tokens that count.
    pub mode: PoolingMode,
    /// Whether the tokens of the prompt, and the special tokens before it, count too.
    pub include_prompt: bool,
}

impl Pooling {
    /// Returns the tokens whose mean is the vector of a text. `left_out` is the number of tokens at the beginning of the text
    /// that belong to a prompt which does not count.
    pub(crate) fn of(self, text: Range<usize>, left_out: usize) -> Range<usize> {
        match self.mode {
            PoolingMode::Mean => (text.start + left_out).min(text.end)..text.end,
            PoolingMode::Cls => text.start..text.start + 1,
            PoolingMode::LastToken => text.end - 1..text.end,
        }
    }
}

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

    #[test]
    fn the_mode_selects_the_tokens_that_count() {
        let tokens = |mode, left_out| Pooling { mode, include_prompt: false }.of(3..8, left_out);
        assert_eq!(PoolingMode::ALL.map(|mode| tokens(mode, 0)), [3..8, 3..4, 7..8]);
        assert_eq!(PoolingMode::ALL.map(|mode| tokens(mode, 2)), [5..8, 3..4, 7..8]);
        assert_eq!(tokens(PoolingMode::Mean, 9), 8..8, "a prompt longer than the text");
    }
}
