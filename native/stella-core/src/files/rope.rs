//! Rotary positions: how fast each pair of numbers turns, from any of the ways in which a configuration says it.

use std::fmt;

use serde_json::Value;

use crate::base::error::Result;
use crate::files::settings::{Rule, Settings, shown};

/// The largest base. The 1.5B model has a million.
const MAX_BASE: f64 = 1e12;
/// The largest factor of a scaling. The 400M model has 2.
const MAX_FACTOR: f64 = 64.0;

/// The angles of rotary positions: from one position to the next, pair `i` of `n` turns by
/// `base^(-i/n) / slowdown` radians.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rope {
    /// The number whose powers the turns are.
    pub base: f64,
    /// By what every turn is divided.
    pub slowdown: f64,
}

impl Rope {
    /// Radians that each pair of a head turns by from one position to the next.
    pub(crate) fn turns(self, head_dim: usize) -> Vec<f64> {
        let turn = |i| 1.0 / self.base.powf(2.0 * i as f64 / head_dim as f64) / self.slowdown;
        (0..head_dim / 2).map(turn).collect()
    }

    /// The factor by which static NTK scaling gives these turns.
    pub(crate) fn ntk_factor(self, head_dim: usize) -> f64 {
        self.slowdown.powf(head_dim as f64 / 2.0)
    }

    /// Takes all settings of rotary positions. `ntk` tells whether the code of the architecture knows static NTK scaling.
    pub(crate) fn take(config: &mut Settings, head_dim: usize, ntk: bool) -> Result<Self> {
        let mut found: Vec<Found> = Vec::new();
        let top = config.number("rope_theta")?;
        found.extend(top.map(|theta| Found { place: "rope_theta", theta: Some(theta), scaling: None }));
        for place in ["rope_scaling", "rope_parameters"] {
            if let Some(object) = config.object(place)? {
                let (theta, scaling) = read_object(object, ntk)?;
                found.push(Found { place, theta, scaling });
            }
        }
        let theta = agreed(config, &found, "rope_theta", |f| f.theta)?;
        let scaling = agreed(config, &found, "the scaling", |f| f.scaling)?.unwrap_or(Scaling::None);
        let theta = config.required("rope_theta", theta)?;
        // Below 1 the turns would rise, without end for the smallest.
        if !(1.0..=MAX_BASE).contains(&theta) {
            return Err(config.invalid(format!("rope_theta is {theta}; it must be 1 to {MAX_BASE}")));
        }
        Ok(match scaling {
            Scaling::None => Self { base: theta, slowdown: 1.0 },
            Scaling::Linear(factor) => Self { base: theta, slowdown: factor },
            // Raises the base and slows all pairs down.
            Scaling::Ntk(factor) => {
                Self { base: theta * factor, slowdown: factor.powf(2.0 / head_dim as f64) }
            }
        })
    }
}

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

/// What one place in the configuration says.
struct Found {
    place: &'static str,
    theta: Option<f64>,
    scaling: Option<Scaling>,
}

/// The value that all places agree on; `None` if no place names one.
fn agreed<T: PartialEq + fmt::Display + Copy>(
    config: &Settings,
    found: &[Found],
    what: &str,
    of: impl Fn(&Found) -> Option<T>,
) -> Result<Option<T>> {
    let mut said = found.iter().filter_map(|f| Some((f.place, of(f)?)));
    let Some((place, first)) = said.next() else { return Ok(None) };
    match said.find(|(_, other)| *other != first) {
        None => Ok(Some(first)),
        Some((other_place, other)) => Err(config.inconsistent(format!(
            "{what} is {first} by {place}, but {other} by {other_place}; they say the same thing and must agree"
        ))),
    }
}

