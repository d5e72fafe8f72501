//! The header of a safetensors file: a strict parser.
//!
//! The format is ambiguous, and readers differ: which of two equal names counts, what an unknown field means, whether data
//! may have holes. A file could use this to show one model to a checking tool and another one to this library. So the parser
//! refuses ambiguous files. [`HeaderFault::is_stricter`] tells which faults the `safetensors` crate accepts. For all other
//! faults, and for every accepted header, this parser and the crate agree.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::ops::Range;

use safetensors::Dtype;
use serde::Deserialize;
use serde::de::value::StrDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use crate::weights::header_fault::{
    HeaderFault, LENGTH_BYTES, MAX_DIMENSION, MAX_HEADER_BYTES, MAX_METADATA, MAX_RANK, MAX_TENSORS,
};

/// Key of the metadata: free texts.
const METADATA: &str = "__metadata__";
/// Characters of a name that a message shows.
const MAX_NAME_CHARS: usize = 200;

/// A checked header. Its tensors cover the data of the file without hole or overlap.
#[derive(Debug)]
pub struct Header {
    tensors: Vec<TensorEntry>,
    by_name: HashMap<String, usize>,
    data_len: u64,
}

/// One tensor of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorEntry {
    /// Its name.
    pub name: String,
    /// Its element type.
    pub dtype: Dtype,
    /// Its shape; empty for a scalar.
    pub shape: Vec<usize>,
    /// The range of its bytes, counted from the end of the header.
    pub range: Range<u64>,
}

impl TensorEntry {
    /// Returns the number of elements of a row: the last dimension, so a vector is one row. At least 1.
    pub(crate) fn row_len(&self) -> usize {
        match self.shape[..] {
            [] => 1,
            [.., last] => last.max(1),
        }
    }
}

impl Header {
    /// Checks the header length at the beginning of a file of `file_len` bytes.
    ///
    /// # Errors
    /// [`HeaderFault::HeaderLength`].
    pub fn check_length(length: [u8; LENGTH_BYTES as usize], file_len: u64) -> Result<u64, HeaderFault> {
        let claimed = u64::from_le_bytes(length);
        if claimed > MAX_HEADER_BYTES || claimed > file_len.saturating_sub(LENGTH_BYTES) {
            return Err(HeaderFault::HeaderLength { claimed, file: file_len });
        }
        Ok(claimed)
    }

    /// Parses the JSON of a header. `data_len` is the number of bytes after the header.
    ///
    /// # Errors
    /// The first fault.
    pub fn parse(json: &[u8], data_len: u64) -> Result<Self, HeaderFault> {
        if let Some(&first) = json.first()
            && first != b'{'
        {
            // Invalid JSON is reported as such, regardless of its first byte.
            serde_json::from_slice::<serde::de::IgnoredAny>(json).map_err(HeaderFault::Json)?;
            return Err(HeaderFault::FirstByte(first));
        }
        let mut fault = None;
        let mut reader = serde_json::Deserializer::from_slice(json);
        let parsed = HeaderSeed { fault: &mut fault }
            .deserialize(&mut reader)
            .and_then(|tensors| reader.end().map(|()| tensors));
        let mut tensors = match (fault, parsed) {
            (Some(fault), _) => return Err(fault),
            (None, Err(e)) => return Err(HeaderFault::Json(e)),
            (None, Ok(tensors)) => tensors,
        };
        tensors.sort_by_key(|t| (t.range.start, t.range.end));
        let mut expected = 0;
        for tensor in &tensors {
            check_tensor(tensor, expected)?;
            expected = tensor.range.end;
        }
        if expected != data_len {
            return Err(HeaderFault::DataLength { claimed: expected, found: data_len });
        }
        let by_name = tensors.iter().enumerate().map(|(at, t)| (t.name.clone(), at)).collect();
        Ok(Self { tensors, by_name, data_len })
    }

    /// Gets the tensors in the order of their bytes.
    pub fn tensors(&self) -> &[TensorEntry] {
        &self.tensors
    }

