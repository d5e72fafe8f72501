//! Rotary position embeddings (RoPE): reads the base and the scaling from `config.json`, in any of their spellings.

use std::fmt;

use serde_json::Value;

use crate::base::error::Result;
use crate::base::message::shown;
use crate::files::settings::{Rule, Settings};

/// The largest supported base. Stella 1.5B has a million.
const MAX_BASE: f64 = 1e12;
/// The largest supported scaling factor. Stella 400M has 2.
const MAX_FACTOR: f64 = 64.0;

/// The parameters of rotary positions. From one position to the next, pair `i` of the `n` pairs of a head rotates by
/// `base^(-i/n) / linear_scale` radians.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rope {
    /// The base of the frequencies, often called theta. With NTK scaling, the scaled base.
    pub base: f64,
    /// The divisor of all frequencies.
    pub linear_scale: f64,
}

impl Rope {
    /// Returns the radians by which each pair of a head rotates from one position to the next.
    pub(crate) fn inverse_frequencies(self, head_dim: usize) -> Vec<f64> {
        let frequency = |i| 1.0 / self.base.powf(2.0 * i as f64 / head_dim as f64) / self.linear_scale;
        (0..head_dim / 2).map(frequency).collect()
    }

    /// Returns the factor of the static NTK scaling that leads to these frequencies.
    pub(crate) fn ntk_factor(self, head_dim: usize) -> f64 {
        self.linear_scale.powf(head_dim as f64 / 2.0)
    }

    /// Takes all settings of rotary positions.
    pub(crate) fn take(config: &mut Settings, head_dim: usize, ntk: NtkScaling) -> Result<Self> {
        let mut found: Vec<Found> = Vec::new();
        let top = config.number("rope_theta")?;
        found.extend(top.map(|theta| Found { key: "rope_theta", theta: Some(theta), scaling: None }));
        for key in ["rope_scaling", "rope_parameters"] {
            if let Some(object) = config.object(key)? {
                let (theta, scaling) = read_object(object, ntk)?;
                found.push(Found { key, theta, scaling });
            }
        }
        let theta = agreed(config, &found, "rope_theta", |f| f.theta)?;
        let scaling = agreed(config, &found, "The rotary scaling", |f| f.scaling)?.unwrap_or(Scaling::None);
        let theta = config.required("rope_theta", theta)?;
        // Below 1, the frequencies would grow from pair to pair without limit.
        if !(1.0..=MAX_BASE).contains(&theta) {
            return Err(config.invalid(format!("rope_theta is {theta}. It must be 1 to {MAX_BASE}.")));
        }
        Ok(match scaling {
            Scaling::None => Self { base: theta, linear_scale: 1.0 },
            Scaling::Linear(factor) => Self { base: theta, linear_scale: factor },
            // NTK scaling raises the base and divides all frequencies.
            Scaling::Ntk(factor) => {
                Self { base: theta * factor, linear_scale: factor.powf(2.0 / head_dim as f64) }
            }
        })
    }
}

/// Whether the Python code of the architecture supports static NTK scaling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NtkScaling {
    Supported,
    Unsupported,
}

/// A scaling of rotary positions, with its factor.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Scaling {
    None,
    Linear(f64),
    Ntk(f64),
}

impl fmt::Display for Scaling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Linear(factor) => write!(f, "linear by {factor}"),
            Self::Ntk(factor) => write!(f, "ntk by {factor}"),
        }
    }
}

/// The base and the scaling that one setting of the configuration contains.
struct Found {
    key: &'static str,
    theta: Option<f64>,
    scaling: Option<Scaling>,
}

/// Returns the value on which all settings agree, or `None` if no setting contains one.
fn agreed<T: PartialEq + fmt::Display + Copy>(
    config: &Settings,
    found: &[Found],
    what: &str,
    value_of: impl Fn(&Found) -> Option<T>,
) -> Result<Option<T>> {
    let mut values = found.iter().filter_map(|f| Some((f.key, value_of(f)?)));
    let Some((key, first)) = values.next() else { return Ok(None) };
    match values.find(|(_, other)| *other != first) {
        None => Ok(Some(first)),
        Some((other_key, other)) => Err(config.inconsistent(format!(
            "{what} is {first} in {key}, but {other} in {other_key}. Both set the same thing, so they must agree."
        ))),
    }
}

