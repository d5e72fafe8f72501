//! The sentence-transformers layout of a model folder: the modules after the encoder, and the heads.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::base::error::{Error, Result};
use crate::base::message::shown;
use crate::files::file_names::{ADAPTER_FILE, MODULES_FILE, WEIGHTS_FILE};
use crate::files::folder::{ModelFolder, is_plain_name};
use crate::files::pooling_config::{Pooling, read_pooling};
use crate::files::settings::{Rule, Settings};

/// Prefix of the folder name of a head. `_{dimension}` follows, or nothing in older repositories.
pub const HEAD_PREFIX: &str = "2_Dense";
/// The largest dimension of a head.
const MAX_DIMENSION: usize = 1 << 16;

/// The modules after the encoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The pooling of hidden states.
    pub pooling: Pooling,
    /// Dimension of the head that `modules.json` names, or the hidden size if it names no head.
    pub default_dimension: usize,
    /// The heads, by dimension.
    pub heads: BTreeMap<usize, HeadLayout>,
    /// Whether a Normalize module scales every vector to length 1, regardless of the options of a call.
    pub normalizes: bool,
}

impl Layout {
    /// Returns the head of a dimension.
    ///
    /// # Errors
    /// [`Error::UnknownDimension`].
    pub(crate) fn head(&self, dimension: usize) -> Result<&HeadLayout> {
        self.heads.get(&dimension).ok_or_else(|| Error::UnknownDimension {
            asked: dimension,
            available: self.heads.keys().copied().collect(),
        })
    }

    /// Returns whether a file, by its path inside the model folder, belongs to another head than `head`.
    pub(crate) fn is_of_another_head(&self, file: &str, head: &HeadLayout) -> bool {
        let Some((folder, _)) = file.split_once('/') else { return false };
        let is_folder_of = |head: &HeadLayout| head.dense.as_ref().is_some_and(|dense| dense.name == folder);
        (is_head_name(folder) || self.heads.values().any(is_folder_of)) && !is_folder_of(head)
    }

    /// Returns whether the heads are Dense modules, as those of Stella are.
    pub fn has_dense(&self) -> bool {
        self.heads.values().any(|head| head.dense.is_some())
    }
}

/// A head of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadLayout {
    /// Length of its vectors.
    pub dimension: usize,
    /// Its Dense module; `None` if the pooled state itself is the vector.
    pub dense: Option<DenseFolder>,
}

/// The subfolder of a Dense module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DenseFolder {
    /// Name of the folder inside the model folder.
    pub name: String,
    /// Whether the module has a bias.
    pub bias: bool,
}

impl DenseFolder {
    /// Returns the path of the weights file, relative to the model folder.
    pub fn weights_file(&self) -> String {
        format!("{}/{WEIGHTS_FILE}", self.name)
    }
}

/// The supported modules, in the only order that is supported.
const ORDER: [&str; 4] = ["Transformer", "Pooling", "Dense", "Normalize"];

/// An entry of `modules.json`.
struct Module {
    /// Its index in [`ORDER`].
    kind: usize,
    /// Its subfolder; empty for the model folder itself.
    path: String,
}

impl Layout {
    /// Reads `modules.json` and the configuration of every module and head.
    ///
    /// # Errors
    /// Those of [`ModelFolder::read_json`]; [`Error::Unsupported`] for modules and settings that this library does not
    /// support; [`Error::Inconsistent`] for a width that differs from `hidden_size`.
    pub fn read(folder: &ModelFolder, hidden_size: usize) -> Result<Self> {
        refuse_adapter(folder)?;
        let modules = read_modules(folder)?;
        let find = |kind: &str| modules.iter().find(|module| ORDER[module.kind] == kind);
        let Some(pooling) = find("Pooling") else { return Err(missing(folder, "Pooling")) };
        match find("Transformer") {
            None => return Err(missing(folder, "Transformer")),
            Some(module) if !module.path.is_empty() => {
                return Err(Error::Unsupported {
                    path: folder.path(MODULES_FILE),
                    reason: format!(
                        "The Transformer module has path {:?}. Supported: \"\", the model folder itself.",
                        module.path
                    ),
                });
            }
            Some(_) => {}
        }
        let pooling = read_pooling(folder, plain_name(folder, &pooling.path)?, hidden_size)?;
        if let Some(module) = find("Normalize") {
            let file = format!("{}/config.json", plain_name(folder, &module.path)?);
            let mut settings =
                Settings::read_if_there(folder, &file, "it configures the normalization of vectors")?;
            check_inputs(&mut settings)?;
            settings.refuse_others(&[])?;
        }
        let (default_dimension, heads) = match find("Dense") {
            Some(module) => read_heads(folder, plain_name(folder, &module.path)?, hidden_size)?,
            None => {
                let head = HeadLayout { dimension: hidden_size, dense: None };
                (hidden_size, BTreeMap::from([(hidden_size, head)]))
            }
        };
        Ok(Self { pooling, default_dimension, heads, normalizes: find("Normalize").is_some() })
    }
}

