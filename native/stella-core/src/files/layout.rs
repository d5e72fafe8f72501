//! The sentence-transformers layout: which modules follow the encoder, and which heads there are.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::base::error::{Error, Result};
use crate::files::file_names::{ADAPTER_FILE, MODULES_FILE, WEIGHTS_FILE};
use crate::files::folder::{ModelFolder, is_plain_name};
use crate::files::settings::{Rule, Settings, shown};
use crate::output::pooling::{Pooling, PoolingMode};

/// How the name of a folder with a head begins; `_{dimension}` follows, or nothing in older repositories.
pub const HEAD_PREFIX: &str = "2_Dense";
/// Numbers of a vector, at most.
const MAX_DIMENSION: usize = 1 << 16;

/// What follows the encoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// How the states of a text's tokens become one vector.
    pub pooling: Pooling,
    /// Dimension of the head that `modules.json` names, or the width of a hidden state where it names none.
    pub default_dimension: usize,
    /// The heads, by dimension.
    pub heads: BTreeMap<usize, HeadLayout>,
    /// Whether a Normalize module scales every vector to length 1, whatever a caller asks for.
    pub normalizes: bool,
}

impl Layout {
    /// Whether a file, by its path inside the model folder, is part of a head, and not of this one.
    pub(crate) fn is_of_another_head(&self, file: &str, head: &HeadLayout) -> bool {
        let Some((folder, _)) = file.split_once('/') else { return false };
        let is = |head: &HeadLayout| head.dense.as_ref().is_some_and(|dense| dense.name == folder);
        (is_head_name(folder) || self.heads.values().any(is)) && !is(head)
    }

    /// Whether vectors come from Dense modules, as Stella's do.
    pub fn has_dense(&self) -> bool {
        self.heads.values().any(|head| head.dense.is_some())
    }
}

/// A head of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadLayout {
    /// Length of the vectors that it gives.
    pub dimension: usize,
    /// The Dense module that makes them; none where the pooled state itself is the vector.
    pub dense: Option<DenseFolder>,
}

/// A folder that holds a Dense module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DenseFolder {
    /// Name of the folder inside the model folder.
    pub name: String,
    /// Whether it adds a bias.
    pub bias: bool,
}

impl DenseFolder {
    /// The weights file, relative to the model folder.
    pub fn weights_file(&self) -> String {
        format!("{}/{WEIGHTS_FILE}", self.name)
    }
}

/// The modules that are computed, in the order in which they may stand.
const ORDER: [&str; 4] = ["Transformer", "Pooling", "Dense", "Normalize"];

/// An entry of `modules.json`.
struct Module {
    /// Its place in [`ORDER`].
    kind: usize,
    /// Its folder.
    path: String,
}

impl Layout {
    /// Reads `modules.json` and the configuration of every module and head.
    ///
    /// # Errors
    /// Those of [`ModelFolder::read_json`]; [`Error::Unsupported`] for modules and settings that are not computed here;
    /// [`Error::Inconsistent`] for a width that does not fit `hidden_size`.
    pub fn read(folder: &ModelFolder, hidden_size: usize) -> Result<Self> {
        refuse_adapter(folder)?;
        let modules = read_modules(folder)?;
        let of = |kind: &str| modules.iter().find(|module| ORDER[module.kind] == kind);
        let Some(pooling) = of("Pooling") else { return Err(missing(folder, "Pooling")) };
        match of("Transformer") {
            None => return Err(missing(folder, "Transformer")),
            Some(module) if !module.path.is_empty() => {
                return Err(Error::Unsupported {
                    path: folder.path(MODULES_FILE),
                    reason: format!(
                        "the Transformer module has path {:?}; supported is \"\", the model folder itself",
                        module.path
                    ),
                });
            }
            Some(_) => {}
        }
        let pooling = read_pooling(folder, plain_name(folder, &pooling.path)?, hidden_size)?;
        if let Some(module) = of("Normalize") {
            let file = format!("{}/config.json", plain_name(folder, &module.path)?);
            let mut settings =
                Settings::read_if_there(folder, &file, "it describes how vectors are normalised")?;
            check_inputs(&mut settings)?;
            settings.nothing_else(&[])?;
        }
        let (default_dimension, heads) = match of("Dense") {
            Some(module) => read_heads(folder, plain_name(folder, &module.path)?, hidden_size)?,
            None => {
                let head = HeadLayout { dimension: hidden_size, dense: None };
                (hidden_size, BTreeMap::from([(hidden_size, head)]))
            }
        };
        Ok(Self { pooling, default_dimension, heads, normalizes: of("Normalize").is_some() })
    }
}