/// Reads `rope_scaling` or `rope_parameters`. An empty object sets nothing.
fn read_object(mut object: Settings, ntk: NtkScaling) -> Result<(Option<f64>, Option<Scaling>)> {
    // Models with several kinds of attention have one object for each kind. Only full attention is supported here.
    if let Some(all_layers) = object.object("full_attention")? {
        object.refuse_others(&[])?;
        return read_object(all_layers, ntk);
    }
    if object.is_empty() {
        return Ok((None, None));
    }
    let theta = object.number("rope_theta")?;
    let kind_key = if object.has("rope_type") { "rope_type" } else { "type" };
    let kind = object.agreed(&["rope_type", "type"], Settings::text)?;
    let factor = object.any("factor");
    let scaling = match (kind.as_deref(), factor) {
        // The object may set the base alone, without a kind of scaling.
        (Some("default"), _) | (None, None) => Scaling::None,
        (None, Some(factor)) => {
            return Err(object.unsupported("factor", &shown(&factor), "a factor together with a rope_type"));
        }
        (Some(kind), factor) => {
            let scaling = match kind {
                "linear" => Scaling::Linear,
                "ntk" if ntk == NtkScaling::Supported => Scaling::Ntk,
                _ => {
                    let supported = match ntk {
                        NtkScaling::Supported => r#""default", "linear" and "ntk""#,
                        NtkScaling::Unsupported => r#""default" and "linear""#,
                    };
                    return Err(object.unsupported(kind_key, &shown(&Value::from(kind)), supported));
                }
            };
            let factor = object.required("factor", factor)?;
            match factor.as_f64().filter(|f| (1.0..=MAX_FACTOR).contains(f)) {
                Some(1.0) => Scaling::None,
                Some(factor) => scaling(factor),
                None => {
                    let supported = format!("a factor from 1 to {MAX_FACTOR}");
                    return Err(object.unsupported("factor", &shown(&factor), &supported));
                }
            }
        }
    };
    object.refuse_others(RULES)?;
    Ok((theta, Some(scaling)))
}

