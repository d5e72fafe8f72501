//! The one error type of this crate. Every message says what is wrong, where, and what would be right.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::error_code::ErrorCode;
use crate::files::settings::listed;

/// A cause that came from another library.
pub type Cause = Box<dyn std::error::Error + Send + Sync + 'static>;

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong between a model folder and a vector.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A defect in this library.
    #[error("internal error: {0}")]
    Internal(String),

    /// An argument is out of range or contradicts another.
    #[error("{0}")]
    InvalidArgument(String),

    /// The caller's buffer is too small.
    #[error("the buffer for {what} holds {capacity}, {needed} are needed")]
    BufferTooSmall {
        /// What the buffer is for.
        what: &'static str,
        /// Elements that fit.
        capacity: usize,
        /// Elements that are needed.
        needed: usize,
    },

    /// A session was called while it was running a call.
    #[error("the session is running a call on another thread; a session takes one call at a time")]
    SessionBusy,

    /// A session was called after a panic in it.
    #[error("the session panicked in an earlier call; free it and start another")]
    SessionPoisoned,

    /// The precision is not available.
    #[error("precision {asked} is not available: {reason}")]
    PrecisionUnavailable {
        /// The asked precision.
        asked: &'static str,
        /// Why, and what there is instead.
        reason: String,
    },

    /// No head of the asked dimension.
    #[error("the model has no head of dimension {asked}; its heads have {}", list(.available))]
    UnknownDimension {
        /// The asked dimension.
        asked: usize,
        /// The dimensions that exist, ascending.
        available: Vec<usize>,
    },

    /// No prompt of the asked name.
    #[error("the model has no prompt {asked:?}; {}", prompts(.available))]
    UnknownPrompt {
        /// The asked name.
        asked: String,
        /// The names that exist, in order.
        available: Vec<String>,
    },

    /// The system has not enough memory.
    #[error("{bytes} bytes for {what} are more than the system gives")]
    OutOfMemory {
        /// What the memory is for.
        what: String,
        /// Bytes that were asked for.
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

    /// The folder is not there.
    #[error("model folder {} {reason}", .path.display())]
    FolderNotFound {
        /// The folder.
        path: PathBuf,
        /// What was found instead.
        reason: &'static str,
        /// The system's error, if there was one.
        #[source]
        source: Option<std::io::Error>,
    },

    /// A file is not in the folder.
    #[error("{} is missing: {needed_for}", .path.display())]
    FileMissing {
        /// The file.
        path: PathBuf,
        /// Why the model needs it.
        needed_for: String,
    },

    /// A file cannot be read.
    #[error("{} cannot be read", .path.display())]
    FileUnreadable {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },

    /// A file is damaged or not what its name says.
    #[error("{}: {reason}", .path.display())]
    FileInvalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
        /// The parser's error, if there was one.
        #[source]
        source: Option<Cause>,
    },

    /// Two files contradict each other.
    #[error("{}: {reason}", .path.display())]
    Inconsistent {
        /// The file that was being read.
        path: PathBuf,
        /// What it holds, what it should hold, and which file says so.
        reason: String,
    },

    /// A model of a kind that is not computed here.
    #[error("{}: {reason}", .path.display())]
    Unsupported {
        /// The file that says so.
        path: PathBuf,
        /// What was found and what is supported.
        reason: String,
    },

    /// `tokenizer.json` cannot be used.
    #[error("{}: {reason}", .path.display())]
    TokenizerInvalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
        /// The tokenizer library's error, if there was one.
        #[source]
        source: Option<Cause>,
    },

    /// A text is not UTF-8.
    #[error("text {index} is not valid UTF-8: byte {at} of {len}")]
    TextNotUnicode {
        /// Index of the text in the call.
        index: usize,
        /// Offset of the first wrong byte within the text.
        at: usize,
        /// Length of the text in bytes.
        len: usize,
    },

    /// A text is longer than allowed.
    #[error(
        "text {index} has {length} {unit}, the limit is {limit}: shorten it, raise max_tokens, or allow truncation"
    )]
    TextTooLong {
        /// Index of the text in the call.
        index: usize,
        /// Its length, special tokens and prompt included.
        length: usize,
        /// The limit.
        limit: usize,
        /// What is counted: `tokens`, or `bytes` for a text that is too long to be tokenized at all.
        unit: &'static str,
    },

    /// The tokenizer failed.
    #[error("text {index} could not be tokenized")]
    TextNotTokenized {
        /// Index of the text in the call.
        index: usize,
        /// The tokenizer library's error.
        #[source]
        source: Cause,
    },

    /// The forward pass failed.
    #[error("the forward pass failed")]
    ForwardFailed(#[source] Cause),

    /// The result is not finite.
    #[error("the vector of text {index} is not finite: the weights or the arithmetic overflowed")]
    ResultNotFinite {
        /// Index of the text in the call.
        index: usize,
    },

    /// The result is zero.
    #[error("the vector of text {index} is zero: it has no direction, and nothing can be compared with it")]
    ResultZero {
        /// Index of the text in the call.
        index: usize,
    },

    /// The error of another caller that was loading the same model.
    #[error(transparent)]
    Shared(Arc<Error>),

    /// The caller cancelled.
    #[error("the call was cancelled")]
    Cancelled,
}

impl Error {
    /// The same, with the folder of the model where memory was short.
    pub(crate) fn for_model(self, folder: &Path) -> Self {
        match self {
            Self::OutOfMemory { what, bytes } => {
                Self::OutOfMemory { what: format!("{what} of the model in {}", folder.display()), bytes }
            }
            other => other,
        }
    }

    /// The number of this error.
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

    /// Index within the call of the text that caused this, if one text did.
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

    /// The same error for a caller in whose list the texts of this call begin at `first`.
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

    /// This error's message, then those of its causes, outermost first. Never empty.
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

/// Numbers as an English list: `256, 768 and 1024`.
fn prompts(names: &[String]) -> String {
    match names {
        [] => "it has no prompts, and \"document\" puts nothing before a text".to_owned(),
        _ => format!("its prompts are {}, and \"document\" puts nothing before a text", listed(names)),
    }
}

fn list(numbers: &[usize]) -> String {
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
    fn unknown_dimension_lists_those_there_are() {
        let error = Error::UnknownDimension { asked: 512, available: vec![256, 768, 1024] };
        assert_eq!(
            error.to_string(),
            "the model has no head of dimension 512; its heads have 256, 768 and 1024"
        );
        assert_eq!(error.code(), ErrorCode::UnknownDimension);
    }

    #[test]
    fn chain_keeps_every_cause_in_order() {
        let io = std::io::Error::new(std::io::ErrorKind::PermissionDenied, "no entry");
        let error = Error::FileUnreadable { path: PathBuf::from("m/config.json"), source: io };
        assert_eq!(error.chain(), ["m/config.json cannot be read", "no entry"]);
    }

    #[test]
    fn text_errors_name_their_text() {
        let error = Error::TextTooLong { index: 7, length: 900, limit: 512, unit: "tokens" };
        assert_eq!(error.text_index(), Some(7));
        let error = error.with_first_text(100);
        assert_eq!(error.text_index(), Some(107));
        assert!(error.to_string().contains("text 107") && error.to_string().contains("900"));
    }
}
