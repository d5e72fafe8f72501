//! One copy of a model for all who open it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

use crate::base::error::{Error, Result};
use crate::files::file_stamp::FolderStamps;
use crate::files::fingerprint::FileHashes;
use crate::files::folder::ModelFolder;
use crate::model::{Model, ModelOptions};

/// Two openings share a model when the folder with links resolved, the options, the stamps of all files and the hash of
/// the manifest are equal. A folder whose files were replaced is another model. The manifest may be a file outside the
/// folder, which has no stamp among them.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    files: Files,
    options: ModelOptions,
}

/// The files of a model. Models with equal ones share the hashes of them.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Files {
    folder: PathBuf,
    pins: Option<FolderStamps>,
    manifest: Option<[u8; 32]>,
}

/// The models that somebody holds or is loading.
static MODELS: LazyLock<Mutex<HashMap<Key, Arc<Slot>>>> = LazyLock::new(Mutex::default);

/// The place of one model. Whoever holds `state` loads; the others wait for it.
#[derive(Debug)]
struct Slot {
    /// Loads that have ended, well or badly.
    ended: AtomicU64,
    state: Mutex<State>,
    hashes: Arc<FileHashes>,
}

#[derive(Debug, Default)]
struct State {
    model: Weak<Model>,
    failure: Option<Arc<Error>>,
}

/// Opens the model in the folder `path`, or gives the one that is open already. It is freed with its last user.
///
/// # Errors
/// Those of [`Model::load`]. All who waited for the same load get its error.
pub fn open(path: &Path, options: &ModelOptions) -> Result<Arc<Model>> {
    let folder = ModelFolder::open_pinned(path, options.manifest.as_deref())?;
    let files = Files {
        folder: folder.real().to_owned(),
        pins: folder.pins().cloned(),
        manifest: folder.manifest_hash(),
    };
    let key = Key { files, options: options.clone() };
    let slot = {
        let mut models = lock(&MODELS);
        models.retain(|_, slot| Arc::strong_count(slot) > 1 || lock(&slot.state).model.strong_count() > 0);
        let same_files = models.iter().find(|(other, _)| other.files == key.files);
        let hashes = same_files.map_or_else(Arc::default, |(_, slot)| Arc::clone(&slot.hashes));
        let slot = || Arc::new(Slot { ended: AtomicU64::new(0), state: Mutex::default(), hashes });
        Arc::clone(models.entry(key).or_insert_with(slot))
    };
    let ended_before = slot.ended.load(Ordering::Acquire);
    let mut state = lock(&slot.state);
    if let Some(model) = state.model.upgrade() {
        log::info!("{}: is open already; its weights are shared", path.display());
        return Ok(model);
    }
    if let Some(failure) = &state.failure
        && slot.ended.load(Ordering::Acquire) != ended_before
    {
        return Err(Error::Shared(Arc::clone(failure)));
    }
    let loaded = Model::load(folder, options);
    let given = match loaded {
        Ok(mut model) => {
            model.share_hashes(Arc::clone(&slot.hashes));
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
    slot.ended.fetch_add(1, Ordering::Release);
    given
}

/// A panic while one of these locks was held left nothing half-changed: a state is replaced as a whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