    /// Finds a tensor by name.
    pub fn get(&self, name: &str) -> Option<&TensorEntry> {
        self.by_name.get(name).map(|&at| &self.tensors[at])
    }

    /// Gets the number of bytes of all tensors.
    pub fn data_len(&self) -> u64 {
        self.data_len
    }
}

/// Checks a tensor whose bytes must begin at `expected`.
fn check_tensor(tensor: &TensorEntry, expected: u64) -> Result<(), HeaderFault> {
    let name = || shown(&tensor.name);
    let Range { start: begin, end } = tensor.range;
    if begin != expected || end < begin {
        return Err(HeaderFault::Offsets { name: name(), begin, end, expected });
    }
    let dimensions = || tensor.shape.iter().map(|&d| d as u64);
    let bits_of = |smallest: u64| {
        let elements = dimensions().try_fold(1u64, |product, d| product.checked_mul(d.max(smallest)))?;
        elements.checked_mul(tensor.dtype.bitsize() as u64)
    };
    let overflow =
        |hidden_by_zero| HeaderFault::Overflow { name: name(), shape: tensor.shape.clone(), hidden_by_zero };
    let bits = bits_of(0).ok_or_else(|| overflow(false))?;
    if !bits.is_multiple_of(8) {
        return Err(HeaderFault::Bits { name: name(), bits });
    }
    if end - begin != bits / 8 {
        return Err(HeaderFault::Size { name: name(), found: end - begin, needed: bits / 8 });
    }
    if bits_of(1).is_none() {
        return Err(overflow(true));
    }
    if tensor.shape.len() > MAX_RANK {
        return Err(HeaderFault::Rank { name: name(), rank: tensor.shape.len() });
    }
    if let Some(dimension) = dimensions().find(|&d| d >= MAX_DIMENSION) {
        return Err(HeaderFault::Dimension { name: name(), dimension });
    }
    let bytes = tensor.dtype.bitsize() as u64 / 8;
    if bits > 0 && bytes > 1 && !begin.is_multiple_of(bytes) {
        return Err(HeaderFault::Misaligned { name: name(), begin, bytes });
    }
    Ok(())
}

/// Shortens a name for a message. A name in a hostile file can have megabytes.
fn shown(name: &str) -> String {
    match name.char_indices().nth(MAX_NAME_CHARS) {
        Some((cut, _)) => format!("{}…", &name[..cut]),
        None => name.to_owned(),
    }
}

/// Stores a typed fault, because the error of serde can only carry text.
fn note<E: serde::de::Error>(slot: &mut Option<HeaderFault>, fault: HeaderFault) -> E {
    let error = E::custom(&fault);
    slot.get_or_insert(fault);
    error
}

/// Parses the whole header.
struct HeaderSeed<'a> {
    fault: &'a mut Option<HeaderFault>,
}

impl<'de> DeserializeSeed<'de> for HeaderSeed<'_> {
    type Value = Vec<TensorEntry>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for HeaderSeed<'_> {
    type Value = Vec<TensorEntry>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut names, mut tensors) = (HashSet::new(), Vec::new());
        while let Some(name) = map.next_key::<String>()? {
            if !names.insert(name.clone()) {
                return Err(note(self.fault, HeaderFault::DuplicateName(shown(&name))));
            }
            if name == METADATA {
                map.next_value_seed(MetadataSeed { fault: self.fault })?;
                continue;
            }
            if tensors.len() == MAX_TENSORS {
                return Err(note(self.fault, HeaderFault::TooManyTensors));
            }
            tensors.push(map.next_value_seed(TensorSeed { name, fault: self.fault })?);
        }
        Ok(tensors)
    }
}

/// Parses `__metadata__`, an object of strings. Checks it and drops it.
struct MetadataSeed<'a> {
    fault: &'a mut Option<HeaderFault>,
}

impl MetadataSeed<'_> {
    const FORM: &'static str = "an object of strings";
}

