//! The weights of a model: headers checked against the configuration, then the bytes, read or mapped.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io::{Cursor, Read, Seek};
use std::path::PathBuf;

use safetensors::Dtype;
use serde::Deserialize;

use crate::base::counters::MAPS;
use crate::base::error::{Error, Result};
use crate::base::fault_injection::{Stage, reach};
use crate::files::config::Architecture;
use crate::files::contents::{BEGINNING, recognize};
use crate::files::file_names::{INDEX_FILE, WEIGHTS_FILE};
use crate::files::file_stamp::Stamp;
use crate::files::folder::{ModelFolder, OpenFile, is_plain_name};
use crate::files::hash::Hasher;
use crate::files::json::once_each;
use crate::files::manifest::Expected;
use crate::weights::header::{Header, TensorEntry};
use crate::weights::header_fault::{HeaderFault, LENGTH_BYTES};
use crate::weights::mapping::Mapping;
use crate::weights::tensor::Tensors;
use crate::weights::tensor_table::{Naming, TensorSpec};
use crate::weights::weight_reader::{self, Source, Take};

/// How the bytes of weights come into memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LoadMode {
    /// Ordinary reads. A file that is cut or overwritten meanwhile gives an error and nothing else, and what is
    /// hashed is what is used.
    Copied,
    /// A map, from which tensors are copied. A file that is cut meanwhile kills the process (SIGBUS).
    Mapped,
}

/// How weights are loaded.
#[derive(Debug, Clone, Copy)]
pub struct LoadOptions {
    /// How the bytes come into memory.
    pub mode: LoadMode,
    /// Whether weights that are NaN or infinite are looked for and refused.
    pub check_finite: bool,
}

