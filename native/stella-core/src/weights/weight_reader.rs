//! Tensors out of a file, in pieces of whole rows that go from hand to hand: one thread reads, the caller takes what is
//! wanted, and with a manifest a third one hashes, all while the piece is in a cache that they share. Nothing is kept of
//! a file but the pieces that are under way, so a load takes no more memory than what it makes.

use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::ScopedJoinHandle;

use stella_kernels::buffer::Buffer;
use stella_kernels::pack::Rows;
use stella_kernels::payload::into_text;
use stella_kernels::spawn::spawn_scoped;

use crate::base::counters::TENSORS;
use crate::base::error::{Error, Result};
use crate::base::fault_injection::{Stage, reach};
use crate::base::thread_context;
use crate::files::hash::Hasher;
use crate::files::manifest::Expected;
use crate::weights::header::TensorEntry;
use crate::weights::tensor::{ReadError, read_elements, read_exact, rows_of};
use crate::weights::weight_set::WeightFile;

/// The purpose of threads that load weights, for errors.
pub(crate) const LOADING: &str = "for loading a model";
/// Bytes of a piece, unless it takes more to hold [`ROWS`].
const PIECE_BYTES: usize = 1 << 20;
/// Rows of a piece at least: as many as are packed together.
const ROWS: usize = 32;
/// Pieces that are under way at once.
const PIECES: usize = 4;

/// Where the bytes of a file come from.
pub(crate) trait Source: Read + Seek + Send {}

impl<T: Read + Seek + Send> Source for T {}

/// Takes rows of a tensor, those from a number on.
pub(crate) type Take<'a> = &'a mut dyn FnMut(&TensorEntry, usize, Rows<'_>) -> Result<()>;

/// Memory that is under way while `tensors` are read.
pub(crate) fn bytes_under_way<'a>(tensors: impl Iterator<Item = &'a TensorEntry>) -> u64 {
    (PIECES * tensors.map(piece_bytes).max().unwrap_or(0)) as u64
}

/// Bytes of a row of a tensor of a type that weights come in.
fn row_bytes(entry: &TensorEntry) -> usize {
    entry.row_len().saturating_mul(entry.dtype.bitsize() / 8)
}

/// Bytes of the largest piece of such a tensor.
fn piece_bytes(entry: &TensorEntry) -> usize {
    let row = row_bytes(entry);
    let rows = (PIECE_BYTES / row / ROWS * ROWS).max(ROWS);
    let all = usize::try_from(entry.range.end - entry.range.start).unwrap_or(usize::MAX);
    row.saturating_mul(rows).min(all)
}

/// Reads `source`, the bytes of `file`, and gives `take` the rows of the tensors for which `wanted` holds, in the order
/// in which they are stored. With a hash that is expected, the whole file is read, and the bytes that are given are those
/// that are hashed; whether the hash is right is known at the end. A thread that the system refuses is an error, and the
/// other thread has ended when it is returned.
pub(crate) fn read(
    file: &WeightFile,
    source: &mut dyn Source,
    check_finite: bool,
    expected: Option<&(Expected, Hasher)>,
    wanted: &(dyn Fn(&TensorEntry) -> bool + Sync),
    take: Take<'_>,
) -> Result<()> {
    reach(Stage::Read);
    let (back, free) = channel();
    for _ in 0..PIECES {
        // Nobody has dropped the other end.
        let empty = Buffer::zeroed(0).map_err(|e| ReadError::OutOfMemory(e.bytes).of_file(&file.path))?;
        let _ = back.send(empty);
    }
    std::thread::scope(|scope| {
        let start = thread_context::capture();
        let count = 1 + usize::from(expected.is_some());
        let refused = |index, source| Error::ThreadRefused { what: LOADING, index, count, source };
        let (to_hash, hashing) = match expected {
            None => (None, None),
            Some((expected, before)) => {
                let (to_hash, hashed) = sync_channel(PIECES);
                let start = start.clone();
                let thread = spawn_scoped(scope, "stella-hash".to_owned(), move || {
                    start();
                    hash(before.clone(), hashed)
                });
                let thread = thread.map_err(|source| refused(1, source))?;
                (Some(to_hash), Some((expected, thread)))
            }
        };
        let (to_take, taken) = sync_channel(PIECES);
        let reader = Reader { source, check_finite, free, back, to_take, to_hash };
        let reader = spawn_scoped(scope, "stella-read".to_owned(), move || {
            start();
            reader.run(file, wanted)
        });
        let reader = match reader {
            Ok(reader) => reader,
            Err(source) => {
                // The sender went with the reader, so the thread that hashes ends too.
                if let Some((_, thread)) = hashing
                    && let Err(payload) = thread.join()
                {
                    drop(into_text(payload));
                }
                return Err(refused(count, source));
            }
        };
        let took = take_all(file, taken, take);
        let read = join(reader);
        let hash = hashing.map(|(expected, thread)| (expected, join(thread)));
        read.map_err(|e| e.of_file(&file.path))?;
        took?;
        hash.map_or(Ok(()), |(expected, hash)| expected.check(&file.path, hash))
    })
}