impl<'de> DeserializeSeed<'de> for MetadataSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for MetadataSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::FORM)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut keys = HashSet::new();
        while let Some((key, _)) = map.next_entry::<String, String>()? {
            if let Some(twice) = keys.replace(key) {
                return Err(note(self.fault, HeaderFault::DuplicateMetadata(shown(&twice))));
            }
            if keys.len() > MAX_METADATA {
                return Err(note(self.fault, HeaderFault::TooMuchMetadata));
            }
        }
        Ok(())
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        Err(note(self.fault, HeaderFault::Form { name: METADATA.to_owned(), expected: Self::FORM }))
    }
}

/// Parses a tensor: an object with exactly three fields.
struct TensorSeed<'a> {
    name: String,
    fault: &'a mut Option<HeaderFault>,
}

impl<'de> DeserializeSeed<'de> for TensorSeed<'_> {
    type Value = TensorEntry;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<TensorEntry, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for TensorSeed<'_> {
    type Value = TensorEntry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with dtype, shape and data_offsets")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<TensorEntry, A::Error> {
        let (mut dtype, mut shape, mut offsets) = (None, None, None);
        while let Some(field) = map.next_key::<String>()? {
            let (known, twice) = match field.as_str() {
                "dtype" => {
                    let value = map.next_value_seed(DtypeSeed { name: &self.name, fault: self.fault })?;
                    ("dtype", dtype.replace(value).is_some())
                }
                "shape" => ("shape", shape.replace(map.next_value::<Vec<usize>>()?).is_some()),
                "data_offsets" => {
                    ("data_offsets", offsets.replace(map.next_value::<(u64, u64)>()?).is_some())
                }
                _ => {
                    let fault = HeaderFault::UnknownField { name: shown(&self.name), field: shown(&field) };
                    return Err(note(self.fault, fault));
                }
            };
            if twice {
                let fault = HeaderFault::DuplicateField { name: shown(&self.name), field: known };
                return Err(note(self.fault, fault));
            }
        }
        let dtype = dtype.ok_or_else(|| A::Error::missing_field("dtype"))?;
        let shape = shape.ok_or_else(|| A::Error::missing_field("shape"))?;
        let (begin, end) = offsets.ok_or_else(|| A::Error::missing_field("data_offsets"))?;
        Ok(TensorEntry { name: self.name, dtype, shape, range: begin..end })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<TensorEntry, A::Error> {
        Err(note(self.fault, HeaderFault::Form { name: shown(&self.name), expected: "an object" }))
    }
}

/// Parses the element type of a tensor: a string.
struct DtypeSeed<'a> {
    name: &'a str,
    fault: &'a mut Option<HeaderFault>,
}

