//! The weights of an encoder or a head: one or more safetensors files whose headers are checked against the table of tensor
//! names and shapes before any tensor is read or mapped.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io::Cursor;

use safetensors::Dtype;
use serde::Deserialize;

use crate::base::counters::MAPS;
use crate::base::error::{Error, Result};
use crate::base::fault_injection::{Stage, reach};
use crate::files::config::Architecture;
use crate::files::file_names::{INDEX_FILE, WEIGHTS_FILE};
use crate::files::folder::{ModelFolder, is_plain_name};
use crate::files::json::unique_keys;
use crate::weights::header::TensorEntry;
use crate::weights::mapping::Mapping;
use crate::weights::tensor::Tensors;
use crate::weights::tensor_table::{Naming, TensorSpec};
use crate::weights::weight_file::WeightFile;
use crate::weights::weight_reader::{self, Source, TensorSink};

/// The way in which the bytes of weights get into memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LoadMode {
    /// Ordinary reads. If the file is cut or overwritten during the load, the load fails with an error. The hashed bytes are
    /// the bytes that are used.
    Copied,
    /// Tensors are copied from a memory-mapped file. If the file is cut during the load, the process dies (SIGBUS).
    Mapped,
}

/// Options of loading weights.
#[derive(Debug, Clone, Copy)]
pub struct LoadOptions {
    /// The way in which the bytes get into memory.
    pub mode: LoadMode,
    /// Whether weights that are NaN or infinite are refused.
    pub check_finite: bool,
}

/// One or more weights files with checked headers, which together contain the tensors of an encoder or a head.
#[derive(Debug)]
pub struct WeightSet {
    files: Vec<WeightFile>,
    /// The index in `files` of the file that contains a tensor, by tensor name.
    owner: HashMap<String, usize>,
}

impl WeightSet {
    /// Opens the weights of the encoder: `model.safetensors`, or the shards that the index names.
    ///
    /// # Errors
    /// Those of [`ModelFolder::open_file`]; [`Error::FileInvalid`] for a damaged file or index;
    /// [`Error::Inconsistent`] when index and shards contradict each other.
    pub fn open_encoder(folder: &ModelFolder) -> Result<Self> {
        let sharded = !folder.lists(WEIGHTS_FILE)? && folder.lists(INDEX_FILE)?;
        if sharded { Self::open_shards(folder) } else { Self::open_file(folder, WEIGHTS_FILE) }
    }

    /// Opens the weights in the single file `name`.
    ///
    /// # Errors
    /// Those of [`ModelFolder::open_file`]; [`Error::FileInvalid`] for a damaged file.
    pub fn open_file(folder: &ModelFolder, name: &str) -> Result<Self> {
        let file = WeightFile::open(folder, name)?;
        let owner = file.header.tensors().iter().map(|tensor| (tensor.name.clone(), 0)).collect();
        Ok(Self { files: vec![file], owner })
    }

