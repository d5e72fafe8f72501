//! Tensors out of a file by ordinary reads: the calling thread reads, a second one hashes what was just read.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::error::Result;
use crate::fault::{Stage, reach};
use crate::hash::Hasher;
use crate::header::TensorEntry;
use crate::inherit;
use crate::tensor::{PIECE_BYTES, RawTensor, ReadError};
use crate::weights::WeightFile;

/// Pieces that may wait for the second thread: few enough to be hashed while they are in a cache that both share.
const QUEUE: usize = 4;

/// A tensor of the file, with room for its numbers if it is wanted.
type Place<'a> = (&'a TensorEntry, Option<RawTensor>);
/// Bytes of the file in order, to be hashed: those of a tensor that is kept, or of one that is not.
type Piece<'a> = Cow<'a, [u8]>;

/// Reads the tensors for which `wanted` holds. With a manifest, the whole file is read, and what is returned are the
/// bytes that were hashed.
pub(crate) fn read(
    file: &WeightFile,
    check_finite: bool,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<HashMap<String, RawTensor>> {
    reach(Stage::Read);
    let mut places: Vec<Place<'_>> = Vec::new();
    for entry in file.header.tensors() {
        let room = wanted(&entry.name).then(|| RawTensor::zeroed(entry)).transpose();
        places.push((entry, room.map_err(|e| e.of_file(&file.path))?));
    }
    fill(file, check_finite, &mut places)?;
    Ok(places.into_iter().filter_map(|(entry, tensor)| Some((entry.name.clone(), tensor?))).collect())
}

/// Fills the places, and compares the hash of the file where it is known.
fn fill(file: &WeightFile, check_finite: bool, places: &mut [Place<'_>]) -> Result<()> {
    let Some((expected, before)) = &file.expected else {
        return read_places(file, check_finite, places, None).map_err(|e| e.of_file(&file.path));
    };
    std::thread::scope(|scope| {
        let (send, receive) = sync_channel(QUEUE);
        let start = inherit::capture();
        let hasher = scope.spawn(move || {
            start();
            hash(before.clone(), receive)
        });
        let filled = read_places(file, check_finite, places, Some(send));
        // A panic there goes on here.
        let hash = hasher.join().unwrap_or_else(|payload| std::panic::resume_unwind(payload));
        filled.map_err(|e| e.of_file(&file.path))?;
        expected.check(&file.path, hash)
    })
}

/// Reads the file from its first tensor on, and hands out what was read to who hashes it.
fn read_places<'a>(
    file: &WeightFile,
    check_finite: bool,
    places: &'a mut [Place<'_>],
    hashed: Option<SyncSender<Piece<'a>>>,
) -> Result<(), ReadError> {
    // Who hashes takes every piece unless it panicked, and then nothing of this is used.
    let hand_out = |piece| drop(hashed.as_ref().map(|to| to.send(piece)));
    let mut source = &file.file;
    source.seek(SeekFrom::Start(file.data_start)).map_err(ReadError::Io)?;
    let mut source = BufReader::with_capacity(0, source);
    for (entry, tensor) in places {
        let bytes = entry.range.end - entry.range.start;
        match tensor {
            Some(tensor) => {
                tensor.fill(entry, &mut source, check_finite, |piece| hand_out(Cow::Borrowed(piece)))?;
            }
            None if hashed.is_some() => pass(&mut source, bytes, |piece| hand_out(Cow::Owned(piece)))?,
            None => source.seek_relative(i64::try_from(bytes).unwrap_or(i64::MAX)).map_err(ReadError::Io)?,
        }
    }
    Ok(())
}

/// Reads and hands out bytes that are only hashed.
fn pass(source: &mut impl Read, bytes: u64, hand_out: impl Fn(Vec<u8>)) -> Result<(), ReadError> {
    let mut left = bytes;
    while left > 0 {
        let mut piece = Vec::new();
        let want = left.min(PIECE_BYTES as u64);
        source.take(want).read_to_end(&mut piece).map_err(ReadError::Io)?;
        if piece.len() as u64 != want {
            return Err(ReadError::Ended);
        }
        left -= want;
        hand_out(piece);
    }
    Ok(())
}

/// Goes on with a hash, over pieces as they come.
fn hash(mut hash: Hasher, pieces: Receiver<Piece<'_>>) -> Hasher {
    reach(Stage::Hash);
    pieces.iter().for_each(|piece| hash.update(&piece));
    hash
}
