//! Incremental hashes of files: SHA-256 and BLAKE3.

use sha2::{Digest, Sha256};

/// A hash function with a result of 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// The hash that model repositories publish.
    Sha256,
    /// Several times as fast as SHA-256, so that a load can check it.
    Blake3,
}

impl Algorithm {
    /// Gets the name for messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SHA-256",
            Self::Blake3 => "BLAKE3",
        }
    }
}

/// The state of an incremental hash.
#[derive(Debug, Clone)]
pub struct Hasher(State);

#[derive(Debug, Clone)]
enum State {
    Sha256(Sha256),
    // Boxed, because it has two kilobytes and the other variant has about a hundred bytes.
    Blake3(Box<blake3::Hasher>),
}

impl Hasher {
    /// Starts a hash.
    pub fn new(algorithm: Algorithm) -> Self {
        Self(match algorithm {
            Algorithm::Sha256 => State::Sha256(Sha256::new()),
            Algorithm::Blake3 => State::Blake3(Box::default()),
        })
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Sha256(hash) => hash.update(bytes),
            State::Blake3(hash) => {
                hash.update(bytes);
            }
        }
    }

    /// Returns the hash of all bytes.
    pub fn finish(self) -> [u8; 32] {
        match self.0 {
            State::Sha256(hash) => hash.finalize().into(),
            State::Blake3(hash) => hash.finalize().into(),
        }
    }
}

/// Parses a hash of 64 hexadecimal digits.
pub(crate) fn from_hex(digits: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if digits.len() != 64 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        let digit = |c: u8| char::from(c).to_digit(16);
        *byte = u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok()?;
    }
    Some(bytes)
}

/// Writes a hash as 64 lower-case hexadecimal digits.
pub(crate) fn to_hex(bytes: &[u8; 32]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Source: FIPS 180-4, and the paper and test vectors of BLAKE3.
    #[test]
    fn hashes_of_the_empty_input_and_of_abc_are_the_published_ones() {
        let hash_of = |algorithm, bytes: &str| {
            let mut hash = Hasher::new(algorithm);
            hash.update(bytes.as_bytes());
            to_hex(&hash.finish())
        };
        let cases = [
            (Algorithm::Sha256, "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            (Algorithm::Sha256, "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (Algorithm::Blake3, "", "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"),
            (Algorithm::Blake3, "abc", "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"),
        ];
        for (algorithm, bytes, expected) in cases {
            assert_eq!(hash_of(algorithm, bytes), expected, "{algorithm:?} of {bytes:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn the_hash_does_not_depend_on_the_split_of_the_input(
            length in 0usize..100_000, cuts in proptest::collection::vec(0usize..100_000, 0..4)
        ) {
            let bytes: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(length)).chain([0, length]).collect();
            cuts.sort_unstable();
            for algorithm in [Algorithm::Sha256, Algorithm::Blake3] {
                let mut whole = Hasher::new(algorithm);
                whole.update(&bytes);
                let mut pieces = Hasher::new(algorithm);
                cuts.windows(2).for_each(|cut| pieces.update(&bytes[cut[0]..cut[1]]));
                prop_assert_eq!(whole.finish(), pieces.finish());
            }
        }
    }
}
