//! The error type of this crate. A message states the problem with the file, the value and the limit, and then
//! the remedy.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use stella_kernels::buffer::OutOfMemory;
use stella_kernels::team::TeamError;

use crate::base::error_code::ErrorCode;
use crate::base::message::listed;

/// A cause from another library.
pub type Cause = Box<dyn std::error::Error + Send + Sync + 'static>;

/// The result of a function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error on the way from a model folder to a vector.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A defect in this library.
    #[error("Internal error: {0}")]
    Internal(String),

    /// An argument is out of range or contradicts another.
    #[error("{0}")]
    InvalidArgument(String),

    /// The caller's buffer is too small.
    #[error("The buffer for {what} holds {capacity} elements, but {needed} are needed.")]
    BufferTooSmall {
        /// The contents of the buffer.
        what: &'static str,
        /// Elements that fit.
        capacity: usize,
        /// Elements of the result.
        needed: usize,
    },

    /// A session was called while it ran another call.
    #[error("The session is running a call on another thread. A session takes one call at a time.")]
    SessionBusy,

    /// A session was called after a panic in it.
    #[error("The session panicked in an earlier call. Free it and start another one.")]
    SessionPoisoned,

    /// The precision is not available.
    #[error("Precision {asked} is not available. {reason}")]
    PrecisionUnavailable {
        /// The requested precision.
        asked: &'static str,
        /// A sentence that says why, and what to choose instead.
        reason: String,
    },

    /// The model has no head of the requested dimension.
    #[error("The model has no head of dimension {asked}. Its heads have {}.", numbers(.available))]
    UnknownDimension {
        /// The requested dimension.
        asked: usize,
        /// The dimensions of the heads, ascending.
        available: Vec<usize>,
    },

    /// The model has no prompt of the requested name.
    #[error("The model has no prompt {asked:?}. {}", prompts(.available))]
    UnknownPrompt {
        /// The requested name.
        asked: String,
        /// The names of the prompts, in order.
        available: Vec<String>,
    },

    /// There is not enough memory.
    #[error(
        "Could not allocate {bytes} bytes for {what}. Free memory, or raise the memory limit of the process."
    )]
    OutOfMemory {
        /// The purpose of the memory.
        what: String,
        /// The size of the allocation.
        bytes: u64,
    },

    /// The system refused a thread.
    #[error(
        "The system refused thread {index} of {count} {what}. Raise the limit on processes and threads, or use fewer of \
         them."
    )]
    ThreadRefused {
        /// The purpose of the threads, such as `for a session`.
        what: &'static str,
        /// The refused thread, counted from 1.
        index: usize,
        /// Threads that were to be started.
        count: usize,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },

    /// The model folder does not exist, is not a folder, or cannot be opened.
    #[error("The model folder {} {reason}.", .path.display())]
    FolderNotFound {
        /// The folder.
        path: PathBuf,
        /// The end of the sentence, such as `does not exist`.
        reason: &'static str,
        /// The system's error, if there was one.
        #[source]
        source: Option<std::io::Error>,
    },

    /// A file is not in the folder.
    #[error("{} is missing: {needed_for}.", .path.display())]
    FileMissing {
        /// The file.
        path: PathBuf,
        /// The reason why the model needs it, without a full stop.
        needed_for: String,
    },

    /// A file cannot be read.
    #[error("{} cannot be read.", .path.display())]
    FileUnreadable {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },

    /// A file is damaged, or its contents do not match its name.
    #[error("{}: {reason}", .path.display())]
    FileInvalid {
        /// The file.
        path: PathBuf,
        /// A sentence that says what is wrong with it.
        reason: String,
        /// The error of the parser, if there was one.
        #[source]
        source: Option<Cause>,
    },

    /// Two files contradict each other.
    #[error("{}: {reason}", .path.display())]
    Inconsistent {
        /// The file that was read.
        path: PathBuf,
        /// A sentence with the value, the expected value, and the file that demands it.
        reason: String,
    },

    /// The model has a feature that this library does not support.
    #[error("{}: {reason}", .path.display())]
    Unsupported {
        /// The file with the setting.
        path: PathBuf,
        /// A sentence with the value and the supported values.
        reason: String,
    },

    /// `tokenizer.json` cannot be used.
    #[error("{}: {reason}", .path.display())]
    TokenizerInvalid {
        /// The file.
        path: PathBuf,
        /// A sentence that says what is wrong with it.
        reason: String,
        /// The error of the tokenizer library, if there was one.
        #[source]
        source: Option<Cause>,
    },

    /// A text is not UTF-8.
    #[error("Text {index} is not valid UTF-8. The first invalid byte is at offset {at} of {len}.")]
    TextNotUnicode {
        /// Index of the text in the call.
        index: usize,
        /// Offset of the first invalid byte within the text.
        at: usize,
        /// Length of the text in bytes.
        len: usize,
    },

    /// A text is longer than allowed.
    #[error(
        "Text {index} has {length} {unit}, but the limit is {limit}. Shorten the text, load the model with a higher token \
         limit, or allow truncation."
    )]
    TextTooLong {
        /// Index of the text in the call.
        index: usize,
        /// Its length, including special tokens and the prompt.
        length: usize,
        /// The limit.
        limit: usize,
        /// The unit of `length`: `tokens`, or `bytes` for a text that is too long to be tokenized at all.
        unit: &'static str,
    },

    /// The tokenizer failed.
    #[error("Text {index} could not be tokenized.")]
    TextNotTokenized {
        /// Index of the text in the call.
        index: usize,
        /// The error of the tokenizer library.
        #[source]
        source: Cause,
    },

    /// The forward pass failed.
    #[error("The forward pass failed.")]
    ForwardFailed(#[source] Cause),

    /// A vector has a value that is NaN or infinite.
    #[error("The vector of text {index} is not finite, because the weights or the arithmetic overflowed.")]
    ResultNotFinite {
        /// Index of the text in the call.
        index: usize,
    },

    /// A vector is zero.
    #[error(
        "The vector of text {index} is zero. It has no direction, so it cannot be compared with other vectors."
    )]
    ResultZero {
        /// Index of the text in the call.
        index: usize,
    },

    /// The error of another caller that loaded the same model.
    #[error(transparent)]
    Shared(Arc<Error>),

    /// The caller cancelled.
    #[error("The call was cancelled.")]
    Cancelled,
}

