//! The settings of one JSON file. Each of them is taken, refused, or known to have no effect.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use crate::base::error::{Error, Result};
use crate::files::folder::ModelFolder;
use crate::files::json::{OneReading, once_each};

/// Characters of a value, and of a key, that messages show.
const SHOWN: usize = 100;
/// Names that a message shows.
const SHOWN_KEYS: usize = 20;

/// What becomes of a setting that nothing takes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rule {
    /// It may have any value: nothing of what is computed here depends on it.
    NoEffect,
    /// It must have one of these values, written as JSON; `null` always serves.
    Only(&'static [&'static str]),
}

/// An object in a file.
#[derive(Deserialize)]
#[serde(transparent)]
struct Raw(#[serde(deserialize_with = "once_each")] BTreeMap<String, OneReading>);

/// The settings of a file, or of an object in it, that were not taken yet. `null` is as good as no setting.
#[derive(Debug)]
pub(crate) struct Settings {
    path: PathBuf,
    /// The names of the objects around the keys, which messages put before them.
    inside: String,
    values: BTreeMap<String, Value>,
    /// Whether there were no keys at all.
    is_blank: bool,
}

impl Settings {
    /// Reads the settings of a file.
    ///
    /// # Errors
    /// Those of [`ModelFolder::read_json`], also for a key that stands twice.
    pub(crate) fn read(folder: &ModelFolder, file: &str, needed_for: &str) -> Result<Self> {
        let Raw(values) = folder.read_json(file, needed_for)?;
        let values = values.into_iter().map(|(key, OneReading(value))| (key, value)).collect();
        Ok(Self::of(folder.path(file), String::new(), values))
    }

    /// Reads the settings of a file that need not be there.
    ///
    /// # Errors
    /// Those of [`Self::read`], but for a file that is missing.
    pub(crate) fn read_if_there(folder: &ModelFolder, file: &str, needed_for: &str) -> Result<Self> {
        // Whatever lies there is opened: a folder of this name is no reason to go on without the file.
        if folder.lists(file)? {
            return Self::read(folder, file, needed_for);
        }
        Ok(Self::of(folder.path(file), String::new(), BTreeMap::new()))
    }

    /// Reads a list of objects of settings. Messages count them from 0.
    ///
    /// # Errors
    /// Those of [`Self::read`].
    pub(crate) fn read_list(folder: &ModelFolder, file: &str, needed_for: &str) -> Result<Vec<Self>> {
        let list: Vec<Raw> = folder.read_json(file, needed_for)?;
        let of = |(at, Raw(values)): (usize, Raw)| {
            let values = values.into_iter().map(|(key, OneReading(value))| (key, value)).collect();
            Self::of(folder.path(file), format!("[{at}]."), values)
        };
        Ok(list.into_iter().enumerate().map(of).collect())
    }

    fn of(path: PathBuf, inside: String, mut values: BTreeMap<String, Value>) -> Self {
        let is_blank = values.is_empty();
        values.retain(|_, value| !value.is_null());
        Self { path, inside, values, is_blank }
    }

    /// Takes an object of settings.
    pub(crate) fn object(&mut self, key: &str) -> Result<Option<Self>> {
        let inside = format!("{}{key}.", self.inside);
        let path = self.path.clone();
        let values = self.take(key, "an object", |value| match value {
            Value::Object(members) => Some(members.into_iter().collect()),
            _ => None,
        })?;
        Ok(values.map(|values| Self::of(path, inside, values)))
    }

    /// Takes an object whose keys are names that somebody chose.
    pub(crate) fn entries(&mut self, key: &str) -> Result<Option<BTreeMap<String, Value>>> {
        self.take(key, "an object", |value| match value {
            Value::Object(members) => Some(members.into_iter().collect()),
            _ => None,
        })
    }

    /// Takes a text.
    pub(crate) fn text(&mut self, key: &str) -> Result<Option<String>> {
        self.take(key, "a string", |value| match value {
            Value::String(text) => Some(text),
            _ => None,
        })
    }

    /// Takes a text, or several in a list.
    pub(crate) fn texts(&mut self, key: &str) -> Result<Option<Vec<String>>> {
        self.take(key, "a string or a list of strings", |value| match value {
            Value::String(text) => Some(vec![text]),
            Value::Array(items) => items.into_iter().map(|item| item.as_str().map(str::to_owned)).collect(),
            _ => None,
        })
    }

    /// Takes a flag.
    pub(crate) fn flag(&mut self, key: &str) -> Result<Option<bool>> {
        self.take(key, "true or false", |value| value.as_bool())
    }

    /// Takes a number.
    pub(crate) fn number(&mut self, key: &str) -> Result<Option<f64>> {
        self.take(key, "a number", |value| value.as_f64().filter(|x| x.is_finite()))
    }

    /// Takes a whole number of at least `least` and below `end`.
    pub(crate) fn count(&mut self, key: &str, least: usize, end: usize) -> Result<Option<usize>> {
        let wanted = format!("a whole number of {least} to {}", end - 1);
        // Python writes some whole numbers with a fraction of zero.
        let whole = |x: f64| (x.fract() == 0.0 && x >= 0.0 && x < end as f64).then_some(x as usize);
        self.take(key, &wanted, |value| {
            let number =
                value.as_u64().and_then(|n| usize::try_from(n).ok()).or(value.as_f64().and_then(whole));
            number.filter(|n| (least..end).contains(n))
        })
    }

    /// Takes a token, which is a text or an object that holds it.
    pub(crate) fn token(&mut self, key: &str) -> Result<Option<String>> {
        self.take(key, "a token", |value| content(&value))
    }

    /// Takes several tokens, in a list or under names.
    pub(crate) fn tokens(&mut self, key: &str) -> Result<Option<Vec<String>>> {
        self.take(key, "a list of tokens", |value| match value {
            Value::Array(tokens) => tokens.iter().map(content).collect(),
            Value::Object(tokens) => tokens.values().map(content).collect(),
            _ => None,
        })
    }

    /// Takes all settings.
    pub(crate) fn take_all(&mut self) -> BTreeMap<String, Value> {
        std::mem::take(&mut self.values)
    }

    /// Takes `auto_map`, and tells whether it names Python code of the folder's own for a class of transformers.
    pub(crate) fn names_code(&mut self, class: &str) -> bool {
        let is_name = |value: &Value| value.as_str().is_some_and(|name| !name.is_empty());
        self.any("auto_map").and_then(|map| map.get(class).cloned()).is_some_and(|code| match code {
            // The classes of the slow and the fast tokenizer.
            Value::Array(classes) => classes.iter().any(is_name),
            code => is_name(&code),
        })
    }

    /// Whether there are no settings, or none that were not taken yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Whether there were no keys at all, not even one with `null`.
    pub(crate) fn is_blank(&self) -> bool {
        self.is_blank
    }

    /// Whether a setting is there.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes any value.
    pub(crate) fn any(&mut self, key: &str) -> Option<Value> {
        self.values.remove(key)
    }

    /// Takes a setting that must be there.
    pub(crate) fn required<T>(&self, key: &str, value: Option<T>) -> Result<T> {
        value.ok_or_else(|| self.invalid(format!("{}{key} is missing", self.inside)))
    }

    /// Refuses a setting unless it has one of the values, written as JSON.
    pub(crate) fn only(&mut self, key: &str, supported: &[&str]) -> Result<()> {
        match self.values.remove(key) {
            Some(value) if !supported.contains(&value.to_string().as_str()) => {
                let supported = if supported.is_empty() { "null" } else { &supported.join(" and ") };
                Err(self.unsupported(key, &shown(&value), supported))
            }
            _ => Ok(()),
        }
    }

    /// The one value of a setting that is written under several names: all that are there must agree.
    pub(crate) fn agreed<T: PartialEq>(
        &mut self,
        keys: &[&str],
        mut take: impl FnMut(&mut Self, &str) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let mut first: Option<(&str, String, T)> = None;
        for &key in keys {
            let written = self.values.get(key).map(shown).unwrap_or_default();
            let Some(value) = take(self, key)? else { continue };
            match &first {
                Some((other, other_written, agreed)) if *agreed != value => {
                    let inside = &self.inside;
                    return Err(self.inconsistent(format!(
                        "{inside}{other} is {other_written}, but {inside}{key} is {written}; they say the same thing and \
                         must agree"
                    )));
                }
                Some(_) => {}
                None => first = Some((key, written, value)),
            }
        }
        Ok(first.map(|(_, _, value)| value))
    }

    /// Applies the rules to what was not taken, and returns the keys for which there is no rule.
    fn rest(&mut self, rules: &[(&str, Rule)]) -> Result<Vec<String>> {
        for &(key, rule) in rules {
            match rule {
                Rule::NoEffect => drop(self.values.remove(key)),
                Rule::Only(values) => self.only(key, values)?,
            }
        }
        Ok(self.take_all().into_keys().map(|key| format!("{}{}", self.inside, cut(&key))).collect())
    }

    /// Applies the rules to what was not taken, and refuses a key for which there is none.
    pub(crate) fn nothing_else(&mut self, rules: &[(&str, Rule)]) -> Result<()> {
        let unknown = self.rest(rules)?;
        if unknown.is_empty() {
            return Ok(());
        }
        let reason = format!("{} is not known here, and may change the vectors", listed(&unknown));
        Err(Error::Unsupported { path: self.path.clone(), reason })
    }

    /// Applies the rules to the rest, and warns of keys without a rule. The Python libraries do not look at those either.
    pub(crate) fn warn_of_others(&mut self, rules: &[(&str, Rule)]) -> Result<()> {
        let unknown = self.rest(rules)?;
        if !unknown.is_empty() {
            let names = listed(&unknown);
            log::warn!(
                "{}: settings that are not known here and have no effect: {names}",
                self.path.display()
            );
        }
        Ok(())
    }

    fn take<T>(
        &mut self,
        key: &str,
        wanted: &str,
        read: impl FnOnce(Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.values.remove(key) else { return Ok(None) };
        let written = shown(&value);
        match read(value) {
            Some(value) => Ok(Some(value)),
            None => Err(self.invalid(format!("{}{key} is {written}; it must be {wanted}", self.inside))),
        }
    }

    /// Refuses a value that no model can have.
    pub(crate) fn invalid(&self, reason: String) -> Error {
        Error::FileInvalid { path: self.path.clone(), reason, source: None }
    }

    /// Refuses a value that is not computed here.
    pub(crate) fn unsupported(&self, key: &str, value: &str, supported: &str) -> Error {
        let reason = format!("{}{key} is {value}; supported is {supported}", self.inside);
        Error::Unsupported { path: self.path.clone(), reason }
    }

    /// Refuses a value that another one contradicts.
    pub(crate) fn inconsistent(&self, reason: String) -> Error {
        Error::Inconsistent { path: self.path.clone(), reason }
    }
}

/// The text of a token.
fn content(token: &Value) -> Option<String> {
    token.as_str().or_else(|| token.get("content")?.as_str()).map(str::to_owned)
}

/// A value as messages show it.
pub(crate) fn shown(value: &Value) -> String {
    cut(&value.to_string())
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The first of several names, as messages show them, and how many more there are.
pub(crate) fn listed<S: AsRef<str>>(names: &[S]) -> String {
    let more = names.len().saturating_sub(SHOWN_KEYS);
    let shown = names.iter().take(SHOWN_KEYS).map(|name| cut(name.as_ref())).collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}