/// Reads `rope_scaling` or `rope_parameters`. An empty one says nothing.
fn read_object(mut object: Settings, ntk: bool) -> Result<(Option<f64>, Option<Scaling>)> {
    // Where layers attend in different ways, there is an object for each way. All layers here attend to everything.
    if let Some(all_layers) = object.object("full_attention")? {
        object.nothing_else(&[])?;
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
        // A kind is missing where the base stands alone.
        (Some("default"), _) | (None, None) => Scaling::None,
        (None, Some(factor)) => {
            return Err(object.unsupported("factor", &shown(&factor), "a factor with a rope_type"));
        }
        (Some(kind), factor) => {
            let read = match kind {
                "linear" => Scaling::Linear,
                "ntk" if ntk => Scaling::Ntk,
                _ => {
                    let supported =
                        if ntk { r#""default", "linear" and "ntk""# } else { r#""default" and "linear""# };
                    return Err(object.unsupported(kind_key, &shown(&Value::from(kind)), supported));
                }
            };
            let factor = object.required("factor", factor)?;
            match factor.as_f64().filter(|f| (1.0..=MAX_FACTOR).contains(f)) {
                Some(1.0) => Scaling::None,
                Some(factor) => read(factor),
                None => {
                    let supported = format!("a factor of 1 to {MAX_FACTOR}");
                    return Err(object.unsupported("factor", &shown(&factor), &supported));
                }
            }
        }
    };
    object.nothing_else(WITHOUT_SCALING_EFFECT)?;
    Ok((theta, Some(scaling)))
}

/// Settings beside the kind and the factor.
const WITHOUT_SCALING_EFFECT: &[(&str, Rule)] = &[
    // Of scalings that depend on the length of a text, which are refused by their kind.
    ("original_max_position_embeddings", Rule::NoEffect),
    ("partial_rotary_factor", Rule::Only(&["1", "1.0"])),
    ("attention_factor", Rule::Only(&["1", "1.0"])),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorCode;
    use crate::files::file_names::CONFIG_FILE;
    use crate::files::folder::ModelFolder;

    const HEAD_DIM: usize = 64;

    fn take(json: &str, ntk: bool) -> Result<Rope> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(CONFIG_FILE), json).unwrap();
        let folder = ModelFolder::open(dir.path(), None).unwrap();
        let mut settings = Settings::read(&folder, CONFIG_FILE, "").unwrap();
        let rope = Rope::take(&mut settings, HEAD_DIM, ntk)?;
        settings.nothing_else(&[])?;
        Ok(rope)
    }

    #[test]
    fn no_scaling_is_written_in_many_ways() {
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
            assert_eq!(take(json, false).unwrap(), Rope { base: 1e6, slowdown: 1.0 }, "{json}");
        }
    }

    #[test]
    fn static_ntk_is_written_in_many_ways() {
        let ntk = Rope { base: 320_000.0, slowdown: 2f64.powf(1.0 / 32.0) };
        for json in [
            r#"{"rope_theta": 160000, "rope_scaling": {"type": "ntk", "factor": 2.0}}"#,
            r#"{"rope_theta": 160000, "rope_scaling": {"rope_type": "ntk", "type": "ntk", "factor": 2, "mixed_b": null}}"#,
            r#"{"rope_theta": 160000, "rope_parameters": {"factor": 2.0, "type": "ntk"}}"#,
            r#"{"rope_theta": 160000, "rope_scaling": {}, "rope_parameters": {"factor": 2.0, "type": "ntk"}}"#,
            r#"{"rope_parameters": {"factor": 2.0, "rope_type": "ntk", "rope_theta": 160000}}"#,
            r#"{"rope_parameters": {"factor": 1.0218971486541166, "rope_theta": 320000.0, "rope_type": "linear"}}"#,
        ] {
            let found = take(json, true).unwrap();
            assert_eq!(found.base, ntk.base, "{json}");
            assert!((found.slowdown - ntk.slowdown).abs() < 1e-15, "{json}: {found:?}");
        }
        assert!((ntk.ntk_factor(HEAD_DIM) - 2.0).abs() < 1e-12);
    }

    #[test]
    fn forms_that_contradict_each_other_are_refused_with_both_values() {
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
            let error = take(json, true).unwrap_err();
            assert_eq!(error.code(), ErrorCode::ModelInconsistent, "{error}");
            assert!(error.to_string().contains(first) && error.to_string().contains(second), "{error}");
        }
    }

    #[test]
    fn what_is_not_computed_is_refused_by_name() {
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
            let error = take(json, true).unwrap_err();
            assert_eq!(error.code(), ErrorCode::ModelUnsupported, "{error}");
            assert!(error.to_string().contains(says), "{error}");
        }
        assert!(take(r#"{"rope_theta": 1e4, "rope_scaling": {"type": "ntk", "factor": 2}}"#, false).is_err());
    }
}
