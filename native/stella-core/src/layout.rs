//! The sentence-transformers layout: which modules follow the encoder, and which heads there are.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::files::{MODULES_FILE, WEIGHTS_FILE};
use crate::folder::{ModelFolder, is_plain_name};
use crate::json::once_each;

/// How the name of a folder with a head begins; `_{dimension}` follows, or nothing in older repositories.
pub const HEAD_PREFIX: &str = "2_Dense";
/// What follows the encoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Dimension of the head that `modules.json` names.
    pub default_dimension: usize,
    /// The heads, by dimension.
    pub heads: BTreeMap<usize, HeadFolder>,
}

/// A folder that holds one dense head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadFolder {
    /// Name of the folder inside the model folder.
    pub name: String,
    /// Length of the vectors that it gives.
    pub dimension: usize,
    /// Whether it adds a bias.
    pub bias: bool,
}

impl HeadFolder {
    /// The weights file, relative to the model folder.
    pub fn weights_file(&self) -> String {
        format!("{}/{WEIGHTS_FILE}", self.name)
    }
}

#[derive(Debug, Deserialize)]
struct RawModule {
    path: String,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Debug, Deserialize)]
struct RawDense {
    in_features: usize,
    out_features: usize,
    #[serde(default = "yes")]
    bias: bool,
    activation_function: Option<String>,
}

fn yes() -> bool {
    true
}

impl Layout {
    /// Reads `modules.json`, the pooling module and every head's configuration.
    ///
    /// # Errors
    /// Those of [`ModelFolder::read_json`]; [`Error::Unsupported`] for modules, poolings and activations
    /// that are not computed here; [`Error::Inconsistent`] for a head that does not fit `hidden_size`.
    pub fn read(folder: &ModelFolder, hidden_size: usize) -> Result<Self> {
        let modules: Vec<RawModule> =
            folder.read_json(MODULES_FILE, "it names the modules and with them the default head")?;
        let mut default_head = None;
        for module in &modules {
            // Only the last part of the type counts: repositories name it with and without its Python path.
            match module.kind.rsplit('.').next().unwrap_or_default() {
                "Transformer" | "Normalize" => {}
                "Pooling" => check_pooling(folder, plain_name(folder, &module.path)?)?,
                "Dense" if default_head.is_none() => default_head = Some(plain_name(folder, &module.path)?),
                _ => {
                    return Err(Error::Unsupported {
                        path: folder.path(MODULES_FILE),
                        reason: format!(
                            "module {:?} is not computed here; supported are one Transformer, mean Pooling, one \
                             Dense and Normalize",
                            module.kind
                        ),
                    });
                }
            }
        }
        let Some(default_head) = default_head else {
            return Err(Error::Unsupported {
                path: folder.path(MODULES_FILE),
                reason: "lists no Dense module; a Stella model has one head for each dimension".to_owned(),
            });
        };
        let heads = read_heads(folder, default_head, hidden_size)?;
        let default_dimension = heads
            .values()
            .find(|head| head.name == default_head)
            .map(|head| head.dimension)
            .ok_or_else(|| Error::Internal(format!("the default head {default_head} was not kept")))?;
        Ok(Self { default_dimension, heads })
    }
}

fn read_heads(
    folder: &ModelFolder,
    default_head: &str,
    hidden_size: usize,
) -> Result<BTreeMap<usize, HeadFolder>> {
    let default = read_head(folder, default_head, hidden_size)?;
    let mut heads = BTreeMap::from([(default.dimension, default)]);
    for name in folder.subfolders()?.into_iter().rev() {
        let is_head =
            name.strip_prefix(HEAD_PREFIX).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'));
        if !is_head || name == default_head {
            continue;
        }
        if !folder.has(&format!("{name}/{WEIGHTS_FILE}"))? {
            log::warn!("{} holds no {WEIGHTS_FILE}; its dimension is left out", folder.path(&name).display());
            continue;
        }
        let head = read_head(folder, &name, hidden_size)?;
        // Sorted backwards, `2_Dense_1024` comes before the older `2_Dense` of the same dimension and stays.
        heads.entry(head.dimension).or_insert(head);
    }
    Ok(heads)
}

fn read_head(folder: &ModelFolder, name: &str, hidden_size: usize) -> Result<HeadFolder> {
    let file = format!("{name}/config.json");
    let raw: RawDense = folder.read_json(&file, "it describes one of the heads")?;
    let path = || folder.path(&file);
    if let Some(activation) = &raw.activation_function
        && activation.rsplit('.').next() != Some("Identity")
    {
        let reason = format!("activation_function is {activation:?}; supported is Identity");
        return Err(Error::Unsupported { path: path(), reason });
    }
    if raw.in_features != hidden_size {
        let reason =
            format!("in_features is {}, but hidden_size in config.json is {hidden_size}", raw.in_features);
        return Err(Error::Inconsistent { path: path(), reason });
    }
    if raw.out_features == 0 || raw.out_features > 1 << 16 {
        let reason = format!("out_features is {}; it must be 1 to 65536", raw.out_features);
        return Err(Error::FileInvalid { path: path(), reason, source: None });
    }
    Ok(HeadFolder { name: name.to_owned(), dimension: raw.out_features, bias: raw.bias })
}

fn check_pooling(folder: &ModelFolder, name: &str) -> Result<()> {
    let file = format!("{name}/config.json");
    #[derive(Deserialize)]
    #[serde(transparent)]
    struct Modes(#[serde(deserialize_with = "once_each")] BTreeMap<String, serde_json::Value>);
    let Modes(raw) = folder.read_json(&file, "it says how tokens are pooled")?;
    let on = |mode: &str| raw.get(mode).and_then(serde_json::Value::as_bool).unwrap_or(false);
    let other =
        raw.keys().find(|k| k.starts_with("pooling_mode_") && *k != "pooling_mode_mean_tokens" && on(k));
    match other {
        None if on("pooling_mode_mean_tokens") => Ok(()),
        _ => Err(Error::Unsupported {
            path: folder.path(&file),
            reason: match other {
                Some(mode) => format!("{mode} is on; supported is pooling_mode_mean_tokens alone"),
                None => "pooling_mode_mean_tokens is off; mean pooling is the one supported".to_owned(),
            },
        }),
    }
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
        assert_eq!(layout.heads[&768].name, "2_Dense_768");
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
            let refused = Layout::read(&folder, 64)
                .and_then(|layout| folder.open_file(&layout.heads[&768].weights_file(), "it is a head's"));
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

    #[test]
    fn what_is_not_computed_is_refused() {
        let pooled = Fixture::new("2_Dense_256");
        pooled.head("2_Dense_256", 256);
        pooled.write("1_Pooling/config.json", r#"{"pooling_mode_cls_token": true}"#);
        assert!(pooled.read().unwrap_err().to_string().contains("pooling_mode_cls_token is on"));

        let active = Fixture::new("2_Dense_256");
        active.write(
            "2_Dense_256/config.json",
            r#"{"in_features": 64, "out_features": 256, "activation_function": "torch.nn.Tanh"}"#,
        );
        assert!(active.read().unwrap_err().to_string().contains("torch.nn.Tanh"));

        let wide = Fixture::new("2_Dense_256");
        wide.write("2_Dense_256/config.json", r#"{"in_features": 65, "out_features": 256}"#);
        assert_eq!(wide.read().unwrap_err().code(), ErrorCode::ModelInconsistent);
    }
}