/// Refuses a folder with an adapter, which transformers adds to the weights.
fn refuse_adapter(folder: &ModelFolder) -> Result<()> {
    if !folder.lists(ADAPTER_FILE)? {
        return Ok(());
    }
    Err(Error::Unsupported {
        path: folder.path(ADAPTER_FILE),
        reason: "describes an adapter (PEFT, LoRA), which transformers adds to the weights; supported are weights alone. Merge \
                 it with merge_and_unload and save the model, or remove the file if it is not meant"
            .to_owned(),
    })
}

fn read_modules(folder: &ModelFolder) -> Result<Vec<Module>> {
    let entries: Vec<Settings> =
        Settings::read_list(folder, MODULES_FILE, "it names the modules and with them the default head")?;
    let mut modules: Vec<Module> = Vec::new();
    let mut names = BTreeSet::new();
    for mut settings in entries {
        // Of two modules with one name, sentence-transformers keeps the second in the place of the first.
        if let Some(name) = settings.text("name")?
            && !names.insert(name.clone())
        {
            return Err(settings.invalid(format!("name {} stands twice", shown(&Value::from(name)))));
        }
        let (class, path) = (settings.text("type")?, settings.text("path")?);
        let (class, path) = (settings.required("type", class)?, settings.required("path", path)?);
        // Only the last part of the class counts: releases keep their modules under different Python paths.
        let name = class.rsplit('.').next().unwrap_or_default();
        let supported = "a Transformer, Pooling, and after them at most one Dense and one Normalize";
        let Some(kind) = ORDER.iter().position(|known| *known == name) else {
            return Err(settings.unsupported("type", &shown(&Value::from(class)), supported));
        };
        if let Some(before) = modules.iter().rev().find(|module| module.kind >= kind) {
            let value = format!("{name} after {}", ORDER[before.kind]);
            return Err(settings.unsupported("type", &value, supported));
        }
        settings.only("kwargs", &["[]"])?;
        // The order of the list counts.
        settings.nothing_else(&[("idx", Rule::NoEffect)])?;
        modules.push(Module { kind, path });
    }
    Ok(modules)
}

fn missing(folder: &ModelFolder, module: &str) -> Error {
    Error::Unsupported {
        path: folder.path(MODULES_FILE),
        reason: format!("lists no {module} module; a model that is computed here has one"),
    }
}

/// Refuses a module that reads or writes anything but the vector of the text.
fn check_inputs(settings: &mut Settings) -> Result<()> {
    settings.only("module_input_name", &["\"sentence_embedding\""])?;
    settings.only("module_output_name", &["\"sentence_embedding\""])
}

/// Whether a folder of this name is a sibling of the default head.
fn is_head_name(folder: &str) -> bool {
    folder.strip_prefix(HEAD_PREFIX).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
}

/// Reads the heads. The default one is the Dense module of `modules.json`; its siblings are found by their names.
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
            log::warn!("{} holds no {WEIGHTS_FILE}; its dimension is left out", folder.path(&name).display());
            continue;
        }
        let head = read_head(folder, &name, hidden_size)?;
        // Sorted backwards, `2_Dense_1024` comes before the older `2_Dense` of the same dimension and stays.
        heads.entry(head.dimension).or_insert(head);
    }
    Ok((default_dimension, heads))
}