    /// Opens the shards that the index names.
    fn open_shards(folder: &ModelFolder) -> Result<Self> {
        #[derive(Deserialize)]
        struct Index {
            #[serde(deserialize_with = "unique_keys")]
            weight_map: BTreeMap<String, String>,
        }
        let index: Index = folder.read_json(INDEX_FILE, "it lists the shards of the weights")?;
        let index_path = folder.path(INDEX_FILE);
        if index.weight_map.is_empty() {
            return Err(Error::FileInvalid {
                path: index_path,
                reason: "The file lists no tensors.".to_owned(),
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
                let reason =
                    format!("The shard {shard:?} is not the name of a file inside the model folder.");
                return Err(Error::FileInvalid { path: index_path, reason, source: None });
            }
            let file = WeightFile::open(folder, shard)?;
            for tensor in tensors {
                if file.header.get(tensor).is_none() {
                    let reason = format!(
                        "The file assigns the tensor {tensor} to {shard}, which does not contain it."
                    );
                    return Err(Error::Inconsistent { path: index_path, reason });
                }
                owner.insert(tensor.to_owned(), files.len());
            }
            files.push(file);
        }
        Ok(Self { files, owner })
    }

    /// Determines the naming of the tensors of the encoder.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] if the files contain more than one encoder; [`Error::Unsupported`] for an unknown prefix of the
    /// names.
    pub(crate) fn naming(&self, architecture: Architecture) -> Result<Naming> {
        let all = Naming::all(architecture);
        let mut found =
            all.iter().filter_map(|naming| Some((naming, *self.owner.get(&naming.marker_tensor())?)));
        match (found.next(), found.next()) {
            (Some((first, _)), Some((second, at))) => Err(Error::Inconsistent {
                path: self.files[at].path.clone(),
                reason: format!(
                    "The weights contain both {} and {}, so it is unclear which encoder to load. Keep the tensors of one \
                     encoder.",
                    first.marker_tensor(),
                    second.marker_tensor()
                ),
            }),
            (Some((naming, _)), None) => Ok(*naming),
            (None, _) => {
                let has_tensors = |naming: &&Naming| self.owner.keys().any(|name| naming.names_product(name));
                match (self.wrapper_error(all), all.iter().find(has_tensors)) {
                    (Some(error), _) => Err(error),
                    // The check of the tensors then reports the missing ones.
                    (None, found) => Ok(*found.unwrap_or(&all[0])),
                }
            }
        }
    }

    /// Returns the error for tensor names with the prefix of a wrapper around the model, if there are any.
    fn wrapper_error(&self, namings: &[Naming]) -> Option<Error> {
        let (prefix, at) = self.owner.iter().find_map(|(name, &at)| {
            let prefix = namings.iter().find_map(|naming| name.strip_suffix(&naming.marker_tensor()))?;
            prefix.ends_with('.').then_some((prefix, at))
        })?;
        let supported: BTreeSet<String> =
            namings.iter().map(|naming| format!("{:?}", naming.prefix)).collect();
        let supported = supported.into_iter().collect::<Vec<_>>().join(", ");
        Some(Error::Unsupported {
            path: self.files[at].path.clone(),
            reason: format!(
                "The names of tensors begin with {prefix:?}. Supported: {supported}. Save the model without the wrapper around \
                 it, such as that of torch.compile, DataParallel or PEFT."
            ),
        })
    }

    /// Refuses tensors that are not in `specs`.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] that names the first one.
    pub(crate) fn check_no_others(&self, specs: &[TensorSpec]) -> Result<()> {
        let other = self.owner.iter().filter(|(name, _)| specs.iter().all(|spec| spec.name != **name)).min();
        match other {
            Some((name, &at)) => Err(Error::Inconsistent {
                path: self.files[at].path.clone(),
                reason: format!(
                    "The file contains the tensor {name:?}, which the config.json next to it does not describe."
                ),
            }),
            None => Ok(()),
        }
    }

    /// Checks that the files contain the tensors of `specs` with their shapes. Other tensors are allowed.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] that names the first five missing tensors, or the first tensor with a wrong shape or element
    /// type.
    pub fn check(&self, specs: &[TensorSpec]) -> Result<()> {
        let missing: Vec<&str> =
            specs.iter().map(|s| s.name.as_str()).filter(|name| !self.owner.contains_key(*name)).collect();
        if let Some(first) = missing.first() {
            let path = self.files.first().map(|f| f.path.clone()).unwrap_or_default();
            let shown = missing.iter().take(5).copied().collect::<Vec<_>>().join(", ");
            let more = missing.len().saturating_sub(5);
            let reason = match (missing.len(), more) {
                (1, _) => format!("The tensor {first} is missing."),
                (n, 0) => format!("{n} tensors are missing: {shown}."),
                (n, _) => format!("{n} tensors are missing: {shown} and {more} more."),
            };
            return Err(Error::Inconsistent { path, reason });
        }
        for spec in specs {
            let (_, file, info) = self.find(&spec.name)?;
            if info.shape != spec.shape {
                let reason = format!(
                    "The tensor {} has the shape {:?}, but the configuration demands {:?}.",
                    spec.name, info.shape, spec.shape
                );
                return Err(Error::Inconsistent { path: file.path.clone(), reason });
            }
            if !matches!(info.dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16) {
                let reason = format!(
                    "The tensor {} has the dtype {:?}. Supported: F32, F16 and BF16.",
                    spec.name, info.dtype
                );
                return Err(Error::Inconsistent { path: file.path.clone(), reason });
            }
        }
        Ok(())
    }

    /// Returns the size of all files.
    pub fn file_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.data_start + file.header.data_len()).sum()
    }

    /// Returns the memory that pieces take while the tensors of `wanted` are read. [`Self::check`] must have accepted them.
    pub(crate) fn memory_of_pieces(&self, wanted: &[TensorSpec]) -> u64 {
        let tensors = wanted.iter().filter_map(|spec| self.find(&spec.name).ok());
        weight_reader::memory_of_pieces(tensors.map(|(_, _, entry)| entry))
    }

    /// Reads the tensors of `wanted` and passes each of their rows to `sink` once, in the order of the files. [`Self::check`]
    /// must have accepted them.
    ///
    /// # Errors
    /// [`Error::FileUnreadable`]; [`Error::Inconsistent`] for a file whose hash differs from the manifest;
    /// [`Error::FileInvalid`] for a file that changed since its header was read, or that contains a weight that is not
    /// finite; [`Error::OutOfMemory`]; the errors of `sink`. After an error, the rows that `sink` got must not be used.
    pub fn load(&self, options: LoadOptions, wanted: &[TensorSpec], sink: TensorSink<'_>) -> Result<()> {
        let wanted: HashSet<&str> = wanted.iter().map(|spec| spec.name.as_str()).collect();
        // All files are checked and mapped before the first tensor is read.
        let maps = match options.mode {
            LoadMode::Copied => Vec::new(),
            LoadMode::Mapped => self.files.iter().map(map).collect::<Result<_>>()?,
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
            weight_reader::read(file, source, options.check_finite, expected, &wanted, sink)?;
        }
        // Checked at the end, so that no file changed while another one was read.
        self.files.iter().try_for_each(WeightFile::check_unchanged)
    }

    /// Reads the tensors of `wanted` whole, widened to f32.
    ///
    /// # Errors
    /// Those of [`Self::load`].
    pub fn load_whole(&self, options: LoadOptions, wanted: &[TensorSpec]) -> Result<Tensors> {
        let mut tensors = Tensors::default();
        self.load(options, wanted, &mut |entry, first, rows| tensors.write_rows(entry, first, rows))?;
        Ok(tensors)
    }

    fn find(&self, name: &str) -> Result<(usize, &WeightFile, &TensorEntry)> {
        self.owner
            .get(name)
            .and_then(|&at| Some((at, &self.files[at], self.files[at].header.get(name)?)))
            .ok_or_else(|| Error::Internal(format!("The tensor {name} was not checked.")))
    }
}