/// Checked headers of one or more files that together hold a model's tensors. Nothing is mapped or read yet.
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
        let sharded = !folder.lists(WEIGHTS_FILE)? && folder.lists(INDEX_FILE)?;
        if sharded { Self::open_shards(folder) } else { Self::open_file(folder, WEIGHTS_FILE) }
    }

    /// The weights in the one file `name`.
    ///
    /// # Errors
    /// Those of [`ModelFolder::open_file`]; [`Error::FileInvalid`] for a damaged file.
    pub fn open_file(folder: &ModelFolder, name: &str) -> Result<Self> {
        let file = WeightFile::open(folder, name)?;
        let owner = file.header.tensors().iter().map(|tensor| (tensor.name.clone(), 0)).collect();
        Ok(Self { files: vec![file], owner })
    }

    fn open_shards(folder: &ModelFolder) -> Result<Self> {
        #[derive(Deserialize)]
        struct Index {
            #[serde(deserialize_with = "once_each")]
            weight_map: BTreeMap<String, String>,
        }
        let index: Index = folder.read_json(INDEX_FILE, "it lists the shards")?;
        let index_path = folder.path(INDEX_FILE);
        if index.weight_map.is_empty() {
            return Err(Error::FileInvalid {
                path: index_path,
                reason: "lists no tensor".to_owned(),
                source: None,
            });
        }
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
                if file.header.get(tensor).is_none() {
                    let reason = format!("places {tensor} in {shard}, which does not hold it");
                    return Err(Error::Inconsistent { path: index_path, reason });
                }
                owner.insert(tensor.to_owned(), files.len());
            }
            files.push(file);
        }
        Ok(Self { files, owner })
    }

    /// How the encoder's tensors are named.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] for files with the tensors of more than one encoder; [`Error::Unsupported`] for names that begin
    /// with something else.
    pub(crate) fn naming(&self, architecture: Architecture) -> Result<Naming> {
        let all = Naming::all(architecture);
        let mut found = all.iter().filter_map(|naming| Some((naming, *self.owner.get(&naming.mark())?)));
        match (found.next(), found.next()) {
            (Some((first, _)), Some((second, at))) => Err(Error::Inconsistent {
                path: self.files[at].path.clone(),
                reason: format!(
                    "holds both {} and {}, so that nobody can tell which encoder is meant",
                    first.mark(),
                    second.mark()
                ),
            }),
            (Some((naming, _)), None) => Ok(*naming),
            (None, _) => {
                let is_named = |naming: &&Naming| self.owner.keys().any(|name| naming.owns(name));
                match (self.wrapped(all), all.iter().find(is_named)) {
                    (Some(error), _) => Err(error),
                    // The check names the missing tensors.
                    (None, found) => Ok(*found.unwrap_or(&all[0])),
                }
            }
        }
    }

    /// The error for tensors whose names have a wrapper of the model before them.
    fn wrapped(&self, namings: &[Naming]) -> Option<Error> {
        let (prefix, at) = self.owner.iter().find_map(|(name, &at)| {
            let prefix = namings.iter().find_map(|naming| name.strip_suffix(&naming.mark()))?;
            prefix.ends_with('.').then_some((prefix, at))
        })?;
        let supported: BTreeSet<String> =
            namings.iter().map(|naming| format!("{:?}", naming.prefix)).collect();
        let supported = supported.into_iter().collect::<Vec<_>>().join(", ");
        Some(Error::Unsupported {
            path: self.files[at].path.clone(),
            reason: format!(
                "names of tensors begin with {prefix:?}; supported are {supported}. Save the model without the wrapper around \
                 it, such as that of torch.compile, DataParallel or PEFT"
            ),
        })
    }

    /// Refuses tensors beyond those of `specs`.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] that names the first one.
    pub(crate) fn check_no_others(&self, specs: &[TensorSpec]) -> Result<()> {
        let other = self.owner.iter().filter(|(name, _)| specs.iter().all(|spec| spec.name != **name)).min();
        match other {
            Some((name, &at)) => Err(Error::Inconsistent {
                path: self.files[at].path.clone(),
                reason: format!("holds tensor {name:?}, which config.json beside it does not ask for"),
            }),
            None => Ok(()),
        }
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
            let (_, file, info) = self.find(&spec.name)?;
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

    /// Bytes of all files.
    pub fn file_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.data_start + file.header.data_len()).sum()
    }

    /// Bytes of memory that is under way while the tensors of `wanted` are read, which [`Self::check`] has passed.
    pub(crate) fn bytes_under_way(&self, wanted: &[TensorSpec]) -> u64 {
        let tensors = wanted.iter().filter_map(|spec| self.find(&spec.name).ok());
        weight_reader::bytes_under_way(tensors.map(|(_, _, entry)| entry))
    }

    /// Reads the tensors of `wanted`, which [`Self::check`] has passed, and gives `take` their rows in the order in which
    /// the files have them: those of `entry` from the row `first` on. Every row is given once.
    ///
    /// # Errors
    /// [`Error::FileUnreadable`], [`Error::Inconsistent`] for a file of another hash than the manifest says,
    /// [`Error::FileInvalid`] for one that changed since its header was read or that holds a weight that is not
    /// finite, [`Error::OutOfMemory`], and whatever `take` gives. What was taken before the error is not to be used.
    pub fn load(&self, options: LoadOptions, wanted: &[TensorSpec], take: Take<'_>) -> Result<()> {
        let wanted: HashSet<&str> = wanted.iter().map(|spec| spec.name.as_str()).collect();
        // All are proven before the first tensor is taken.
        let maps = match options.mode {
            LoadMode::Copied => Vec::new(),
            LoadMode::Mapped => self.files.iter().map(WeightFile::map).collect::<Result<_>>()?,
        };
        for (at, file) in self.files.iter().enumerate() {
            let wanted = |entry: &TensorEntry| {
                wanted.contains(entry.name.as_str()) && self.owner.get(&entry.name) == Some(&at)
            };
            let (mut bytes, mut map);
            let (source, expected): (&mut dyn Source, _) = match maps.get(at) {
                None => {
                    bytes = &file.file;
                    (&mut bytes, file.expected.as_ref())
                }
                Some(found) => {
                    map = Cursor::new(&**found);
                    (&mut map, None)
                }
            };
            weight_reader::read(file, source, options.check_finite, expected, &wanted, take)?;
        }
        // Only now, so that none of them changed while any of them was read.
        self.files.iter().try_for_each(WeightFile::still_the_same)
    }

    /// Reads the tensors of `wanted` whole, widened to 32 bits.
    ///
    /// # Errors
    /// Those of [`Self::load`].
    pub fn load_whole(&self, options: LoadOptions, wanted: &[TensorSpec]) -> Result<Tensors> {
        let mut tensors = Tensors::default();
        self.load(options, wanted, &mut |entry, first, rows| tensors.put(entry, first, rows))?;
        Ok(tensors)
    }

    fn find(&self, name: &str) -> Result<(usize, &WeightFile, &TensorEntry)> {
        self.owner
            .get(name)
            .and_then(|&at| Some((at, &self.files[at], self.files[at].header.get(name)?)))
            .ok_or_else(|| Error::Internal(format!("tensor {name} was never checked")))
    }
}