/// The names of torch's identity. sentence-transformers takes a name outside of torch for Tanh.
const IDENTITIES: [&str; 3] =
    ["torch.nn.modules.linear.Identity", "torch.nn.Identity", "torch.nn.modules.Identity"];

fn read_head(folder: &ModelFolder, name: &str, hidden_size: usize) -> Result<HeadLayout> {
    let mut settings =
        Settings::read(folder, &format!("{name}/config.json"), "it describes one of the heads")?;
    let inputs = settings.count("in_features", 0, usize::MAX)?;
    let inputs = settings.required("in_features", inputs)?;
    if inputs != hidden_size {
        return Err(settings.inconsistent(format!(
            "in_features is {inputs}, but hidden_size in config.json is {hidden_size}"
        )));
    }
    let dimension = settings.count("out_features", 1, MAX_DIMENSION + 1)?;
    let dimension = settings.required("out_features", dimension)?;
    let bias = settings.flag("bias")?.unwrap_or(true);
    match settings.text("activation_function")? {
        Some(activation) if IDENTITIES.contains(&&*activation) => {}
        found => {
            let value = match found {
                None => "missing, which means torch.nn.Tanh".to_owned(),
                Some(name) => shown(&Value::from(name)),
            };
            return Err(settings.unsupported("activation_function", &value, &IDENTITIES.join(", ")));
        }
    }
    settings.only("use_residual", &["false"])?;
    check_inputs(&mut settings)?;
    settings.nothing_else(&[])?;
    Ok(HeadLayout { dimension, dense: Some(DenseFolder { name: name.to_owned(), bias }) })
}

/// The flags of older releases, and what newer ones call the mode.
const POOLING_FLAGS: [(&str, &str); 6] = [
    ("pooling_mode_cls_token", "cls"),
    ("pooling_mode_max_tokens", "max"),
    ("pooling_mode_mean_tokens", "mean"),
    ("pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens"),
    ("pooling_mode_weightedmean_tokens", "weightedmean"),
    ("pooling_mode_lasttoken", "lasttoken"),
];

fn read_pooling(folder: &ModelFolder, name: &str, hidden_size: usize) -> Result<Pooling> {
    let mut settings =
        Settings::read(folder, &format!("{name}/config.json"), "it says how tokens are pooled")?;
    let width = settings
        .agreed(&["embedding_dimension", "word_embedding_dimension"], |settings, key| {
            settings.count(key, 0, usize::MAX)
        })?
        .unwrap_or(hidden_size);
    if width != hidden_size {
        return Err(settings
            .inconsistent(format!("the width is {width}, but hidden_size in config.json is {hidden_size}")));
    }
    let named = settings.texts("pooling_mode")?;
    let flags = POOLING_FLAGS.map(|(key, mode)| Ok((settings.flag(key)?, mode)));
    let flags = flags.into_iter().collect::<Result<Vec<(Option<bool>, &str)>>>()?;
    let on: Vec<&str> = flags.iter().filter(|(flag, _)| *flag == Some(true)).map(|&(_, mode)| mode).collect();
    let has_flags = flags.iter().any(|(flag, _)| flag.is_some());
    let mut sorted = named.clone().unwrap_or_default();
    sorted.sort_unstable();
    let mut on_sorted = on.clone();
    on_sorted.sort_unstable();
    if named.is_some() && has_flags && sorted != on_sorted {
        return Err(settings.inconsistent(format!(
            "pooling_mode is {}, but the flags pooling_mode_… that are on are {}; they say the same thing and must agree",
            sorted.join(" and "),
            if on.is_empty() { "none".to_owned() } else { on.join(" and ") }
        )));
    }
    let mean_is_missing = flags.iter().any(|&(flag, mode)| mode == "mean" && flag.is_none());
    let modes: Vec<String> = match named {
        Some(named) => named,
        None if !has_flags => vec!["mean".to_owned()],
        // Releases before 5.4 take a missing flag of the mean as on, later ones as off.
        None if mean_is_missing && !on.is_empty() => {
            let value = format!("missing beside {}", on.join(" and "));
            return Err(settings.unsupported(
                "pooling_mode_mean_tokens",
                &value,
                "true or false, since releases differ",
            ));
        }
        None => on.into_iter().map(str::to_owned).collect(),
    };
    let mode = match modes.as_slice() {
        [only] => PoolingMode::ALL.into_iter().find(|mode| mode.name() == only),
        _ => None,
    };
    let Some(mode) = mode else {
        let value = if modes.is_empty() { "none: every flag is off".to_owned() } else { modes.join(" and ") };
        let supported = PoolingMode::ALL.map(PoolingMode::name).join(", ");
        return Err(settings.unsupported("pooling_mode", &value, &format!("one of {supported}")));
    };
    let include_prompt = settings.flag("include_prompt")?.unwrap_or(true);
    if !include_prompt && mode == PoolingMode::Cls {
        let supported = "true with pooling by the cls token: releases of sentence-transformers differ in what else it means";
        return Err(settings.unsupported("include_prompt", "false", supported));
    }
    settings.nothing_else(&[])?;
    Ok(Pooling { mode, include_prompt })
}

