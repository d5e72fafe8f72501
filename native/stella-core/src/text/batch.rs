//! A packed batch: the token ids of several texts in one array, without padding.

use crate::base::error::{Error, Result};

/// A packed batch: text `i` is `ids[cu_seqlens[i]..cu_seqlens[i + 1]]`. There is no padding and no mask.
#[derive(Debug, Clone, Copy)]
pub struct PackedBatch<'a> {
    ids: &'a [u32],
    cu_seqlens: &'a [u32],
}

impl<'a> PackedBatch<'a> {
    /// Checks that `ids` and `cu_seqlens` fit together.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] unless `cu_seqlens` starts at 0, grows by 1 to `max_tokens` with each text and ends at
    /// `ids.len()`, and every id is below `vocab_size`.
    pub fn new(ids: &'a [u32], cu_seqlens: &'a [u32], max_tokens: usize, vocab_size: usize) -> Result<Self> {
        let invalid = |reason: String| Err(Error::InvalidArgument(reason));
        let Some(&first) = cu_seqlens.first() else {
            return invalid(
                "cu_seqlens is empty. It must have one number more than there are texts.".to_owned(),
            );
        };
        if first != 0 {
            return invalid(format!("cu_seqlens starts at {first}. It must start at 0."));
        }
        for (text, pair) in cu_seqlens.windows(2).enumerate() {
            match pair[1].checked_sub(pair[0]) {
                Some(tokens) if tokens > 0 && tokens as usize <= max_tokens => {}
                Some(tokens) => {
                    return invalid(format!(
                        "The number of tokens of text {text} is {tokens}. It must be 1 to {max_tokens}."
                    ));
                }
                None => {
                    return invalid(format!(
                        "cu_seqlens decreases from {} to {} at text {text}. It must increase.",
                        pair[0], pair[1]
                    ));
                }
            }
        }
        let end = cu_seqlens[cu_seqlens.len() - 1] as usize;
        if end != ids.len() {
            return invalid(format!(
                "cu_seqlens ends at {end}, but there are {} ids. It must end at the number of ids.",
                ids.len()
            ));
        }
        if let Some(at) = ids.iter().position(|&id| id as usize >= vocab_size) {
            return invalid(format!(
                "Id {} at index {at} is outside the vocabulary. It must be below {vocab_size}.",
                ids[at]
            ));
        }
        Ok(Self { ids, cu_seqlens })
    }

    /// Returns the number of texts.
    pub fn texts(&self) -> usize {
        self.cu_seqlens.len() - 1
    }

    /// Returns the number of tokens of all texts.
    pub fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// Returns the range of tokens of each text.
    pub fn ranges(&self) -> impl ExactSizeIterator<Item = std::ops::Range<usize>> + '_ {
        self.cu_seqlens.windows(2).map(|pair| pair[0] as usize..pair[1] as usize)
    }

    /// Returns the offset of each text, and the end of the last text.
    pub fn cu_seqlens(&self) -> &'a [u32] {
        self.cu_seqlens
    }

    /// Returns the packed ids.
    pub fn ids(&self) -> &'a [u32] {
        self.ids
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_valid_batch_has_the_token_range_of_each_text() {
        let batch = PackedBatch::new(&[1, 2, 3, 4, 5], &[0, 2, 5], 8, 10).unwrap();
        assert_eq!((batch.texts(), batch.tokens()), (2, 5));
        assert_eq!(batch.ranges().collect::<Vec<_>>(), [0..2, 2..5]);
        assert_eq!(PackedBatch::new(&[], &[0], 8, 10).unwrap().texts(), 0);
    }

    #[test]
    fn contradicting_ids_and_cu_seqlens_are_refused() {
        let cases: [(&[u32], &[u32], &str); 7] = [
            (&[], &[], "empty"),
            (&[1], &[1, 1], "start at 0"),
            (&[1, 2], &[0, 2, 1], "decreases"),
            (&[1, 2], &[0, 0, 2], "text 0 is 0"),
            (&[1; 9], &[0, 9], "1 to 8"),
            (&[1, 2], &[0, 1], "2 ids"),
            (&[1, 10], &[0, 2], "outside the vocabulary"),
        ];
        for (ids, cu, says) in cases {
            let error = PackedBatch::new(ids, cu, 8, 10).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
        }
    }

    proptest! {
        #[test]
        fn the_ranges_of_an_accepted_batch_cover_all_ids_in_order(
            ids in proptest::collection::vec(0u32..12, 0..20),
            cu in proptest::collection::vec(0u32..21, 0..8),
        ) {
            if let Ok(batch) = PackedBatch::new(&ids, &cu, 8, 10) {
                let mut at = 0;
                for range in batch.ranges() {
                    prop_assert!(range.start == at && range.end > at && range.len() <= 8);
                    at = range.end;
                }
                prop_assert_eq!(at, ids.len());
            }
        }
    }
}
