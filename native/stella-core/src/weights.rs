//! Safetensors files: header by ordinary reads, checked against the configuration, and only then mapped.

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, Metadata as FileMetadata};
use std::io::Read;
use std::path::PathBuf;
use std::time::SystemTime;

use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use serde::Deserialize;

use crate::error::{Error, Result};
use crate::folder::{ModelFolder, OpenFile, is_plain_name};
use crate::layout::WEIGHTS_FILE;
use crate::mapping::Mapping;
use crate::specs::TensorSpec;

/// Name of the file that lists the shards of a model whose weights are in several files.
pub const INDEX_FILE: &str = "model.safetensors.index.json";
/// The largest header that is read. The 400M model has one of 31 KB.
const MAX_HEADER_BYTES: u64 = 16 << 20;
/// Bytes of a safetensors file before its header.
const LENGTH_BYTES: u64 = 8;

/// Checked headers of one or more files that together hold a model's tensors. Nothing is mapped yet.
#[derive(Debug)]
pub struct WeightSet {
    files: Vec<WeightFile>,
    /// Which of `files` holds a tensor.
    owner: HashMap<String, usize>,
}

impl WeightSet {
    /// The encoder's weights: `model.safetensors`, or the shards that the index names.
    ///
    /// # Errors
    /// Those of [`ModelFolder::open_file`]; [`Error::FileInvalid`] for a damaged file or index;
    /// [`Error::Inconsistent`] when index and shards contradict each other.
    pub fn open_encoder(folder: &ModelFolder) -> Result<Self> {
        let sharded = !folder.path(WEIGHTS_FILE).exists() && folder.has(INDEX_FILE);
        if sharded { Self::open_shards(folder) } else { Self::open_file(folder, WEIGHTS_FILE) }
    }

    /// The weights in the one file `name`.
    ///
    /// # Errors
    /// Those of [`ModelFolder::open_file`]; [`Error::FileInvalid`] for a damaged file.
    pub fn open_file(folder: &ModelFolder, name: &str) -> Result<Self> {
        let file = WeightFile::open(folder, name)?;
        let owner = file.header.offset_keys().into_iter().map(|tensor| (tensor, 0)).collect();
        Ok(Self { files: vec![file], owner })
    }

    fn open_shards(folder: &ModelFolder) -> Result<Self> {
        #[derive(Deserialize)]
        struct Index {
            weight_map: BTreeMap<String, String>,
        }
        let index: Index = folder.read_json(INDEX_FILE, "it lists the shards")?;
        let index_path = folder.path(INDEX_FILE);
        let mut by_shard: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (tensor, shard) in &index.weight_map {
            by_shard.entry(shard).or_default().push(tensor);
        }
        let (mut files, mut owner) = (Vec::new(), HashMap::new());
        for (shard, tensors) in by_shard {
            if !is_plain_name(shard) {
                let reason = format!("shard {shard:?} is not the name of a file inside the model folder");
                return Err(Error::FileInvalid { path: index_path, reason, source: None });
            }
            let file = WeightFile::open(folder, shard)?;
            for tensor in tensors {
                if file.header.info(tensor).is_none() {
                    let reason = format!("places {tensor} in {shard}, which does not hold it");
                    return Err(Error::Inconsistent { path: index_path, reason });
                }
                owner.insert(tensor.to_owned(), files.len());
            }
            files.push(file);
        }
        Ok(Self { files, owner })
    }

    /// Compares the headers with what the configuration asks for. Tensors beyond that are allowed.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] that names every missing tensor up to five, or the first of a wrong shape
    /// or type.
    pub fn check(&self, specs: &[TensorSpec]) -> Result<()> {
        let missing: Vec<&str> =
            specs.iter().map(|s| s.name.as_str()).filter(|name| !self.owner.contains_key(*name)).collect();
        if let Some(first) = missing.first() {
            let path = self.files.first().map(|f| f.path.clone()).unwrap_or_default();
            let shown = missing.iter().take(5).copied().collect::<Vec<_>>().join(", ");
            let more = missing.len().saturating_sub(5);
            let reason = match (missing.len(), more) {
                (1, _) => format!("tensor {first} is missing"),
                (n, 0) => format!("{n} tensors are missing: {shown}"),
                (n, _) => format!("{n} tensors are missing: {shown} and {more} more"),
            };
            return Err(Error::Inconsistent { path, reason });
        }
        for spec in specs {
            let (file, info) = self.find(&spec.name)?;
            if info.shape != spec.shape {
                let reason = format!(
                    "tensor {} has shape {:?}, the configuration asks for shape {:?}",
                    spec.name, info.shape, spec.shape
                );
                return Err(Error::Inconsistent { path: file.path.clone(), reason });
            }
            if !matches!(info.dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16) {
                let reason = format!(
                    "tensor {} has dtype {:?}; supported are F32, F16 and BF16",
                    spec.name, info.dtype
                );
                return Err(Error::Inconsistent { path: file.path.clone(), reason });
            }
        }
        Ok(())
    }