/// Takes pieces until there are no more, or until one is refused.
fn take_all(file: &WeightFile, pieces: Receiver<Arc<Piece<'_>>>, take: Take<'_>) -> Result<()> {
    pieces.iter().try_for_each(|piece| {
        let rows = rows_of(piece.entry.dtype, piece.bytes()).map_err(|e| e.of_file(&file.path))?;
        take(piece.entry, piece.first, rows)
    })
}

/// The result of a thread. A panic there goes on here.
fn join<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|payload| std::panic::resume_unwind(payload))
}

/// Goes on with a hash, over pieces as they come.
fn hash(mut hash: Hasher, pieces: Receiver<Arc<Piece<'_>>>) -> Hasher {
    reach(Stage::Hash);
    pieces.iter().for_each(|piece| hash.update(piece.bytes()));
    hash
}

/// Rows of a tensor, on their way. Its memory goes back to the reader when the last who has it lets it go.
struct Piece<'a> {
    entry: &'a TensorEntry,
    first: usize,
    len: usize,
    /// Always there until the end.
    memory: Option<Buffer<u8>>,
    back: Sender<Buffer<u8>>,
}

impl Piece<'_> {
    fn bytes(&self) -> &[u8] {
        self.memory.as_ref().map_or(&[], |memory| &memory[..self.len])
    }
}

impl Drop for Piece<'_> {
    fn drop(&mut self) {
        // When the reader has ended, nobody needs it any more.
        let _ = self.memory.take().map(|memory| self.back.send(memory));
    }
}

/// The thread that reads.
struct Reader<'s, 'a> {
    source: &'s mut dyn Source,
    check_finite: bool,
    free: Receiver<Buffer<u8>>,
    back: Sender<Buffer<u8>>,
    to_take: SyncSender<Arc<Piece<'a>>>,
    to_hash: Option<SyncSender<Arc<Piece<'a>>>>,
}

impl<'a> Reader<'_, 'a> {
    /// Reads the file from its first tensor on, or until nobody takes what is read.
    fn run(
        mut self,
        file: &'a WeightFile,
        wanted: &dyn Fn(&TensorEntry) -> bool,
    ) -> std::result::Result<(), ReadError> {
        self.source.seek(SeekFrom::Start(file.data_start)).map_err(ReadError::Io)?;
        for entry in file.header.tensors() {
            let bytes = entry.range.end - entry.range.start;
            let wanted = wanted(entry);
            if wanted {
                TENSORS.add_one();
            }
            if !wanted && self.to_hash.is_none() {
                let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
                self.source.seek_relative(bytes).map_err(ReadError::Io)?;
            } else if !self.read_tensor(entry, bytes, wanted)? {
                break;
            }
        }
        Ok(())
    }

    /// Reads a tensor. Types that are not wanted may be any, of less than a byte too. Says whether anybody takes it.
    fn read_tensor(
        &mut self,
        entry: &'a TensorEntry,
        bytes: u64,
        wanted: bool,
    ) -> std::result::Result<bool, ReadError> {
        let most = if wanted { piece_bytes(entry) } else { PIECE_BYTES };
        let mut begin = 0;
        while begin < bytes {
            let Ok(mut memory) = self.free.recv() else { return Ok(false) };
            let len = usize::try_from(bytes - begin).map_or(most, |left| left.min(most));
            if memory.len() < len {
                memory = Buffer::zeroed(len).map_err(|e| ReadError::OutOfMemory(e.bytes))?;
            }
            let mut first = 0;
            if wanted {
                let begin = usize::try_from(begin).map_err(|_| ReadError::OutOfMemory(bytes))?;
                first = begin / row_bytes(entry);
                let element = first * entry.row_len();
                read_elements(self.source, entry, element, &mut memory[..len], self.check_finite)?;
            } else {
                read_exact(self.source, &mut memory[..len])?;
            }
            let back = self.back.clone();
            let piece = Arc::new(Piece { entry, first, len, memory: Some(memory), back });
            if let Some(to_hash) = &self.to_hash {
                // Who hashes takes every piece unless it panicked, and then nothing of this is used.
                let _ = to_hash.send(Arc::clone(&piece));
            }
            if wanted && self.to_take.send(piece).is_err() {
                return Ok(false);
            }
            begin += len as u64;
        }
        Ok(true)
    }
}