/// One safetensors file whose header has been checked.
#[derive(Debug)]
pub(crate) struct WeightFile {
    pub(crate) path: PathBuf,
    pub(crate) file: File,
    pub(crate) header: Header,
    /// Where the data begins; offsets in the header count from here.
    pub(crate) data_start: u64,
    /// What the manifest says, and the hash of the bytes before the data.
    pub(crate) expected: Option<(Expected, Hasher)>,
    stamp: Stamp,
}

impl WeightFile {
    fn open(folder: &ModelFolder, name: &str) -> Result<Self> {
        let OpenFile { path, mut file, len, stamp, expected, .. } =
            folder.open_file(name, "it holds weights of the model")?;
        match read_header(&mut file, len) {
            Ok((header, bytes)) => Ok(Self {
                header,
                data_start: bytes.len() as u64,
                expected: expected.map(|expected| {
                    let mut hash = expected.hasher();
                    hash.update(&bytes);
                    (expected, hash)
                }),
                path,
                file,
                stamp,
            }),
            Err(HeaderError::Io(source)) => Err(Error::FileUnreadable { path, source }),
            Err(HeaderError::Fault(fault)) => {
                let mut beginning = Vec::new();
                let read =
                    file.rewind().and_then(|()| file.take(BEGINNING as u64).read_to_end(&mut beginning));
                let reason = match read.ok().and_then(|_| recognize(&beginning)) {
                    Some(what) => what.to_owned(),
                    None => fault.to_string(),
                };
                let source = match fault {
                    HeaderFault::Json(e) => Some(Box::new(e).into()),
                    _ => None,
                };
                Err(Error::FileInvalid { path, reason, source })
            }
        }
    }

    /// Maps the file, after its hash has been compared by ordinary reads.
    fn map(&self) -> Result<Mapping> {
        reach(Stage::Map);
        if self.expected.is_some() {
            let expected = self.expected.as_ref();
            weight_reader::read(self, &mut &self.file, false, expected, &|_| false, &mut |_, _, _| Ok(()))?;
        }
        let map = Mapping::of(&self.file)
            .map_err(|source| Error::FileUnreadable { path: self.path.clone(), source })?;
        MAPS.add_one();
        self.still_the_same()?;
        Ok(map)
    }

    fn still_the_same(&self) -> Result<()> {
        match self.file.metadata() {
            Ok(found) if Stamp::of(&found) == self.stamp => Ok(()),
            Ok(_) => Err(self.changed()),
            Err(source) => Err(Error::FileUnreadable { path: self.path.clone(), source }),
        }
    }

    /// The error for a file that changed under us.
    pub(crate) fn changed(&self) -> Error {
        let reason = "was changed while it was being loaded. Load the model anew.".to_owned();
        Error::FileInvalid { path: self.path.clone(), reason, source: None }
    }
}

