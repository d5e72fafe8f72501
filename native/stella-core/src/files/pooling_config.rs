//! The pooling of a model: its mode, and the file of the Pooling module that sets it.

use std::ops::Range;

use crate::base::error::Result;
use crate::files::folder::ModelFolder;
use crate::files::settings::Settings;

/// The tokens of a text that its vector is computed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PoolingMode {
    /// All tokens: the mean of their hidden states.
    Mean,
    /// The first token, which the tokenizer adds before every text.
    Cls,
    /// The last token, which the tokenizer adds after every text.
    LastToken,
}

impl PoolingMode {
    /// All pooling modes.
    pub const ALL: [Self; 3] = [Self::Mean, Self::Cls, Self::LastToken];

    /// Returns the name in `1_Pooling/config.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Cls => "cls",
            Self::LastToken => "lasttoken",
        }
    }
}

/// The pooling of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pooling {
    /// The tokens that count.
    pub mode: PoolingMode,
    /// Whether the tokens of the prompt, and the special tokens before it, count too.
    pub include_prompt: bool,
}

impl Pooling {
    /// Returns the tokens whose mean is the vector of a text. `left_out` is the number of tokens at the beginning of the text
    /// that belong to a prompt which does not count.
    pub(crate) fn token_range(self, text: Range<usize>, left_out: usize) -> Range<usize> {
        match self.mode {
            PoolingMode::Mean => (text.start + left_out).min(text.end)..text.end,
            PoolingMode::Cls => text.start..text.start + 1,
            PoolingMode::LastToken => text.end - 1..text.end,
        }
    }
}

/// The flags of older releases of sentence-transformers, and the names of these modes in newer releases.
const POOLING_FLAGS: [(&str, &str); 6] = [
    ("pooling_mode_cls_token", "cls"),
    ("pooling_mode_max_tokens", "max"),
    ("pooling_mode_mean_tokens", "mean"),
    ("pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens"),
    ("pooling_mode_weightedmean_tokens", "weightedmean"),
    ("pooling_mode_lasttoken", "lasttoken"),
];

/// Reads the configuration of the Pooling module in the subfolder `name`.
///
/// # Errors
/// Those of [`ModelFolder::read_json`]; [`Error::Unsupported`](crate::base::error::Error::Unsupported) for a pooling that
/// this library does not support; [`Error::Inconsistent`](crate::base::error::Error::Inconsistent) for settings that
/// contradict each other or `hidden_size`.
pub(crate) fn read_pooling(folder: &ModelFolder, name: &str, hidden_size: usize) -> Result<Pooling> {
    let mut settings = Settings::read(folder, &format!("{name}/config.json"), "it sets the pooling")?;
    let width = settings
        .agreed(&["embedding_dimension", "word_embedding_dimension"], |settings, key| {
            settings.count(key, 0, usize::MAX)
        })?
        .unwrap_or(hidden_size);
    if width != hidden_size {
        return Err(settings.inconsistent(format!(
            "The width is {width}, but hidden_size in config.json is {hidden_size}."
        )));
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
            "pooling_mode is {}, but the pooling_mode_… flags that are true are {}. Both set the same thing, so they must \
             agree.",
            sorted.join(" and "),
            if on.is_empty() { "none".to_owned() } else { on.join(" and ") }
        )));
    }
    let mean_is_missing = flags.iter().any(|&(flag, mode)| mode == "mean" && flag.is_none());
    let modes: Vec<String> = match named {
        Some(named) => named,
        None if !has_flags => vec!["mean".to_owned()],
        // A missing flag of the mean counts as true before release 5.4 of sentence-transformers, and as false since.
        None if mean_is_missing && !on.is_empty() => {
            let value = format!("missing, while {} is set", on.join(" and "));
            let supported = "true or false, because releases of sentence-transformers differ in the default";
            return Err(settings.unsupported("pooling_mode_mean_tokens", &value, supported));
        }
        None => on.into_iter().map(str::to_owned).collect(),
    };
    let mode = match modes.as_slice() {
        [only] => PoolingMode::ALL.into_iter().find(|mode| mode.name() == only),
        _ => None,
    };
    let Some(mode) = mode else {
        let value = if modes.is_empty() {
            "none, because every flag is false".to_owned()
        } else {
            modes.join(" and ")
        };
        let supported = PoolingMode::ALL.map(PoolingMode::name).join(", ");
        return Err(settings.unsupported("pooling_mode", &value, &supported));
    };
    let include_prompt = settings.flag("include_prompt")?.unwrap_or(true);
    if !include_prompt && mode == PoolingMode::Cls {
        let supported =
            "true for cls pooling, because releases of sentence-transformers differ in the effect of false";
        return Err(settings.unsupported("include_prompt", "false", supported));
    }
    settings.refuse_others(&[])?;
    Ok(Pooling { mode, include_prompt })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::error_code::ErrorCode;

    fn read(text: &str) -> Result<Pooling> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("1_Pooling")).unwrap();
        std::fs::write(dir.path().join("1_Pooling/config.json"), text).unwrap();
        read_pooling(&ModelFolder::open(dir.path(), None).unwrap(), "1_Pooling", 64)
    }

    #[test]
    fn equivalent_pooling_settings_are_read_alike() {
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
            assert_eq!(read(text).unwrap(), pooling, "{text}");
        }
    }

    #[test]
    fn an_unsupported_or_contradictory_pooling_is_refused() {
        for (text, code, says) in [
            (r#"{"pooling_mode": "max"}"#, ErrorCode::ModelUnsupported, "pooling_mode is max"),
            (r#"{"pooling_mode": "Mean"}"#, ErrorCode::ModelUnsupported, "pooling_mode is Mean"),
            (r#"{"pooling_mode": ["cls", "mean"]}"#, ErrorCode::ModelUnsupported, "cls and mean"),
            (r#"{"pooling_mode": []}"#, ErrorCode::ModelUnsupported, "none"),
            (r#"{"pooling_mode_mean_tokens": false}"#, ErrorCode::ModelUnsupported, "every flag is false"),
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
                "pooling_mode is cls, but the pooling_mode_… flags that are true are mean",
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
            let error = read(text).unwrap_err();
            assert_eq!(error.code(), code, "{error}");
            assert!(error.to_string().contains(says), "{error}");
        }
    }

    #[test]
    fn the_mode_selects_the_tokens_that_count() {
        let tokens = |mode, left_out| Pooling { mode, include_prompt: false }.token_range(3..8, left_out);
        assert_eq!(PoolingMode::ALL.map(|mode| tokens(mode, 0)), [3..8, 3..4, 7..8]);
        assert_eq!(PoolingMode::ALL.map(|mode| tokens(mode, 2)), [5..8, 3..4, 7..8]);
        assert_eq!(tokens(PoolingMode::Mean, 9), 8..8, "a prompt longer than the text");
    }
}
