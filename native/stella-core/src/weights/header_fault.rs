//! The faults of a safetensors header, and its limits.

/// The largest supported header in bytes. That of Stella 400M has 31 KB.
pub const MAX_HEADER_BYTES: u64 = 16 << 20;
/// The largest number of tensors of a file. Stella 1.5B has 338.
pub const MAX_TENSORS: usize = 10_000;
/// The largest number of entries of `__metadata__`. Published files have one or two.
pub const MAX_METADATA: usize = 1_000;
/// The largest number of dimensions of a tensor.
pub const MAX_RANK: usize = 8;
/// Exclusive upper limit of a dimension.
pub const MAX_DIMENSION: u64 = 1 << 48;
/// Bytes before the header: its length as a little-endian number.
pub const LENGTH_BYTES: u64 = 8;

/// The reason why a header is refused.
#[derive(Debug, thiserror::Error)]
pub enum HeaderFault {
    /// The file is too short for the length of a header.
    #[error("The file has {0} bytes. A safetensors file begins with the length of its header in 8 bytes.")]
    NoLength(u64),
    /// The header is longer than the file or the limit.
    #[error(
        "The file claims a header of {claimed} bytes, but has {file} bytes. A header may have at most {MAX_HEADER_BYTES} bytes."
    )]
    HeaderLength {
        /// The length at the beginning of the file.
        claimed: u64,
        /// The size of the file.
        file: u64,
    },
    /// The header is not valid JSON, or not that of a safetensors header.
    #[error("The header is not a valid safetensors header.")]
    Json(#[source] serde_json::Error),
    /// The header does not start with `{`.
    #[error("The header begins with byte {0:#04x}. It must begin with '{{'.")]
    FirstByte(u8),
    /// Two tensors have the same name.
    #[error("The tensor name {0:?} is a duplicate.")]
    DuplicateName(String),
    /// Two entries of the metadata have the same key.
    #[error("The __metadata__ key {0:?} is a duplicate.")]
    DuplicateMetadata(String),
    /// A tensor has a field twice.
    #[error("The field {field} of tensor {name:?} is a duplicate.")]
    DuplicateField {
        /// The tensor.
        name: String,
        /// The field.
        field: &'static str,
    },
    /// A tensor has a field that is not part of the format.
    #[error(
        "The tensor {name:?} has the unknown field {field:?}. Known fields are dtype, shape and data_offsets."
    )]
    UnknownField {
        /// The tensor.
        name: String,
        /// The field.
        field: String,
    },
    /// A value has a JSON type that only some readers accept.
    #[error("{name:?} must be {expected}.")]
    Form {
        /// The tensor, or `__metadata__`.
        name: String,
        /// The JSON type that the format demands.
        expected: &'static str,
    },
    /// The number of tensors exceeds the limit.
    #[error("The header has more than {MAX_TENSORS} tensors.")]
    TooManyTensors,
    /// The number of metadata entries exceeds the limit.
    #[error("The __metadata__ has more than {MAX_METADATA} entries.")]
    TooMuchMetadata,
    /// The number of dimensions exceeds the limit.
    #[error("The tensor {name:?} has {rank} dimensions. At most {MAX_RANK} are supported.")]
    Rank {
        /// The tensor.
        name: String,
        /// Its number of dimensions.
        rank: usize,
    },
    /// A dimension exceeds the limit.
    #[error("The tensor {name:?} has a dimension of {dimension}. It must be below 2^48.")]
    Dimension {
        /// The tensor.
        name: String,
        /// The dimension.
        dimension: u64,
    },
    /// The size of a tensor does not fit 64 bits, or only because one dimension is zero.
    #[error("The tensor {name:?} has the shape {shape:?}, whose size does not fit 64 bits.")]
    Overflow {
        /// The tensor.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
        /// Whether the size fits only because of a zero in the shape.
        hidden_by_zero: bool,
    },
    /// The offsets leave a hole, overlap or decrease.
    #[error(
        "The tensor {name:?} has data_offsets {begin} to {end}, but the tensor before it ends at {expected}. Tensors must \
         follow one another without hole or overlap."
    )]
    Offsets {
        /// The tensor.
        name: String,
        /// Its first offset.
        begin: u64,
        /// Its second offset.
        end: u64,
        /// The end of the tensor before it.
        expected: u64,
    },
    /// The offsets contradict the shape and the element type.
    #[error(
        "The tensor {name:?} has {found} bytes in its data_offsets, but {needed} by its shape and dtype."
    )]
    Size {
        /// The tensor.
        name: String,
        /// Bytes between the offsets.
        found: u64,
        /// Bytes by the shape and the element type.
        needed: u64,
    },
    /// The elements do not fill whole bytes.
    #[error("The tensor {name:?} has {bits} bits, which is not a multiple of 8.")]
    Bits {
        /// The tensor.
        name: String,
        /// Its size in bits.
        bits: u64,
    },
    /// The tensor is not aligned to its elements.
    #[error(
        "The tensor {name:?} begins at byte {begin} of the data, which is not a multiple of the element size, {bytes} bytes."
    )]
    Misaligned {
        /// The tensor.
        name: String,
        /// Its first offset.
        begin: u64,
        /// The element size in bytes.
        bytes: u64,
    },
    /// The file has more or fewer bytes than its tensors.
    #[error(
        "The offsets in the header end at byte {claimed} of the data, but the file has {found} bytes of data."
    )]
    DataLength {
        /// The end of the last tensor.
        claimed: u64,
        /// Bytes after the header.
        found: u64,
    },
}

impl HeaderFault {
    /// Returns whether the `safetensors` crate accepts a file that has this fault alone.
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