/// Maps a file. Before that, reads it once to compare its hash with the manifest.
fn map(file: &WeightFile) -> Result<Mapping> {
    reach(Stage::Map);
    if file.expected.is_some() {
        let expected = file.expected.as_ref();
        weight_reader::read(file, &mut &file.file, false, expected, &|_| false, &mut |_, _, _| Ok(()))?;
    }
    let map = Mapping::of(&file.file)
        .map_err(|source| Error::FileUnreadable { path: file.path.clone(), source })?;
    MAPS.add_one();
    file.check_unchanged()?;
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::error_code::ErrorCode;
    use proptest::prelude::*;

    const COPIED: LoadOptions = LoadOptions { mode: LoadMode::Copied, check_finite: true };

    /// Builds the bytes of a safetensors file.
    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
    }

    #[test]
    fn weights_that_are_removed_after_the_folder_was_pinned_are_an_error_although_an_index_exists() {
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
    fn all_element_types_are_widened_exactly() {
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
    fn an_unused_tensor_may_have_elements_of_less_than_a_byte() {
        let header = r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},
                         "odd":{"dtype":"F4","shape":[2],"data_offsets":[4,5]}}"#;
        let bytes = file(header, &[0, 0, 128, 63, 9]);
        assert_eq!(read(&bytes, "a").unwrap(), (vec![1], vec![1.0]));
        let (_dir, set) = open(&bytes);
        assert_eq!(set.unwrap().memory_of_pieces(&[TensorSpec::new("a", &[1])]), 16);
    }

    #[test]
    fn damaged_headers_are_refused() {
        let good = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
        let mut cut = file(good, &[0; 8]);
        cut.pop();
        let overlap = r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},
                          "b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}}"#;
        let cases = [
            (vec![], "0 bytes"),
            (vec![1, 0, 0], "3 bytes"),
            (cut, "offsets in the header end at byte 8"),
            (file(good, &[0; 9]), "has 9 bytes"),
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
    fn tensors_are_checked_by_name_shape_and_element_type() {
        let header = r#"{"a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},
                         "b":{"dtype":"I64","shape":[1],"data_offsets":[8,16]}}"#;
        let (_dir, set) = open(&file(header, &[0; 16]));
        let set = set.unwrap();
        assert!(set.check(&[TensorSpec::new("a", &[1, 2])]).is_ok());
        let cases = [
            (
                TensorSpec::new("a", &[2, 1]),
                "tensor a has the shape [1, 2], but the configuration demands [2, 1]",
            ),
            (TensorSpec::new("b", &[1]), "tensor b has the dtype I64"),
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
        assert!(error.to_string().contains("tensor w has the value NaN at element 1"), "{error}");
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
        assert!(error.to_string().contains("changed while it was loaded"), "{error}");
    }

    #[test]
    fn an_index_that_leads_out_of_the_folder_or_contradicts_a_shard_is_refused() {
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
        fn no_offsets_in_a_header_lead_outside_the_file(
            begin in any::<u64>(), end in any::<u64>(), shape in proptest::collection::vec(any::<u64>(), 0..4)
        ) {
            let header = format!(r#"{{"w":{{"dtype":"F32","shape":{shape:?},"data_offsets":[{begin},{end}]}}}}"#);
            if let Ok((shape, values)) = read(&file(&header, &[0; 16]), "w") {
                prop_assert_eq!(shape.iter().product::<usize>(), values.len());
            }
        }
    }
}
