//! What can be wrong with a header.

/// The largest header that is read. The 400M model has one of 31 KB.
pub const MAX_HEADER_BYTES: u64 = 16 << 20;
/// Tensors that one file may have. The 1.5B model has 338.
pub const MAX_TENSORS: usize = 10_000;
/// Free texts that a header may carry. Real files have one or two.
pub const MAX_METADATA: usize = 1_000;
/// Dimensions that one tensor may have.
pub const MAX_RANK: usize = 8;
/// No dimension of a tensor may reach this.
pub const MAX_DIMENSION: u64 = 1 << 48;
/// Bytes of a file before its header: the header's length as a little-endian number.
pub const LENGTH_BYTES: u64 = 8;

/// Why a header is refused.
#[derive(Debug, thiserror::Error)]
pub enum HeaderFault {
    /// The file is shorter than the length that it begins with.
    #[error("has {0} bytes; a safetensors file begins with 8 bytes that give the length of its header")]
    NoLength(u64),
    /// The header is longer than the file or than the cap.
    #[error(
        "claims a header of {claimed} bytes; the file has {file} and a header at most {MAX_HEADER_BYTES}"
    )]
    HeaderLength {
        /// The length that the file begins with.
        claimed: u64,
        /// Bytes of the file.
        file: u64,
    },
    /// The header is not the JSON of a safetensors header.
    #[error("the header is not a valid safetensors header")]
    Json(#[source] serde_json::Error),
    /// The header begins with something else than `{`.
    #[error("the header begins with byte {0:#04x}; a safetensors header begins with '{{'")]
    FirstByte(u8),
    /// A name stands twice.
    #[error("the header has the duplicate name {0:?}")]
    DuplicateName(String),
    /// A key stands twice in the free texts.
    #[error("__metadata__ has the duplicate key {0:?}")]
    DuplicateMetadata(String),
    /// A field stands twice in one tensor.
    #[error("tensor {name:?} has the duplicate field {field}")]
    DuplicateField {
        /// The tensor.
        name: String,
        /// The field.
        field: &'static str,
    },
    /// A tensor has a field that the format does not know.
    #[error("tensor {name:?} has the unknown field {field:?}; known are dtype, shape and data_offsets")]
    UnknownField {
        /// The tensor.
        name: String,
        /// The field.
        field: String,
    },
    /// A value is written in a form that only some readers take.
    #[error("{name:?} is not written as {expected}")]
    Form {
        /// The tensor, or `__metadata__`.
        name: String,
        /// The form that the format asks for.
        expected: &'static str,
    },
    /// More tensors than the cap.
    #[error("the header has more than {MAX_TENSORS} tensors")]
    TooManyTensors,
    /// More free texts than the cap.
    #[error("__metadata__ has more than {MAX_METADATA} free texts")]
    TooMuchMetadata,
    /// More dimensions than the cap.
    #[error("tensor {name:?} has {rank} dimensions; at most {MAX_RANK} are read")]
    Rank {
        /// The tensor.
        name: String,
        /// Its dimensions.
        rank: usize,
    },
    /// A dimension over the cap.
    #[error("tensor {name:?} has a dimension of {dimension}; it must be below 2^48")]
    Dimension {
        /// The tensor.
        name: String,
        /// The dimension.
        dimension: u64,
    },
    /// The size of a tensor does not fit 64 bits, or would not but for a dimension of zero.
    #[error("tensor {name:?} has shape {shape:?}, whose size does not fit 64 bits")]
    Overflow {
        /// The tensor.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
        /// Whether only a zero in the shape makes it fit.
        hidden_by_zero: bool,
    },
    /// Offsets that leave a hole, overlap or run backwards.
    #[error(
        "tensor {name:?} has data_offsets {begin} to {end}, but the tensor before it ends at {expected}: tensors must \
         follow one another without hole or overlap"
    )]
    Offsets {
        /// The tensor.
        name: String,
        /// Where it begins.
        begin: u64,
        /// Where it ends.
        end: u64,
        /// Where it should begin.
        expected: u64,
    },
    /// Offsets that hold another number of bytes than the shape has.
    #[error("tensor {name:?} has {found} bytes by its data_offsets and {needed} by its shape and dtype")]
    Size {
        /// The tensor.
        name: String,
        /// Bytes between the offsets.
        found: u64,
        /// Bytes by shape and type.
        needed: u64,
    },
    /// Elements that do not fill whole bytes.
    #[error("tensor {name:?} has {bits} bits, which are no whole bytes")]
    Bits {
        /// The tensor.
        name: String,
        /// Its bits.
        bits: u64,
    },
    /// Elements that begin at an odd place.
    #[error(
        "tensor {name:?} begins at byte {begin} of the data, which is no multiple of its element's {bytes} bytes"
    )]
    Misaligned {
        /// The tensor.
        name: String,
        /// Where it begins.
        begin: u64,
        /// Bytes of an element.
        bytes: u64,
    },
    /// The file holds more or fewer bytes than the tensors.
    #[error(
        "offsets in the header end at byte {claimed} of the data, but the file holds {found} bytes of data"
    )]
    DataLength {
        /// Where the last tensor ends.
        claimed: u64,
        /// Bytes after the header.
        found: u64,
    },
}

impl HeaderFault {
    /// Whether the `safetensors` crate would accept a file with this fault alone.
    pub fn is_stricter(&self) -> bool {
        match self {
            Self::FirstByte(_)
            | Self::DuplicateName(_)
            | Self::DuplicateMetadata(_)
            | Self::UnknownField { .. }
            | Self::Form { .. }
            | Self::TooManyTensors
            | Self::TooMuchMetadata
            | Self::Rank { .. }
            | Self::Dimension { .. }
            | Self::Misaligned { .. } => true,
            Self::HeaderLength { claimed, file } => file.saturating_sub(LENGTH_BYTES) >= *claimed,
            Self::Overflow { hidden_by_zero, .. } => *hidden_by_zero,
            Self::NoLength(_)
            | Self::Json(_)
            | Self::DuplicateField { .. }
            | Self::Offsets { .. }
            | Self::Size { .. }
            | Self::Bits { .. }
            | Self::DataLength { .. } => false,
        }
    }
}
