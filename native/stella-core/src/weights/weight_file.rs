//! A safetensors file: opens it and checks its header. The tensors are read by [`weight_reader`](crate::weights::weight_reader).

use std::fs::File;
use std::io::{Read, Seek};
use std::path::PathBuf;

use crate::base::error::{Error, Result};
use crate::base::fault_injection::{Stage, reach};
use crate::files::contents::{BEGINNING, recognize};
use crate::files::file_stamp::FileStamp;
use crate::files::folder::ModelFolder;
use crate::files::hash::Hasher;
use crate::files::manifest::Expected;
use crate::files::open_file::OpenFile;
use crate::weights::header::Header;
use crate::weights::header_fault::{HeaderFault, LENGTH_BYTES};

/// An open safetensors file with a checked header.
#[derive(Debug)]
pub(crate) struct WeightFile {
    pub(crate) path: PathBuf,
    pub(crate) file: File,
    pub(crate) header: Header,
    /// Offset of the data. The offsets in the header count from here.
    pub(crate) data_start: u64,
    /// The entry of the manifest, and the hash of the bytes before the data.
    pub(crate) expected: Option<(Expected, Hasher)>,
    stamp: FileStamp,
}

impl WeightFile {
    /// Opens the file `name`.
    ///
    /// # Errors
    /// Those of [`ModelFolder::open_file`]; [`Error::FileInvalid`] for a damaged header.
    pub(crate) fn open(folder: &ModelFolder, name: &str) -> Result<Self> {
        let OpenFile { path, mut file, len, stamp, expected, .. } =
            folder.open_file(name, "it contains weights of the model")?;
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
                    Some(finding) => finding.to_owned(),
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

    /// Checks that the file did not change since it was opened.
    pub(crate) fn check_unchanged(&self) -> Result<()> {
        match self.file.metadata() {
            Ok(found) if FileStamp::of(&found) == self.stamp => Ok(()),
            Ok(_) => {
                let reason = "The file was changed while it was loaded. Load the model again.".to_owned();
                Err(Error::FileInvalid { path: self.path.clone(), reason, source: None })
            }
            Err(source) => Err(Error::FileUnreadable { path: self.path.clone(), source }),
        }
    }
}

/// An error of reading a header.
enum HeaderError {
    Io(std::io::Error),
    Fault(HeaderFault),
}

/// Reads the header of a safetensors file of `len` bytes. Returns it with the bytes of the file before the data.
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