impl Error {
    /// Adds the folder of the model to an [`Error::OutOfMemory`].
    pub(crate) fn for_model(self, folder: &Path) -> Self {
        match self {
            Self::OutOfMemory { what, bytes } => {
                Self::OutOfMemory { what: format!("{what} of the model in {}", folder.display()), bytes }
            }
            other => other,
        }
    }

    /// Gets the code of this error.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Internal(_) => ErrorCode::Internal,
            Self::InvalidArgument(_) => ErrorCode::InvalidArgument,
            Self::BufferTooSmall { .. } => ErrorCode::BufferTooSmall,
            Self::SessionBusy => ErrorCode::SessionBusy,
            Self::SessionPoisoned => ErrorCode::Panic,
            Self::PrecisionUnavailable { .. } => ErrorCode::PrecisionUnavailable,
            Self::UnknownDimension { .. } => ErrorCode::UnknownDimension,
            Self::UnknownPrompt { .. } => ErrorCode::UnknownPrompt,
            Self::OutOfMemory { .. } => ErrorCode::OutOfMemory,
            Self::ThreadRefused { .. } => ErrorCode::ThreadRefused,
            Self::FolderNotFound { .. } => ErrorCode::ModelFolderNotFound,
            Self::FileMissing { .. } => ErrorCode::ModelFileMissing,
            Self::FileUnreadable { .. } => ErrorCode::ModelFileUnreadable,
            Self::FileInvalid { .. } => ErrorCode::ModelFileInvalid,
            Self::Inconsistent { .. } => ErrorCode::ModelInconsistent,
            Self::Unsupported { .. } => ErrorCode::ModelUnsupported,
            Self::TokenizerInvalid { .. } => ErrorCode::TokenizerInvalid,
            Self::TextNotUnicode { .. } => ErrorCode::TextNotUnicode,
            Self::TextTooLong { .. } => ErrorCode::TextTooLong,
            Self::TextNotTokenized { .. } => ErrorCode::TextNotTokenized,
            Self::ForwardFailed(_) => ErrorCode::ForwardFailed,
            Self::ResultNotFinite { .. } => ErrorCode::ResultNotFinite,
            Self::ResultZero { .. } => ErrorCode::ResultZero,
            Self::Shared(error) => error.code(),
            Self::Cancelled => ErrorCode::Cancelled,
        }
    }

    /// Gets the index within the call of the text that caused this error, if one text did.
    pub fn text_index(&self) -> Option<usize> {
        match self {
            Self::TextNotUnicode { index, .. }
            | Self::TextTooLong { index, .. }
            | Self::TextNotTokenized { index, .. }
            | Self::ResultNotFinite { index }
            | Self::ResultZero { index } => Some(*index),
            _ => None,
        }
    }

    /// Adds `first` to the index of the text. A caller that splits its list of texts into calls gets the index in its list.
    #[must_use]
    pub fn with_first_text(mut self, first: usize) -> Self {
        if let Self::TextNotUnicode { index, .. }
        | Self::TextTooLong { index, .. }
        | Self::TextNotTokenized { index, .. }
        | Self::ResultNotFinite { index }
        | Self::ResultZero { index } = &mut self
        {
            *index = index.saturating_add(first);
        }
        self
    }

    /// Returns the message of this error and those of its causes, outermost first. Never empty.
    pub fn chain(&self) -> Vec<String> {
        let mut messages = vec![self.to_string()];
        let mut next = std::error::Error::source(self);
        while let Some(cause) = next {
            messages.push(cause.to_string());
            next = cause.source();
        }
        messages
    }
}