    /// Maps the files, lets `build` copy out of them, and takes the maps down again.
    ///
    /// # Errors
    /// [`Error::FileUnreadable`] when a file cannot be mapped, [`Error::FileInvalid`] when one changed
    /// since its header was read, and whatever `build` gives.
    pub fn load<T>(&self, build: impl FnOnce(&MappedWeights<'_>) -> Result<T>) -> Result<T> {
        let maps = self
            .files
            .iter()
            .map(|f| {
                let map = Mapping::of(&f.file)
                    .map_err(|source| Error::FileUnreadable { path: f.path.clone(), source })?;
                f.still_the_same()?;
                Ok(map)
            })
            .collect::<Result<Vec<_>>>()?;
        let built = build(&MappedWeights { set: self, maps })?;
        self.files.iter().try_for_each(WeightFile::still_the_same)?;
        Ok(built)
    }

    fn find(&self, name: &str) -> Result<(&WeightFile, &TensorInfo)> {
        self.owner
            .get(name)
            .and_then(|&at| Some((&self.files[at], self.files[at].header.info(name)?)))
            .ok_or_else(|| Error::Internal(format!("tensor {name} was never checked")))
    }
}

/// Weights whose files are mapped, for as long as they are being copied.
#[derive(Debug)]
pub struct MappedWeights<'a> {
    set: &'a WeightSet,
    maps: Vec<Mapping>,
}

impl MappedWeights<'_> {
    /// Whether there is a tensor of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.set.owner.contains_key(name)
    }

    /// Copies a tensor, widened to 32 bits: its shape and its elements in row-major order.
    ///
    /// # Errors
    /// [`Error::FileInvalid`] when an element is not finite.
    pub fn tensor(&self, name: &str) -> Result<(Vec<usize>, Vec<f32>)> {
        let (file, info) = self.set.find(name)?;
        let map = &self.maps[self.set.owner[name]];
        let start = file.data_start + info.data_offsets.0;
        let bytes = map
            .get(start..file.data_start + info.data_offsets.1)
            .ok_or_else(|| Error::Internal(format!("tensor {name} lies outside its file")))?;
        let values = widen(bytes, info.dtype)?;
        if let Some(at) = values.iter().position(|v| !v.is_finite()) {
            let reason =
                format!("tensor {name} holds {} at element {at}; weights must be finite", values[at]);
            return Err(Error::FileInvalid { path: file.path.clone(), reason, source: None });
        }
        Ok((info.shape.clone(), values))
    }
}

