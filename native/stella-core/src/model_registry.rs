//! The registry of open models: callers that open the same model share one copy.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

use crate::base::error::{Error, Result};
use crate::files::fingerprint::FileHashes;
use crate::files::folder::ModelFolder;
use crate::files::folder_stamps::FolderStamps;
use crate::model::Model;
use crate::model_options::ModelOptions;

/// The key of a model. Callers share a model if the resolved path of the folder, the options, the file stamps and the hash of
/// the manifest are equal. So a folder whose files were replaced is another model. The hash covers a manifest outside the
/// folder, which has no stamp.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    files: Files,
    options: ModelOptions,
}

/// The files of a model. Models with equal files share the hashes of the files.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Files {
    folder: PathBuf,
    pins: Option<FolderStamps>,
    manifest: Option<[u8; 32]>,
}

/// The models that are open or being loaded.
static MODELS: LazyLock<Mutex<HashMap<Key, Arc<Entry>>>> = LazyLock::new(Mutex::default);

/// The entry of a model. The caller that holds the lock of `state` loads the model; other callers wait for it.
#[derive(Debug)]
struct Entry {
    /// Number of loads that ended, including failed ones.
    ended: AtomicU64,
    state: Mutex<State>,
    hashes: Arc<FileHashes>,
}

#[derive(Debug, Default)]
struct State {
    model: Weak<Model>,
    failure: Option<Arc<Error>>,
}

/// Opens the model in the folder `path`, or returns it if it is open already. The last user frees it.
///
/// # Errors
/// Those of [`Model::load`]. All callers that waited for the same load get its error.
pub fn open(path: &Path, options: &ModelOptions) -> Result<Arc<Model>> {
    let folder = ModelFolder::open_pinned(path, options.manifest.as_deref())?;
    let files = Files {
        folder: folder.real().to_owned(),
        pins: folder.pins().cloned(),
        manifest: folder.manifest_hash(),
    };
    let key = Key { files, options: options.clone() };
    let entry = {
        let mut models = lock(&MODELS);
        models.retain(|_, entry| Arc::strong_count(entry) > 1 || lock(&entry.state).model.strong_count() > 0);
        let same_files = models.iter().find(|(other, _)| other.files == key.files);
        let hashes = same_files.map_or_else(Arc::default, |(_, entry)| Arc::clone(&entry.hashes));
        let entry = || Arc::new(Entry { ended: AtomicU64::new(0), state: Mutex::default(), hashes });
        Arc::clone(models.entry(key).or_insert_with(entry))
    };
    let ended_before = entry.ended.load(Ordering::Acquire);
    let mut state = lock(&entry.state);
    if let Some(model) = state.model.upgrade() {
        log::info!("{}: The model is already open. Its weights are shared.", path.display());
        return Ok(model);
    }
    if let Some(failure) = &state.failure
        && entry.ended.load(Ordering::Acquire) != ended_before
    {
        return Err(Error::Shared(Arc::clone(failure)));
    }
    let loaded = Model::load(folder, options);
    let opened = match loaded {
        Ok(mut model) => {
            model.share_hashes(Arc::clone(&entry.hashes));
            let model = Arc::new(model);
            *state = State { model: Arc::downgrade(&model), failure: None };
            Ok(model)
        }
        Err(error) => {
            let error = Arc::new(error);
            *state = State { model: Weak::new(), failure: Some(Arc::clone(&error)) };
            Err(Error::Shared(error))
        }
    };
    entry.ended.fetch_add(1, Ordering::Release);
    opened
}

/// Locks a mutex. Every change replaces the state as a whole, so a panic while the lock was held cannot leave it half-changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