/// Converts a failed allocation of the encoder's weights or buffers.
pub(crate) fn encoder_out_of_memory(error: OutOfMemory) -> Error {
    Error::OutOfMemory { what: "the encoder".to_owned(), bytes: error.bytes }
}

/// Converts the error of a team that the system refused. `what` is the purpose of its threads, such as `for a session`.
pub(crate) fn team_refused(error: TeamError, what: &'static str) -> Error {
    match error {
        TeamError::Memory(error) => encoder_out_of_memory(error),
        TeamError::Thread { index, threads, source } => {
            Error::ThreadRefused { what, index, count: threads - 1, source }
        }
    }
}

/// Writes the sentence of an [`Error::UnknownPrompt`] that lists the prompts.
fn prompts(names: &[String]) -> String {
    match names {
        [] => "It has no prompts. \"document\" puts nothing before a text.".to_owned(),
        _ => format!("Its prompts are {}. \"document\" puts nothing before a text.", listed(names)),
    }
}

/// Writes numbers as an English list: `256, 768 and 1024`.
fn numbers(numbers: &[usize]) -> String {
    let words: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    match words.split_last() {
        None => "none".to_owned(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_dimension_is_reported_with_the_dimensions_of_the_heads() {
        let error = Error::UnknownDimension { asked: 512, available: vec![256, 768, 1024] };
        assert_eq!(
            error.to_string(),
            "The model has no head of dimension 512. Its heads have 256, 768 and 1024."
        );
        assert_eq!(error.code(), ErrorCode::UnknownDimension);
    }

    #[test]
    fn the_chain_keeps_every_cause_in_order() {
        let io = std::io::Error::new(std::io::ErrorKind::PermissionDenied, "no entry");
        let error = Error::FileUnreadable { path: PathBuf::from("m/config.json"), source: io };
        assert_eq!(error.chain(), ["m/config.json cannot be read.", "no entry"]);
    }

    #[test]
    fn errors_of_a_text_name_its_index() {
        let error = Error::TextTooLong { index: 7, length: 900, limit: 512, unit: "tokens" };
        assert_eq!(error.text_index(), Some(7));
        let error = error.with_first_text(100);
        assert_eq!(error.text_index(), Some(107));
        assert!(error.to_string().contains("Text 107") && error.to_string().contains("900"));
    }
}