/// Little-endian numbers of a file as `f32`. Exact: every F16 and BF16 value is an F32 value.
fn widen(bytes: &[u8], dtype: Dtype) -> Result<Vec<f32>> {
    let bits = || bytes.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect::<Vec<u16>>();
    match dtype {
        Dtype::F32 => {
            Ok(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
        }
        Dtype::F16 => Ok(bits().reinterpret_cast::<half::f16>().to_f32_vec()),
        Dtype::BF16 => Ok(bits().reinterpret_cast::<half::bf16>().to_f32_vec()),
        other => Err(Error::Internal(format!("dtype {other:?} was never checked"))),
    }
}

/// One safetensors file whose header has been checked.
#[derive(Debug)]
struct WeightFile {
    path: PathBuf,
    file: File,
    header: Metadata,
    /// Where the data begins; offsets in the header count from here.
    data_start: usize,
    stamp: Stamp,
}

impl WeightFile {
    fn open(folder: &ModelFolder, name: &str) -> Result<Self> {
        let OpenFile { path, mut file, len } = folder.open_file(name, "it holds weights of the model")?;
        let stamp =
            Stamp::of(&file).map_err(|source| Error::FileUnreadable { path: path.clone(), source })?;
        match read_header(&mut file, len) {
            Ok((header, data_start)) => Ok(Self { path, file, header, data_start, stamp }),
            Err(HeaderError::Io(source)) => Err(Error::FileUnreadable { path, source }),
            Err(HeaderError::Invalid(reason)) => Err(Error::FileInvalid { path, reason, source: None }),
            Err(HeaderError::Json(e)) => Err(Error::FileInvalid {
                path,
                reason: "the header is not a valid safetensors header".to_owned(),
                source: Some(Box::new(e)),
            }),
        }
    }

    fn still_the_same(&self) -> Result<()> {
        match Stamp::of(&self.file) {
            Ok(now) if now == self.stamp => Ok(()),
            Ok(_) => Err(Error::FileInvalid {
                path: self.path.clone(),
                reason: "was changed while it was being loaded".to_owned(),
                source: None,
            }),
            Err(source) => Err(Error::FileUnreadable { path: self.path.clone(), source }),
        }
    }
}

enum HeaderError {
    Io(std::io::Error),
    Invalid(String),
    Json(serde_json::Error),
}

/// Reads the header of a safetensors file of `len` bytes and where its data begins.
///
/// The crate's own parser checks that the tensors tile the data without hole or overlap; here it is held
/// against the length of the file, which the crate does only for a file that is in memory already.
fn read_header(file: &mut File, len: u64) -> Result<(Metadata, usize), HeaderError> {
    if len < LENGTH_BYTES {
        return Err(HeaderError::Invalid(format!("has {len} bytes; a safetensors file begins with 8")));
    }
    let mut length = [0; LENGTH_BYTES as usize];
    file.read_exact(&mut length).map_err(HeaderError::Io)?;
    let header_len = u64::from_le_bytes(length);
    if header_len > MAX_HEADER_BYTES || header_len > len - LENGTH_BYTES {
        return Err(HeaderError::Invalid(format!(
            "claims a header of {header_len} bytes; the file has {len} and a header at most {MAX_HEADER_BYTES}"
        )));
    }
    let mut header = vec![0; header_len as usize];
    file.read_exact(&mut header).map_err(HeaderError::Io)?;
    let header: Metadata = serde_json::from_slice(&header).map_err(HeaderError::Json)?;
    let data_start = LENGTH_BYTES + header_len;
    let data = header.data_len() as u64;
    if data != len - data_start {
        return Err(HeaderError::Invalid(format!(
            "offsets in the header end at byte {data} of the data, but the file holds {} bytes of data",
            len - data_start
        )));
    }
    Ok((header, data_start as usize))
}

/// What tells that a file is still the file whose header was checked. It notices accidents, not forgers.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    len: u64,
    modified: Option<SystemTime>,
    changed: Option<(i64, i64)>,
}

impl Stamp {
    fn of(file: &File) -> std::io::Result<Self> {
        let found = file.metadata()?;
        Ok(Self { len: found.len(), modified: found.modified().ok(), changed: changed(&found) })
    }
}

#[cfg(unix)]
fn changed(found: &FileMetadata) -> Option<(i64, i64)> {
    use std::os::unix::fs::MetadataExt;
    Some((found.ctime(), found.ctime_nsec()))
}

