//! Reads the tensors of a weights file in pieces of whole rows.
//!
//! One thread reads, the caller consumes the pieces, and with a manifest a third thread hashes them. All of them work on a
//! piece while it is in a cache that the threads share. Only a few pieces are in memory at the same time, so a load takes
//! no more memory than its result.

use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::ScopedJoinHandle;

use stella_kernels::buffer::Buffer;
use stella_kernels::numbers::Rows;
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
use crate::weights::weight_file::WeightFile;

/// The purpose of the threads that load weights, for error messages.
pub(crate) const LOADING: &str = "for loading a model";
/// Target size of a piece in bytes. A piece is larger if [`MIN_ROWS`] rows are.
const PIECE_BYTES: usize = 1 << 20;
/// Smallest number of rows of a piece: the rows that are packed into one panel.
const MIN_ROWS: usize = 32;
/// Pieces that are in memory at the same time.
const PIECES: usize = 4;

/// A source of the bytes of a file.
pub(crate) trait Source: Read + Seek + Send {}

impl<T: Read + Seek + Send> Source for T {}

/// Consumes rows of a tensor. The number is that of the first row.
pub(crate) type TensorSink<'a> = &'a mut dyn FnMut(&TensorEntry, usize, Rows<'_>) -> Result<()>;

/// Returns the memory that all pieces take while `tensors` are read.
pub(crate) fn memory_of_pieces<'a>(tensors: impl Iterator<Item = &'a TensorEntry>) -> u64 {
    (PIECES * tensors.map(piece_bytes).max().unwrap_or(0)) as u64
}

/// Returns the bytes of a row of a tensor with a supported element type.
fn row_bytes(entry: &TensorEntry) -> usize {
    entry.row_len().saturating_mul(entry.dtype.bitsize() / 8)
}

/// Returns the bytes of the largest piece of such a tensor.
fn piece_bytes(entry: &TensorEntry) -> usize {
    let row = row_bytes(entry);
    let rows = (PIECE_BYTES / row / MIN_ROWS * MIN_ROWS).max(MIN_ROWS);
    let all = usize::try_from(entry.range.end - entry.range.start).unwrap_or(usize::MAX);
    row.saturating_mul(rows).min(all)
}

/// Reads `source`, the bytes of `file`, and passes the rows of the tensors for which `wanted` returns true to `sink`, in the
/// order of the file.
///
/// With an expected hash, the whole file is read, and `sink` gets the same bytes as the hash. The hash is compared at the
/// end. If the system refuses a thread, the other thread has ended when the error is returned.
pub(crate) fn read(
    file: &WeightFile,
    source: &mut dyn Source,
    check_finite: bool,
    expected: Option<&(Expected, Hasher)>,
    wanted: &(dyn Fn(&TensorEntry) -> bool + Sync),
    sink: TensorSink<'_>,
) -> Result<()> {
    reach(Stage::Read);
    let (back, free) = channel();
    for _ in 0..PIECES {
        // The receiver exists, so sending cannot fail.
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
        let (to_sink, pieces) = sync_channel(PIECES);
        let reader = Reader { source, check_finite, free, back, to_sink, to_hash };
        let reader = spawn_scoped(scope, "stella-read".to_owned(), move || {
            start();
            reader.run(file, wanted)
        });
        let reader = match reader {
            Ok(reader) => reader,
            Err(source) => {
                // The sender was dropped with the reader, so the hashing thread ends too.
                if let Some((_, thread)) = hashing
                    && let Err(payload) = thread.join()
                {
                    drop(into_text(payload));
                }
                return Err(refused(count, source));
            }
        };
        let consumed = consume(file, pieces, sink);
        let read = join(reader);
        let hash = hashing.map(|(expected, thread)| (expected, join(thread)));
        read.map_err(|e| e.of_file(&file.path))?;
        consumed?;
        hash.map_or(Ok(()), |(expected, hash)| expected.check(&file.path, hash))
    })
}

/// Passes pieces to `sink` until the reader ends or `sink` fails.
fn consume(file: &WeightFile, pieces: Receiver<Arc<Piece<'_>>>, sink: TensorSink<'_>) -> Result<()> {
    pieces.iter().try_for_each(|piece| {
        let rows = rows_of(piece.entry.dtype, piece.bytes()).map_err(|e| e.of_file(&file.path))?;
        sink(piece.entry, piece.first, rows)
    })
}

/// Returns the result of a thread. A panic of the thread continues in the caller.
fn join<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|payload| std::panic::resume_unwind(payload))
}

/// Adds all pieces to a hash.
fn hash(mut hash: Hasher, pieces: Receiver<Arc<Piece<'_>>>) -> Hasher {
    reach(Stage::Hash);
    pieces.iter().for_each(|piece| hash.update(piece.bytes()));
    hash
}

/// Rows of a tensor. The memory returns to the reader when the last owner drops the piece.
struct Piece<'a> {
    entry: &'a TensorEntry,
    first: usize,
    len: usize,
    /// `None` only while the piece is dropped.
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
        // Sending fails if the reader has ended, and then the memory is freed.
        let _ = self.memory.take().map(|memory| self.back.send(memory));
    }
}

/// The reading thread.
struct Reader<'s, 'a> {
    source: &'s mut dyn Source,
    check_finite: bool,
    free: Receiver<Buffer<u8>>,
    back: Sender<Buffer<u8>>,
    to_sink: SyncSender<Arc<Piece<'a>>>,
    to_hash: Option<SyncSender<Arc<Piece<'a>>>>,
}

impl<'a> Reader<'_, 'a> {
    /// Reads the tensors of the file, until the end or until the consumer stops.
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

    /// Reads a tensor. Returns false if the consumer has stopped. A tensor that is only hashed may have any element type, also
    /// one of less than a byte.
    fn read_tensor(
        &mut self,
        entry: &'a TensorEntry,
        bytes: u64,
        wanted: bool,
    ) -> std::result::Result<bool, ReadError> {
        let max_len = if wanted { piece_bytes(entry) } else { PIECE_BYTES };
        let mut begin = 0;
        while begin < bytes {
            let Ok(mut memory) = self.free.recv() else { return Ok(false) };
            let len = usize::try_from(bytes - begin).map_or(max_len, |left| left.min(max_len));
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
                // Sending fails only if the hashing thread panicked. Then the load fails too.
                let _ = to_hash.send(Arc::clone(&piece));
            }
            if wanted && self.to_sink.send(piece).is_err() {
                return Ok(false);
            }
            begin += len as u64;
        }
        Ok(true)
    }
}
