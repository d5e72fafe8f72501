//! Tensors out of a file by ordinary reads: the calling thread reads, a second one hashes what was read.

use std::collections::HashMap;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::sync::mpsc::{Receiver, sync_channel};

use sha2::{Digest, Sha256};

use crate::counters::TENSORS;
use crate::error::Result;
use crate::fault::{Stage, reach};
use crate::header::TensorEntry;
use crate::tensor::{RawTensor, ReadError};
use crate::weights::WeightFile;

/// Bytes that are read at once of what is only hashed.
const PASSED_BYTES: u64 = 1 << 20;
/// Pieces that may wait for the second thread.
const QUEUE: usize = 2;

/// A part of the file, in order.
enum Piece<'a> {
    /// A tensor that is wanted.
    Tensor(&'a TensorEntry, RawTensor),
    /// Bytes of a tensor that is not, read because they are part of the hash.
    Passed(Vec<u8>),
}

/// Reads the tensors for which `wanted` holds. With a manifest, the whole file is read, and what is returned are the
/// bytes that were hashed.
pub(crate) fn read(
    file: &WeightFile,
    check_finite: bool,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<HashMap<String, RawTensor>> {
    std::thread::scope(|scope| {
        let (send, receive) = sync_channel(QUEUE);
        let checker = scope.spawn(|| check(file, receive));
        let sent = send_pieces(file, check_finite, wanted, |piece| send.send(piece).is_ok());
        drop(send);
        // A panic there goes on here.
        let checked = checker.join().unwrap_or_else(|payload| std::panic::resume_unwind(payload));
        // A checker that stops early has the reason; a reader that does has it otherwise.
        sent.map_err(|e| e.of_file(&file.path)).and(checked)
    })
}

/// Reads the file from its first tensor on and hands out pieces until one is not taken.
fn send_pieces<'a>(
    file: &'a WeightFile,
    check_finite: bool,
    wanted: &dyn Fn(&str) -> bool,
    send: impl Fn(Piece<'a>) -> bool,
) -> Result<(), ReadError> {
    reach(Stage::Read);
    let mut source = &file.file;
    source.seek(SeekFrom::Start(file.data_start)).map_err(ReadError::Io)?;
    let mut source = BufReader::with_capacity(0, source);
    for entry in file.header.tensors() {
        let bytes = entry.range.end - entry.range.start;
        let taken = if wanted(&entry.name) {
            send(Piece::Tensor(entry, RawTensor::read(entry, &mut source, check_finite)?))
        } else if file.expected.is_some() {
            pass(&mut source, bytes, &send)?
        } else {
            source.seek_relative(i64::try_from(bytes).unwrap_or(i64::MAX)).map_err(ReadError::Io)?;
            true
        };
        if !taken {
            break;
        }
    }
    Ok(())
}

/// Reads and hands out bytes that are only hashed. False when they are not taken.
fn pass<'a>(
    source: &mut impl Read,
    bytes: u64,
    send: &impl Fn(Piece<'a>) -> bool,
) -> Result<bool, ReadError> {
    let mut left = bytes;
    while left > 0 {
        let mut piece = Vec::new();
        let want = left.min(PASSED_BYTES);
        source.take(want).read_to_end(&mut piece).map_err(ReadError::Io)?;
        if piece.len() as u64 != want {
            return Err(ReadError::Ended);
        }
        left -= want;
        if !send(Piece::Passed(piece)) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Hashes pieces as they come, and keeps the tensors.
fn check(file: &WeightFile, pieces: Receiver<Piece<'_>>) -> Result<HashMap<String, RawTensor>> {
    reach(Stage::Hash);
    let mut hash = file.expected.as_ref().map(|(_, before)| before.clone());
    let mut tensors = HashMap::new();
    for piece in pieces {
        match piece {
            Piece::Tensor(entry, tensor) => {
                update(&mut hash, tensor.bytes());
                TENSORS.add_one();
                tensors.insert(entry.name.clone(), tensor);
            }
            Piece::Passed(bytes) => update(&mut hash, &bytes),
        }
    }
    if let (Some((expected, _)), Some(hash)) = (&file.expected, hash) {
        expected.check(&file.path, hash)?;
    }
    Ok(tensors)
}

fn update(hash: &mut Option<Sha256>, bytes: &[u8]) {
    if let Some(hash) = hash {
        hash.update(bytes);
    }
}
