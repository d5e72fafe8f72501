//! Hidden states to one vector a text.

use crate::batch::PackedBatch;

/// The mean of each text's hidden states, special tokens and prompt included, row-major
/// `[texts, hidden_size]`. Summed token by token in order, so that a text's mean is its own.
pub fn mean(batch: PackedBatch<'_>, hidden: &[f32], hidden_size: usize, pooled: &mut Vec<f32>) {
    pooled.clear();
    pooled.resize(batch.texts() * hidden_size, 0.0);
    for (range, out) in batch.ranges().zip(pooled.chunks_exact_mut(hidden_size)) {
        let tokens = range.len() as f32;
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
        let batch = PackedBatch::new(&[0, 0, 0], &[0, 1, 3], 8, 1).unwrap();
        let mut pooled = vec![9.0; 1];
        mean(batch, &[1.0, 2.0, 3.0, 4.0, 5.0, 8.0], 2, &mut pooled);
        assert_eq!(pooled, [1.0, 2.0, 4.0, 6.0]);
    }
}