#[cfg(not(unix))]
fn changed(_: &FileMetadata) -> Option<(i64, i64)> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorCode;
    use proptest::prelude::*;

    /// The bytes of a safetensors file.
    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
    }

    fn open(bytes: &[u8]) -> (tempfile::TempDir, Result<WeightSet>) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(WEIGHTS_FILE), bytes).unwrap();
        let set = WeightSet::open_encoder(&ModelFolder::open(dir.path()).unwrap());
        (dir, set)
    }

    fn read(bytes: &[u8], name: &str) -> Result<(Vec<usize>, Vec<f32>)> {
        let (_dir, set) = open(bytes);
        set?.load(|maps| maps.tensor(name))
    }

    #[test]
    fn all_three_types_widen_exactly() {
        let f16 = half::f16::from_f32(-1.5).to_le_bytes();
        let bf16 = half::bf16::from_f32(3.0e38).to_le_bytes();
        let data = [&1.25f32.to_le_bytes()[..], &f16, &bf16].concat();
        let bytes = file(
            r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},
                "b":{"dtype":"F16","shape":[1,1],"data_offsets":[4,6]},
                "c":{"dtype":"BF16","shape":[],"data_offsets":[6,8]}}"#,
            &data,
        );
        assert_eq!(read(&bytes, "a").unwrap(), (vec![1], vec![1.25]));
        assert_eq!(read(&bytes, "b").unwrap(), (vec![1, 1], vec![-1.5]));
        assert_eq!(read(&bytes, "c").unwrap(), (vec![], vec![half::bf16::from_f32(3.0e38).to_f32()]));
    }

    #[test]
    fn damaged_headers_are_refused_before_anything_is_mapped() {
        let good = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
        let mut cut = file(good, &[0; 8]);
        cut.pop();
        let overlap = r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},
                          "b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}}"#;
        let cases = [
            (vec![], "0 bytes"),
            (vec![1, 0, 0], "3 bytes"),
            (cut, "offsets in the header end at byte 8"),
            (file(good, &[0; 9]), "holds 9 bytes"),
            (u64::MAX.to_le_bytes().to_vec(), "header of 18446744073709551615"),
            (file("", &[]), "not a valid safetensors header"),
            (file("[]", &[]), "not a valid safetensors header"),
            (file(overlap, &[0; 6]), "not a valid safetensors header"),
        ];
        for (bytes, says) in cases {
            let error = open(&bytes).1.unwrap_err();
            assert_eq!(error.code(), ErrorCode::ModelFileInvalid, "{error}");
            assert!(error.to_string().contains(says) && error.to_string().contains(WEIGHTS_FILE), "{error}");
        }
    }

    #[test]
    fn what_the_configuration_asks_for_is_compared_by_name_shape_and_type() {
        let header = r#"{"a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},
                         "b":{"dtype":"I64","shape":[1],"data_offsets":[8,16]}}"#;
        let (_dir, set) = open(&file(header, &[0; 16]));
        let set = set.unwrap();
        assert!(set.check(&[TensorSpec::new("a", &[1, 2])]).is_ok());
        let cases = [
            (
                TensorSpec::new("a", &[2, 1]),
                "tensor a has shape [1, 2], the configuration asks for shape [2, 1]",
            ),
            (TensorSpec::new("b", &[1]), "tensor b has dtype I64"),
            (TensorSpec::new("c", &[1]), "tensor c is missing"),
        ];
        for (spec, says) in cases {
            let error = set.check(&[spec]).unwrap_err();
            assert_eq!(error.code(), ErrorCode::ModelInconsistent);
            assert!(error.to_string().contains(says), "{error}");
        }
        let many: Vec<_> = (0..7).map(|i| TensorSpec::new(format!("x{i}"), &[1])).collect();
        let error = set.check(&many).unwrap_err().to_string();
        assert!(error.contains("7 tensors are missing: x0, x1, x2, x3, x4 and 2 more"), "{error}");
    }

    #[test]
    fn a_weight_that_is_not_finite_is_named() {
        let header = r#"{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
        let data = [1.0f32.to_le_bytes(), f32::NAN.to_le_bytes()].concat();
        let error = read(&file(header, &data), "w").unwrap_err();
        assert!(error.to_string().contains("tensor w holds NaN at element 1"), "{error}");
    }

    #[test]
    fn a_file_that_changes_during_the_load_is_refused() {
        let header = r#"{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
        let bytes = file(header, &[0; 8]);
        let (dir, set) = open(&bytes);
        let error = set
            .unwrap()
            .load(|maps| {
                let copied = maps.tensor("w")?;
                std::thread::sleep(std::time::Duration::from_millis(20));
                std::fs::write(dir.path().join(WEIGHTS_FILE), [&bytes[..], &[0]].concat()).unwrap();
                Ok(copied)
            })
            .unwrap_err();
        assert!(error.to_string().contains("changed while it was being loaded"), "{error}");
    }

    #[test]
    fn an_index_may_not_lead_out_of_the_folder_or_lie() {
        let dir = tempfile::tempdir().unwrap();
        let folder = ModelFolder::open(dir.path()).unwrap();
        let shard = file(r#"{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}"#, &[]);
        std::fs::write(dir.path().join("s.safetensors"), shard).unwrap();
        let index = |map: &str| {
            std::fs::write(dir.path().join(INDEX_FILE), format!(r#"{{"weight_map": {map}}}"#)).unwrap();
            WeightSet::open_encoder(&folder)
        };
        assert!(index(r#"{"a": "s.safetensors"}"#).is_ok());
        assert_eq!(index(r#"{"a": "../s.safetensors"}"#).unwrap_err().code(), ErrorCode::ModelFileInvalid);
        assert_eq!(index(r#"{"a": "t.safetensors"}"#).unwrap_err().code(), ErrorCode::ModelFileMissing);
        assert_eq!(index(r#"{"b": "s.safetensors"}"#).unwrap_err().code(), ErrorCode::ModelInconsistent);
    }

    proptest! {
        #[test]
        fn no_header_crashes_the_reader(header in ".{0,64}", data in proptest::collection::vec(any::<u8>(), 0..32)) {
            let _ = open(&file(&header, &data)).1;
        }

        #[test]
        fn a_header_of_numbers_never_reads_outside_the_file(
            begin in any::<u64>(), end in any::<u64>(), shape in proptest::collection::vec(any::<u64>(), 0..4)
        ) {
            let header = format!(r#"{{"w":{{"dtype":"F32","shape":{shape:?},"data_offsets":[{begin},{end}]}}}}"#);
            if let Ok((shape, values)) = read(&file(&header, &[0; 16]), "w") {
                prop_assert_eq!(shape.iter().product::<usize>(), values.len());
            }
        }
    }
}