fn plain_name<'a>(folder: &ModelFolder, name: &'a str) -> Result<&'a str> {
    if is_plain_name(name) {
        return Ok(name);
    }
    Err(Error::FileInvalid {
        path: folder.path(MODULES_FILE),
        reason: format!("path {name:?} is not the name of a folder inside the model folder"),
        source: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorCode;
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
    fn heads_are_listed_and_modules_json_names_the_default() {
        let fixture = Fixture::new("2_Dense_768");
        fixture.head("2_Dense_256", 256).head("2_Dense_768", 768).head("2_Dense", 768).head("3_Other", 5);
        let layout = fixture.read().unwrap();
        assert_eq!(layout.default_dimension, 768);
        assert_eq!(layout.heads.keys().copied().collect::<Vec<_>>(), [256, 768]);
        assert_eq!(layout.heads[&768].dense.as_ref().unwrap().name, "2_Dense_768");
    }

    #[test]
    fn the_older_folder_name_serves_alone() {
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
    fn a_head_without_safetensors_is_left_out() {
        let fixture = Fixture::new("2_Dense_256");
        fixture.head("2_Dense_256", 256).head("2_Dense_768", 768);
        fs::remove_file(fixture.0.path().join("2_Dense_768").join(WEIGHTS_FILE)).unwrap();
        assert_eq!(fixture.read().unwrap().heads.len(), 1);
    }

    #[test]
    fn a_head_whose_weights_or_folder_are_removed_after_the_pin_is_not_left_out() {
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
    fn paths_that_lead_out_are_refused() {
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
    fn pooling_is_written_in_many_ways() {
        let mean = Pooling { mode: PoolingMode::Mean, include_prompt: true };
        for (text, pooling) in [
            ("{}", mean),
            (r#"{"pooling_mode_mean_tokens": true}"#, mean),
            (r#"{"embedding_dimension": 64, "pooling_mode": "mean", "include_prompt": true}"#, mean),
            (
                r#"{"word_embedding_dimension": 64, "embedding_dimension": 64, "pooling_mode": ["mean"]}"#,
                mean,
            ),
            (
                r#"{"pooling_mode": "mean", "pooling_mode_mean_tokens": true, "pooling_mode_cls_token": false}"#,
                mean,
            ),
            (
                r#"{"pooling_mode": "mean", "include_prompt": false}"#,
                Pooling { include_prompt: false, ..mean },
            ),
            (r#"{"pooling_mode": "cls"}"#, Pooling { mode: PoolingMode::Cls, ..mean }),
            (
                r#"{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}"#,
                Pooling { mode: PoolingMode::Cls, ..mean },
            ),
            (
                r#"{"pooling_mode": "lasttoken", "include_prompt": false}"#,
                Pooling { mode: PoolingMode::LastToken, include_prompt: false },
            ),
        ] {
            assert_eq!(changed("1_Pooling/config.json", text).unwrap().pooling, pooling, "{text}");
        }
    }

    #[test]
    fn a_pooling_that_is_not_computed_or_contradicts_itself_is_refused() {
        for (text, code, says) in [
            (r#"{"pooling_mode": "max"}"#, ErrorCode::ModelUnsupported, "pooling_mode is max"),
            (r#"{"pooling_mode": "Mean"}"#, ErrorCode::ModelUnsupported, "pooling_mode is Mean"),
            (r#"{"pooling_mode": ["cls", "mean"]}"#, ErrorCode::ModelUnsupported, "cls and mean"),
            (r#"{"pooling_mode": []}"#, ErrorCode::ModelUnsupported, "none"),
            (r#"{"pooling_mode_mean_tokens": false}"#, ErrorCode::ModelUnsupported, "every flag is off"),
            (
                r#"{"pooling_mode_cls_token": true}"#,
                ErrorCode::ModelUnsupported,
                "pooling_mode_mean_tokens is missing",
            ),
            (
                r#"{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": true}"#,
                ErrorCode::ModelUnsupported,
                "cls and mean",
            ),
            (
                r#"{"pooling_mode": "cls", "pooling_mode_mean_tokens": true}"#,
                ErrorCode::ModelInconsistent,
                "pooling_mode is cls, but the flags pooling_mode_… that are on are mean",
            ),
            (
                r#"{"pooling_mode": "mean", "embedding_dimension": 64, "word_embedding_dimension": 32}"#,
                ErrorCode::ModelInconsistent,
                "embedding_dimension is 64, but word_embedding_dimension is 32",
            ),
            (
                r#"{"embedding_dimension": 32}"#,
                ErrorCode::ModelInconsistent,
                "hidden_size in config.json is 64",
            ),
            (
                r#"{"pooling_mode": "cls", "include_prompt": false}"#,
                ErrorCode::ModelUnsupported,
                "include_prompt",
            ),
            (r#"{"pooling_mode_new": true}"#, ErrorCode::ModelUnsupported, "pooling_mode_new"),
            (r#"{"include_prompt": "no"}"#, ErrorCode::ModelFileInvalid, "include_prompt is \"no\""),
        ] {
            let error = changed("1_Pooling/config.json", text).unwrap_err();
            assert_eq!(error.code(), code, "{error}");
            assert!(error.to_string().contains(says), "{error}");
        }
    }

    #[test]
    fn a_head_that_is_not_computed_is_refused() {
        let identity = r#""activation_function": "torch.nn.modules.linear.Identity""#;
        for (fields, code, says) in [
            (
                r#""activation_function": "torch.nn.Tanh""#.to_owned(),
                ErrorCode::ModelUnsupported,
                "torch.nn.Tanh",
            ),
            (r#""bias": true"#.to_owned(), ErrorCode::ModelUnsupported, "missing, which means torch.nn.Tanh"),
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
            (format!(r#"{identity}, "scale": 2"#), ErrorCode::ModelUnsupported, "scale is not known"),
            (format!(r#"{identity}, "in_features": 65"#), ErrorCode::ModelFileInvalid, "expected here"),
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

    /// Modules by their classes, each in a folder of its own but the first.
    fn modules(classes: &[&str]) -> Result<Layout> {
        let entries = classes.iter().enumerate().map(|(at, class)| {
            let path = ["", "1_Pooling", "2_Dense_256", "3_Normalize"][classes.len().min(4).min(at)];
            let path = if class.ends_with("Dense") { "2_Dense_256" } else { path };
            format!(r#"{{"idx": {at}, "name": "{at}", "path": "{path}", "type": "{class}"}}"#)
        });
        changed(MODULES_FILE, &format!("[{}]", entries.collect::<Vec<_>>().join(",")))
    }

    #[test]
    fn modules_are_known_under_any_path_and_in_one_order() {
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
    fn every_field_of_a_module_is_looked_at() {
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
            (r#""path": "", "name": "1""#, "name \"1\" stands twice"),
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
    fn what_normalize_reads_and_writes_is_looked_at() {
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