enum HeaderError {
    Io(std::io::Error),
    Fault(HeaderFault),
}

/// Reads the header of a safetensors file of `len` bytes by ordinary reads. Gives also the bytes of the file up to
/// its data.
fn read_header(file: &mut File, len: u64) -> std::result::Result<(Header, Vec<u8>), HeaderError> {
    reach(Stage::Header);
    if len < LENGTH_BYTES {
        return Err(HeaderError::Fault(HeaderFault::NoLength(len)));
    }
    let mut length = [0; LENGTH_BYTES as usize];
    file.read_exact(&mut length).map_err(HeaderError::Io)?;
    let header_len = Header::check_length(length, len).map_err(HeaderError::Fault)?;
    let mut bytes = length.to_vec();
    bytes.resize(length.len() + header_len as usize, 0);
    file.read_exact(&mut bytes[length.len()..]).map_err(HeaderError::Io)?;
    let header =
        Header::parse(&bytes[length.len()..], len - bytes.len() as u64).map_err(HeaderError::Fault)?;
    Ok((header, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorCode;
    use proptest::prelude::*;

    const COPIED: LoadOptions = LoadOptions { mode: LoadMode::Copied, check_finite: true };

    /// The bytes of a safetensors file.
    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
    }

    #[test]
    fn weights_that_are_removed_after_the_pin_are_not_looked_for_in_shards() {
        let dir = tempfile::tempdir().unwrap();
        let index = r#"{"weight_map": {"a": "shard.safetensors"}}"#;
        for (name, text) in [(WEIGHTS_FILE, ""), (INDEX_FILE, index)] {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let folder = ModelFolder::open_pinned(dir.path(), None).unwrap();
        std::fs::remove_file(dir.path().join(WEIGHTS_FILE)).unwrap();
        let text = WeightSet::open_encoder(&folder).unwrap_err().to_string();
        assert!(text.contains(WEIGHTS_FILE) && text.contains("was removed since"), "{text}");
    }

    fn open(bytes: &[u8]) -> (tempfile::TempDir, Result<WeightSet>) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(WEIGHTS_FILE), bytes).unwrap();
        let set = WeightSet::open_encoder(&ModelFolder::open(dir.path(), None).unwrap());
        (dir, set)
    }

    fn read(bytes: &[u8], name: &str) -> Result<(Vec<usize>, Vec<f32>)> {
        let (_dir, set) = open(bytes);
        set?.load_whole(COPIED, &[TensorSpec::new(name, &[])])?.take(name)
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
    fn a_tensor_that_is_not_wanted_may_be_of_less_than_a_byte() {
        let header = r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},
                         "odd":{"dtype":"F4","shape":[2],"data_offsets":[4,5]}}"#;
        let bytes = file(header, &[0, 0, 128, 63, 9]);
        assert_eq!(read(&bytes, "a").unwrap(), (vec![1], vec![1.0]));
        let (_dir, set) = open(&bytes);
        assert_eq!(set.unwrap().bytes_under_way(&[TensorSpec::new("a", &[1])]), 16);
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
            (file("[]", &[]), "begins with byte"),
            (file(overlap, &[0; 6]), "without hole or overlap"),
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
            .load(COPIED, &[TensorSpec::new("w", &[2])], &mut |_, _, _| {
                std::thread::sleep(std::time::Duration::from_millis(20));
                std::fs::write(dir.path().join(WEIGHTS_FILE), [&bytes[..], &[0]].concat()).unwrap();
                Ok(())
            })
            .unwrap_err();
        assert!(error.to_string().contains("changed while it was being loaded"), "{error}");
    }

    #[test]
    fn an_index_may_not_lead_out_of_the_folder_or_lie() {
        let dir = tempfile::tempdir().unwrap();
        let folder = ModelFolder::open(dir.path(), None).unwrap();
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