/// The rules for settings other than the kind, the factor and the base.
const RULES: &[(&str, Rule)] = &[
    // Only scalings that depend on the length of a text use it, and these are refused by their kind.
    ("original_max_position_embeddings", Rule::NoEffect),
    ("partial_rotary_factor", Rule::Only(&["1", "1.0"])),
    ("attention_factor", Rule::Only(&["1", "1.0"])),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::error_code::ErrorCode;
    use crate::files::file_names::CONFIG_FILE;
    use crate::files::folder::ModelFolder;

    const HEAD_DIM: usize = 64;

    fn take(json: &str, ntk: NtkScaling) -> Result<Rope> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(CONFIG_FILE), json).unwrap();
        let folder = ModelFolder::open(dir.path(), None).unwrap();
        let mut settings = Settings::read(&folder, CONFIG_FILE, "").unwrap();
        let rope = Rope::take(&mut settings, HEAD_DIM, ntk)?;
        settings.refuse_others(&[])?;
        Ok(rope)
    }

    #[test]
    fn every_spelling_of_no_scaling_is_read() {
        for json in [
            r#"{"rope_theta": 1000000.0}"#,
            r#"{"rope_theta": 1000000, "rope_scaling": null}"#,
            r#"{"rope_theta": 1000000, "rope_scaling": {}}"#,
            r#"{"rope_theta": 1000000, "rope_scaling": {"type": "default"}}"#,
            r#"{"rope_theta": 1000000, "rope_scaling": {"rope_type": "default", "type": "default"}}"#,
            r#"{"rope_theta": 1000000, "rope_scaling": {"type": "linear", "factor": 1.0}}"#,
            r#"{"rope_theta": 1000000, "rope_parameters": null}"#,
            r#"{"rope_parameters": {"rope_theta": 1000000.0}}"#,
            r#"{"rope_parameters": {"rope_theta": 1000000.0, "rope_type": "default"}}"#,
            r#"{"rope_parameters": {"rope_theta": 1000000.0, "rope_type": "default", "factor": 1}}"#,
            r#"{"rope_parameters": {"rope_theta": 1000000.0, "rope_type": "default", "partial_rotary_factor": 1.0}}"#,
            r#"{"rope_parameters": {"full_attention": {"rope_theta": 1000000.0, "rope_type": "default"}}}"#,
            r#"{"rope_theta": 1000000, "rope_parameters": {"rope_theta": 1000000.0, "rope_type": "default"}}"#,
            r#"{"rope_scaling": {"rope_theta": 1000000.0, "rope_type": "default"}}"#,
        ] {
            assert_eq!(
                take(json, NtkScaling::Unsupported).unwrap(),
                Rope { base: 1e6, linear_scale: 1.0 },
                "{json}"
            );
        }
    }

    #[test]
    fn every_spelling_of_static_ntk_scaling_is_read() {
        let ntk = Rope { base: 320_000.0, linear_scale: 2f64.powf(1.0 / 32.0) };
        for json in [
            r#"{"rope_theta": 160000, "rope_scaling": {"type": "ntk", "factor": 2.0}}"#,
            r#"{"rope_theta": 160000, "rope_scaling": {"rope_type": "ntk", "type": "ntk", "factor": 2, "mixed_b": null}}"#,
            r#"{"rope_theta": 160000, "rope_parameters": {"factor": 2.0, "type": "ntk"}}"#,
            r#"{"rope_theta": 160000, "rope_scaling": {}, "rope_parameters": {"factor": 2.0, "type": "ntk"}}"#,
            r#"{"rope_parameters": {"factor": 2.0, "rope_type": "ntk", "rope_theta": 160000}}"#,
            r#"{"rope_parameters": {"factor": 1.0218971486541166, "rope_theta": 320000.0, "rope_type": "linear"}}"#,
        ] {
            let found = take(json, NtkScaling::Supported).unwrap();
            assert_eq!(found.base, ntk.base, "{json}");
            assert!((found.linear_scale - ntk.linear_scale).abs() < 1e-15, "{json}: {found:?}");
        }
        assert!((ntk.ntk_factor(HEAD_DIM) - 2.0).abs() < 1e-12);
    }

    #[test]
    fn contradictory_settings_are_refused_with_both_values() {
        for (json, first, second) in [
            (r#"{"rope_theta": 1e4, "rope_parameters": {"rope_theta": 1e6}}"#, "10000", "1000000"),
            (
                r#"{"rope_theta": 1e4, "rope_scaling": {"type": "linear", "factor": 2}, "rope_parameters": {"type": "default"}}"#,
                "linear by 2",
                "none",
            ),
            (
                r#"{"rope_theta": 1e4, "rope_scaling": {"type": "linear", "rope_type": "ntk", "factor": 2}}"#,
                "linear",
                "ntk",
            ),
        ] {
            let error = take(json, NtkScaling::Supported).unwrap_err();
            assert_eq!(error.code(), ErrorCode::ModelInconsistent, "{error}");
            assert!(error.to_string().contains(first) && error.to_string().contains(second), "{error}");
        }
    }

    #[test]
    fn an_unsupported_scaling_is_refused_by_name() {
        for (json, says) in [
            (
                r#"{"rope_theta": 1e4, "rope_scaling": {"type": "yarn", "factor": 2}}"#,
                "rope_scaling.type is \"yarn\"",
            ),
            (r#"{"rope_theta": 1e4, "rope_scaling": {"type": "dynamic", "factor": 2}}"#, "dynamic"),
            (
                r#"{"rope_theta": 1e4, "rope_scaling": {"type": "ntk", "factor": 2, "mixed_b": 0.5}}"#,
                "mixed_b",
            ),
            (r#"{"rope_theta": 1e4, "rope_scaling": {"type": "linear", "factor": 65}}"#, "factor is 65"),
            (r#"{"rope_theta": 1e4, "rope_scaling": {"type": "linear", "factor": "2"}}"#, "factor is \"2\""),
            (r#"{"rope_theta": 1e4, "rope_scaling": {"factor": 2}}"#, "rope_scaling.factor is 2"),
            (
                r#"{"rope_theta": 1e4, "rope_parameters": {"partial_rotary_factor": 0.5}}"#,
                "partial_rotary_factor",
            ),
            (
                r#"{"rope_parameters": {"full_attention": {"rope_theta": 1e4}, "sliding_attention": {"rope_theta": 1e4}}}"#,
                "sliding_attention",
            ),
        ] {
            let error = take(json, NtkScaling::Supported).unwrap_err();
            assert_eq!(error.code(), ErrorCode::ModelUnsupported, "{error}");
            assert!(error.to_string().contains(says), "{error}");
        }
        assert!(
            take(
                r#"{"rope_theta": 1e4, "rope_scaling": {"type": "ntk", "factor": 2}}"#,
                NtkScaling::Unsupported
            )
            .is_err()
        );
    }
}