/// Refuses a folder with an adapter, which transformers adds to the weights.
fn refuse_adapter(folder: &ModelFolder) -> Result<()> {
    if !folder.lists(ADAPTER_FILE)? {
        return Ok(());
    }
    Err(Error::Unsupported {
        path: folder.path(ADAPTER_FILE),
        reason: "The file describes an adapter (PEFT, LoRA), which transformers adds to the weights. Adapters are not supported. \
                 Merge it with merge_and_unload and save the model, or remove the file if the model does not need it."
            .to_owned(),
    })
}

fn read_modules(folder: &ModelFolder) -> Result<Vec<Module>> {
    let entries: Vec<Settings> =
        Settings::read_list(folder, MODULES_FILE, "it names the modules and the default head")?;
    let mut modules: Vec<Module> = Vec::new();
    let mut names = BTreeSet::new();
    for mut settings in entries {
        // sentence-transformers replaces the first of two modules with the same name by the second.
        if let Some(name) = settings.text("name")?
            && !names.insert(name.clone())
        {
            return Err(
                settings.invalid(format!("The module name {} is a duplicate.", shown(&Value::from(name))))
            );
        }
        let (class, path) = (settings.text("type")?, settings.text("path")?);
        let (class, path) = (settings.required("type", class)?, settings.required("path", path)?);
        // Only the last part of the class counts: releases keep their modules under different Python paths.
        let name = class.rsplit('.').next().unwrap_or_default();
        let supported = "Transformer, then Pooling, then at most one Dense and at most one Normalize";
        let Some(kind) = ORDER.iter().position(|known| *known == name) else {
            return Err(settings.unsupported("type", &shown(&Value::from(class)), supported));
        };
        if let Some(before) = modules.iter().rev().find(|module| module.kind >= kind) {
            let value = format!("{name} after {}", ORDER[before.kind]);
            return Err(settings.unsupported("type", &value, supported));
        }
        settings.only("kwargs", &["[]"])?;
        // The order of the list counts, not `idx`.
        settings.refuse_others(&[("idx", Rule::NoEffect)])?;
        modules.push(Module { kind, path });
    }
    Ok(modules)
}

fn missing(folder: &ModelFolder, module: &str) -> Error {
    Error::Unsupported {
        path: folder.path(MODULES_FILE),
        reason: format!("The file lists no {module} module. A supported model has one."),
    }
}

/// Refuses a module whose input or output is not the vector of the text.
fn check_inputs(settings: &mut Settings) -> Result<()> {
    settings.only("module_input_name", &["\"sentence_embedding\""])?;
    settings.only("module_output_name", &["\"sentence_embedding\""])
}

/// Returns whether a folder has the name of a head.
fn is_head_name(folder: &str) -> bool {
    folder.strip_prefix(HEAD_PREFIX).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
}

/// Reads the heads. `modules.json` names the default head; the other heads are found by their folder names.
fn read_heads(
    folder: &ModelFolder,
    default_head: &str,
    hidden_size: usize,
) -> Result<(usize, BTreeMap<usize, HeadLayout>)> {
    let default = read_head(folder, default_head, hidden_size)?;
    let default_dimension = default.dimension;
    let mut heads = BTreeMap::from([(default_dimension, default)]);
    for name in folder.subfolders()?.into_iter().rev() {
        if !is_head_name(&name) || name == default_head {
            continue;
        }
        if !folder.lists(&format!("{name}/{WEIGHTS_FILE}"))? {
            log::warn!(
                "{}: The folder has no {WEIGHTS_FILE}, so its head is skipped.",
                folder.path(&name).display()
            );
            continue;
        }
        let head = read_head(folder, &name, hidden_size)?;
        // In descending order, `2_Dense_1024` comes before the older `2_Dense` of the same dimension and wins.
        heads.entry(head.dimension).or_insert(head);
    }
    Ok((default_dimension, heads))
}