impl<'de> DeserializeSeed<'de> for DtypeSeed<'_> {
    type Value = Dtype;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Dtype, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for DtypeSeed<'_> {
    type Value = Dtype;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a dtype")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Dtype, E> {
        Dtype::deserialize(StrDeserializer::new(name))
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<Dtype, A::Error> {
        Err(note(
            self.fault,
            HeaderFault::Form { name: shown(self.name), expected: "a tensor whose dtype is a string" },
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(name: &str, fields: &str) -> String {
        format!(r#"{{"{name}":{{{fields}}}}}"#)
    }

    /// Parses a header with a fault. Returns the message, and whether the crate accepts the header.
    fn fault(json: &str, data_len: u64) -> (String, bool) {
        let fault = Header::parse(json.as_bytes(), data_len).unwrap_err();
        (fault.to_string(), fault.is_stricter())
    }

    #[test]
    fn tensors_are_sorted_by_their_offsets() {
        let json = r#"{"__metadata__":{"format":"pt"},
            "b":{"dtype":"F16","shape":[1,2],"data_offsets":[4,8]},
            "a":{"shape":[],"data_offsets":[0,4],"dtype":"F32"}}   "#;
        let header = Header::parse(json.as_bytes(), 8).unwrap();
        let names: Vec<_> = header.tensors().iter().map(|t| t.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(header.get("b").unwrap().shape, [1, 2]);
        assert_eq!(Header::parse(b"{}", 0).unwrap().tensors().len(), 0);
    }

    #[test]
    fn ambiguous_headers_are_refused_although_the_crate_accepts_them() {
        let good = r#""dtype":"F32","shape":[1],"data_offsets":[0,4]"#;
        let twice = |other: &str| {
            format!(r#"{{"w":{{{good}}},"{other}":{{"dtype":"I32","shape":[1],"data_offsets":[0,4]}}}}"#)
        };
        let many = (0..=MAX_TENSORS)
            .map(|i| format!(r#""{i}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#))
            .collect::<Vec<_>>()
            .join(",");
        let texts = (0..=MAX_METADATA).map(|i| format!(r#""{i}":"""#)).collect::<Vec<_>>().join(",");
        let cases = [
            (twice("w"), "tensor name \"w\" is a duplicate"),
            (twice("\\u0077"), "tensor name \"w\" is a duplicate"),
            (format!(" {}", tensor("w", good)), "begins with byte 0x20"),
            (r#"{"__metadata__":{"a":"1","a":"2"}}"#.to_owned(), "key \"a\" is a duplicate"),
            (r#"{"__metadata__":null}"#.to_owned(), "must be an object of strings"),
            (tensor("w", &format!(r#"{good},"note":1"#)), "unknown field \"note\""),
            (r#"{"w":["F32",[1],[0,4]]}"#.to_owned(), "must be an object"),
            (
                tensor("w", r#""dtype":{"F32":null},"shape":[1],"data_offsets":[0,4]"#),
                "whose dtype is a string",
            ),
            (
                tensor("w", r#""dtype":"F32","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,4]"#),
                "9 dimensions",
            ),
            (tensor("w", r#""dtype":"U8","shape":[0,281474976710656],"data_offsets":[0,0]"#), "2^48"),
            (
                tensor(
                    "w",
                    r#""dtype":"U8","shape":[0,9223372036854775808,9223372036854775808],"data_offsets":[0,0]"#,
                ),
                "does not fit 64 bits",
            ),
            (
                r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},
                    "w":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}}"#
                    .to_owned(),
                "not a multiple of the element size, 4 bytes",
            ),
            (format!("{{{many}}}"), "more than 10000 tensors"),
            (format!(r#"{{"__metadata__":{{{texts}}}}}"#), "more than 1000 entries"),
        ];
        for (json, says) in cases {
            let data_len = if json.contains("[1,5]") { 5 } else { 4 };
            let (message, stricter) = fault(&json, data_len);
            assert!(message.contains(says) && stricter, "{message}");
        }
    }

    #[test]
    fn invalid_headers_are_refused_with_the_reason() {
        let cases = [
            ("", "not a valid safetensors header"),
            ("[]", "begins with byte 0x5b"),
            ("plain text", "not a valid safetensors header"),
            ("{} {}", "not a valid safetensors header"),
            (r#"{"w":{"dtype":"F32","shape":[1]}}"#, "not a valid safetensors header"),
            (r#"{"w":{"dtype":"f32","shape":[1],"data_offsets":[0,4]}}"#, "not a valid safetensors header"),
            (
                r#"{"w":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#,
                "field dtype of tensor \"w\" is a duplicate",
            ),
            (r#"{"w":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}"#, "data_offsets 4 to 0"),
            (r#"{"w":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}"#, "ends at 0"),
            (
                r#"{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#,
                "4 bytes in its data_offsets, but 8",
            ),
            (r#"{"w":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,4]}}"#, "fit 64 bits"),
            (r#"{"w":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}}"#, "end at byte 3 of the data"),
        ];
        for (json, says) in cases {
            let (message, _) = fault(json, 4);
            assert!(message.contains(says), "{json}: {message}");
        }
    }

    #[test]
    fn a_long_name_does_not_fill_the_message() {
        let name = "n".repeat(1 << 20);
        let (message, _) = fault(&tensor(&name, r#""dtype":"F32","shape":[1],"data_offsets":[0,8]"#), 8);
        assert!(message.len() < 400, "{}", message.len());
    }
}