/// The names of the identity function in torch. sentence-transformers uses Tanh for a name outside of torch.
const IDENTITIES: [&str; 3] =
    ["torch.nn.modules.linear.Identity", "torch.nn.Identity", "torch.nn.modules.Identity"];

fn read_head(folder: &ModelFolder, name: &str, hidden_size: usize) -> Result<HeadLayout> {
    let mut settings = Settings::read(folder, &format!("{name}/config.json"), "it configures a head")?;
    let inputs = settings.count("in_features", 0, usize::MAX)?;
    let inputs = settings.required("in_features", inputs)?;
    if inputs != hidden_size {
        return Err(settings.inconsistent(format!(
            "in_features is {inputs}, but hidden_size in config.json is {hidden_size}."
        )));
    }
    let dimension = settings.count("out_features", 1, MAX_DIMENSION + 1)?;
    let dimension = settings.required("out_features", dimension)?;
    let bias = settings.flag("bias")?.unwrap_or(true);
    match settings.text("activation_function")? {
        Some(activation) if IDENTITIES.contains(&&*activation) => {}
        found => {
            let value = match found {
                None => "missing, so that torch.nn.Tanh is the default".to_owned(),
                Some(name) => shown(&Value::from(name)),
            };
            return Err(settings.unsupported("activation_function", &value, &IDENTITIES.join(", ")));
        }
    }
    settings.only("use_residual", &["false"])?;
    check_inputs(&mut settings)?;
    settings.refuse_others(&[])?;
    Ok(HeadLayout { dimension, dense: Some(DenseFolder { name: name.to_owned(), bias }) })
}

/// Returns the name of a subfolder from `modules.json`, and refuses a path that leads out of the model folder.
fn plain_name<'a>(folder: &ModelFolder, name: &'a str) -> Result<&'a str> {
    if is_plain_name(name) {
        return Ok(name);
    }
    Err(Error::FileInvalid {
        path: folder.path(MODULES_FILE),
        reason: format!("The path {name:?} is not the name of a folder inside the model folder."),
        source: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::error_code::ErrorCode;
    use std::fs;

    const POOLING: &str = r#"{"pooling_mode_mean_tokens": true, "pooling_mode_cls_token": false}"#;

    struct Fixture(tempfile::TempDir);

    impl Fixture {
        fn new(dense_path: &str) -> Self {
            let fixture = Self(tempfile::tempdir().unwrap());
            fixture.write(
                MODULES_FILE,
                &format!(
                    r#"[{{"path": "", "type": "sentence_transformers.models.Transformer"}},
                        {{"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}},
                        {{"path": "{dense_path}", "type": "sentence_transformers.models.Dense"}}]"#
                ),
            );
            fixture.write("1_Pooling/config.json", POOLING);
            fixture
        }

        fn write(&self, name: &str, text: &str) {
            let path = self.0.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn head(&self, name: &str, dimension: usize) -> &Self {
            self.write(
                &format!("{name}/config.json"),
                &format!(
                    r#"{{"in_features": 64, "out_features": {dimension}, "bias": true,
                         "activation_function": "torch.nn.modules.linear.Identity"}}"#
                ),
            );
            self.write(&format!("{name}/{WEIGHTS_FILE}"), "");
            self
        }

        fn read(&self) -> Result<Layout> {
            Layout::read(&ModelFolder::open(self.0.path(), None).unwrap(), 64)
        }
    }

    #[test]
    fn modules_json_names_the_default_head_and_folder_names_the_others() {
        let fixture = Fixture::new("2_Dense_768");
        fixture.head("2_Dense_256", 256).head("2_Dense_768", 768).head("2_Dense", 768).head("3_Other", 5);
        let layout = fixture.read().unwrap();
        assert_eq!(layout.default_dimension, 768);
        assert_eq!(layout.heads.keys().copied().collect::<Vec<_>>(), [256, 768]);
        assert_eq!(layout.heads[&768].dense.as_ref().unwrap().name, "2_Dense_768");
    }

    #[test]
    fn a_head_with_the_older_folder_name_is_read() {
        let fixture = Fixture::new("2_Dense");
        fixture.head("2_Dense", 1024);
        assert_eq!(fixture.read().unwrap().default_dimension, 1024);
    }

    #[test]
    fn a_missing_default_head_is_named() {
        let error = Fixture::new("2_Dense_1024").read().unwrap_err();
        assert_eq!(error.code(), ErrorCode::ModelFileMissing);
        assert!(error.to_string().contains("2_Dense_1024"));
    }

    #[test]
    fn a_head_without_weights_is_skipped() {
        let fixture = Fixture::new("2_Dense_256");
        fixture.head("2_Dense_256", 256).head("2_Dense_768", 768);
        fs::remove_file(fixture.0.path().join("2_Dense_768").join(WEIGHTS_FILE)).unwrap();
        assert_eq!(fixture.read().unwrap().heads.len(), 1);
    }

    #[test]
    fn a_head_that_is_removed_after_the_folder_was_pinned_is_an_error() {
        for folder_too in [false, true] {
            let fixture = Fixture::new("2_Dense_256");
            fixture.head("2_Dense_256", 256).head("2_Dense_768", 768);
            let folder = ModelFolder::open_pinned(fixture.0.path(), None).unwrap();
            let head = fixture.0.path().join("2_Dense_768");
            fs::remove_file(head.join(WEIGHTS_FILE)).unwrap();
            if folder_too {
                fs::remove_dir_all(head).unwrap();
            }
            let refused = Layout::read(&folder, 64).and_then(|layout| {
                let dense = layout.heads[&768].dense.as_ref().unwrap();
                folder.open_file(&dense.weights_file(), "it is a head's")
            });
            let text = refused.unwrap_err().to_string();
            assert!(text.contains("2_Dense_768") && text.contains("was removed since"), "{text}");
        }
    }

    #[test]
    fn module_paths_outside_the_model_folder_are_refused() {
        for path in ["../2_Dense_256", "/etc", "a/b", "..", "."] {
            let error = Fixture::new(path).read().unwrap_err();
            assert_eq!(error.code(), ErrorCode::ModelFileInvalid, "{path}");
        }
    }

    /// Reads a folder with one head after a change to one of its files.
    fn changed(file: &str, text: &str) -> Result<Layout> {
        let fixture = Fixture::new("2_Dense_256");
        fixture.head("2_Dense_256", 256);
        fixture.write(file, text);
        fixture.read()
    }

    #[test]
    fn an_unsupported_head_is_refused() {
        let identity = r#""activation_function": "torch.nn.modules.linear.Identity""#;
        for (fields, code, says) in [
            (
                r#""activation_function": "torch.nn.Tanh""#.to_owned(),
                ErrorCode::ModelUnsupported,
                "torch.nn.Tanh",
            ),
            (
                r#""bias": true"#.to_owned(),
                ErrorCode::ModelUnsupported,
                "missing, so that torch.nn.Tanh is the default",
            ),
            (
                r#""activation_function": "my.Identity""#.to_owned(),
                ErrorCode::ModelUnsupported,
                "my.Identity",
            ),
            (format!(r#"{identity}, "use_residual": true"#), ErrorCode::ModelUnsupported, "use_residual"),
            (
                format!(r#"{identity}, "module_input_name": "x""#),
                ErrorCode::ModelUnsupported,
                "module_input_name",
            ),
            (
                format!(r#"{identity}, "module_output_name": "x""#),
                ErrorCode::ModelUnsupported,
                "module_output_name",
            ),
            (
                format!(r#"{identity}, "scale": 2"#),
                ErrorCode::ModelUnsupported,
                "Unknown settings, which may change the vectors: scale",
            ),
            (
                format!(r#"{identity}, "in_features": 65"#),
                ErrorCode::ModelFileInvalid,
                "is not the JSON that this library expects",
            ),
        ] {
            let text = format!(r#"{{"in_features": 64, "out_features": 256, {fields}}}"#);
            let error = changed("2_Dense_256/config.json", &text).unwrap_err();
            assert_eq!(error.code(), code, "{error}");
            assert!(error.to_string().contains(says), "{error}");
        }
        let wide = format!(r#"{{"in_features": 65, "out_features": 256, {identity}}}"#);
        assert_eq!(
            changed("2_Dense_256/config.json", &wide).unwrap_err().code(),
            ErrorCode::ModelInconsistent
        );
    }

    #[test]
    fn an_adapter_beside_the_model_is_refused() {
        let error = changed(ADAPTER_FILE, "{}").unwrap_err();
        assert_eq!(error.code(), ErrorCode::ModelUnsupported, "{error}");
        assert!(error.to_string().contains(ADAPTER_FILE) && error.to_string().contains("merge"), "{error}");
    }

    /// Reads modules of these classes. The first is in the model folder, each other one in a subfolder.
    fn modules(classes: &[&str]) -> Result<Layout> {
        let entries = classes.iter().enumerate().map(|(at, class)| {
            let path = ["", "1_Pooling", "2_Dense_256", "3_Normalize"][classes.len().min(4).min(at)];
            let path = if class.ends_with("Dense") { "2_Dense_256" } else { path };
            format!(r#"{{"idx": {at}, "name": "{at}", "path": "{path}", "type": "{class}"}}"#)
        });
        changed(MODULES_FILE, &format!("[{}]", entries.collect::<Vec<_>>().join(",")))
    }

    #[test]
    fn modules_are_recognized_under_any_python_path_but_only_in_one_order() {
        let old = ["sentence_transformers.models.Transformer", "sentence_transformers.models.Pooling"];
        assert!(!modules(&old).unwrap().has_dense());
        assert_eq!(modules(&old).unwrap().default_dimension, 64);
        let new = [
            "sentence_transformers.base.modules.transformer.Transformer",
            "sentence_transformers.sentence_transformer.modules.pooling.Pooling",
            "sentence_transformers.base.modules.dense.Dense",
            "sentence_transformers.base.modules.normalize.Normalize",
        ];
        assert_eq!(modules(&new).unwrap().default_dimension, 256);
        for (classes, says) in [
            (&["Transformer"][..], "no Pooling module"),
            (&["Pooling"], "no Transformer module"),
            (&["Transformer", "Pooling", "Normalize", "Dense"], "Dense after Normalize"),
            (&["Transformer", "Pooling", "Dense", "Dense"], "Dense after Dense"),
            (&["Pooling", "Transformer"], "Transformer after Pooling"),
            (&["Transformer", "Pooling", "models.LayerNorm"], "models.LayerNorm"),
        ] {
            let error = modules(classes).unwrap_err();
            assert_eq!(error.code(), ErrorCode::ModelUnsupported, "{error}");
            assert!(error.to_string().contains(says), "{error}");
        }
    }

    #[test]
    fn every_field_of_a_module_is_checked() {
        let entry = |fields: &str| {
            changed(
                MODULES_FILE,
                &format!(
                    r#"[{{"type": "a.Transformer", {fields}}}, {{"name": "1", "path": "1_Pooling", "type": "Pooling"}}]"#
                ),
            )
        };
        entry(r#""path": "", "idx": 0, "name": "x", "kwargs": []"#).unwrap();
        entry(r#""path": "", "idx": 1"#).unwrap();
        for (fields, says) in [
            (r#""path": "", "name": "1""#, "The module name \"1\" is a duplicate"),
            (r#""path": "0_Transformer""#, "0_Transformer"),
            (r#""path": "", "kwargs": ["task"]"#, "kwargs"),
            (r#""path": "", "revision": "x""#, "revision"),
            (r#""idx": 0"#, "path is missing"),
        ] {
            let error = entry(fields).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
        }
    }

    #[test]
    fn a_normalize_module_with_another_input_is_refused() {
        let normalize = |text: &str| {
            let fixture = Fixture::new("2_Dense_256");
            fixture.head("2_Dense_256", 256);
            fixture.write("3_Normalize/config.json", text);
            let modules = fs::read_to_string(fixture.0.path().join(MODULES_FILE)).unwrap();
            let more =
                modules.replace(r#"Dense"}]"#, r#"Dense"}, {"path": "3_Normalize", "type": "Normalize"}]"#);
            fixture.write(MODULES_FILE, &more);
            fixture.read()
        };
        assert!(normalize(r#"{"module_input_name": "sentence_embedding"}"#).unwrap().normalizes);
        assert!(!Fixture::new("2_Dense_256").head("2_Dense_256", 256).read().unwrap().normalizes);
        for text in [r#"{"module_input_name": "token_embeddings"}"#, r#"{"p": 1}"#] {
            assert_eq!(normalize(text).unwrap_err().code(), ErrorCode::ModelUnsupported, "{text}");
        }
    }
}
