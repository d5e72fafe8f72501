//! The settings of one JSON file. A reader takes each setting that it knows, and refuses or ignores the rest by rules.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use crate::base::error::{Error, Result};
use crate::base::message::{listed, shortened, shown};
use crate::files::folder::ModelFolder;
use crate::files::json::{UniqueKeys, unique_keys};

/// The rule for a setting that the reader does not take.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rule {
    /// Any value is accepted, because no result of this library depends on it.
    NoEffect,
    /// Only these values are accepted, written as JSON; `null` is accepted too.
    Only(&'static [&'static str]),
}

/// A JSON object of a file.
#[derive(Deserialize)]
#[serde(transparent)]
struct Raw(#[serde(deserialize_with = "unique_keys")] BTreeMap<String, UniqueKeys>);

/// The settings of a file, or of an object in it, that were not taken yet. A setting of `null` counts as missing.
#[derive(Debug)]
pub(crate) struct Settings {
    path: PathBuf,
    /// The path of the object inside the file. Messages put it before a key.
    inside: String,
    values: BTreeMap<String, Value>,
    /// Whether the object had no keys, not even one with `null`.
    is_blank: bool,
}

impl Settings {
    /// Reads the settings of a file.
    ///
    /// # Errors
    /// Those of [`ModelFolder::read_json`], also for a duplicate key.
    pub(crate) fn read(folder: &ModelFolder, file: &str, needed_for: &str) -> Result<Self> {
        let Raw(values) = folder.read_json(file, needed_for)?;
        let values = values.into_iter().map(|(key, UniqueKeys(value))| (key, value)).collect();
        Ok(Self::new(folder.path(file), String::new(), values))
    }

    /// Reads the settings of an optional file. A missing file has no settings.
    ///
    /// # Errors
    /// Those of [`Self::read`], except for a missing file.
    pub(crate) fn read_if_there(folder: &ModelFolder, file: &str, needed_for: &str) -> Result<Self> {
        // Anything with this name is opened, so that a folder with the name of the file is an error.
        if folder.lists(file)? {
            return Self::read(folder, file, needed_for);
        }
        Ok(Self::new(folder.path(file), String::new(), BTreeMap::new()))
    }

    /// Reads a list of settings objects. Messages count them from 0.
    ///
    /// # Errors
    /// Those of [`Self::read`].
    pub(crate) fn read_list(folder: &ModelFolder, file: &str, needed_for: &str) -> Result<Vec<Self>> {
        let list: Vec<Raw> = folder.read_json(file, needed_for)?;
        let settings = |(at, Raw(values)): (usize, Raw)| {
            let values = values.into_iter().map(|(key, UniqueKeys(value))| (key, value)).collect();
            Self::new(folder.path(file), format!("[{at}]."), values)
        };
        Ok(list.into_iter().enumerate().map(settings).collect())
    }

    fn new(path: PathBuf, inside: String, mut values: BTreeMap<String, Value>) -> Self {
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
        Ok(values.map(|values| Self::new(path, inside, values)))
    }

    /// Takes an object whose keys are free names, such as the names of prompts.
    pub(crate) fn entries(&mut self, key: &str) -> Result<Option<BTreeMap<String, Value>>> {
        self.take(key, "an object", |value| match value {
            Value::Object(members) => Some(members.into_iter().collect()),
            _ => None,
        })
    }

    /// Takes a string.
    pub(crate) fn text(&mut self, key: &str) -> Result<Option<String>> {
        self.take(key, "a string", |value| match value {
            Value::String(text) => Some(text),
            _ => None,
        })
    }

    /// Takes a string or a list of strings.
    pub(crate) fn texts(&mut self, key: &str) -> Result<Option<Vec<String>>> {
        self.take(key, "a string or a list of strings", |value| match value {
            Value::String(text) => Some(vec![text]),
            Value::Array(items) => items.into_iter().map(|item| item.as_str().map(str::to_owned)).collect(),
            _ => None,
        })
    }

    /// Takes a Boolean.
    pub(crate) fn flag(&mut self, key: &str) -> Result<Option<bool>> {
        self.take(key, "true or false", |value| value.as_bool())
    }

    /// Takes a number.
    pub(crate) fn number(&mut self, key: &str) -> Result<Option<f64>> {
        self.take(key, "a number", |value| value.as_f64().filter(|x| x.is_finite()))
    }

    /// Takes a whole number of at least `least` and below `end`.
    pub(crate) fn count(&mut self, key: &str, least: usize, end: usize) -> Result<Option<usize>> {
        let expected = format!("a whole number from {least} to {}", end - 1);
        // Python writes some whole numbers with a fraction, such as 16.0.
        let whole = |x: f64| (x.fract() == 0.0 && x >= 0.0 && x < end as f64).then_some(x as usize);
        self.take(key, &expected, |value| {
            let number =
                value.as_u64().and_then(|n| usize::try_from(n).ok()).or(value.as_f64().and_then(whole));
            number.filter(|n| (least..end).contains(n))
        })
    }

    /// Takes a token: a string, or an object with the string as `content`.
    pub(crate) fn token(&mut self, key: &str) -> Result<Option<String>> {
        self.take(key, "a token", |value| content(&value))
    }

    /// Takes a list of tokens, or an object whose values are tokens.
    pub(crate) fn tokens(&mut self, key: &str) -> Result<Option<Vec<String>>> {
        self.take(key, "a list of tokens", |value| match value {
            Value::Array(tokens) => tokens.iter().map(content).collect(),
            Value::Object(tokens) => tokens.values().map(content).collect(),
            _ => None,
        })
    }

    /// Takes all remaining settings.
    pub(crate) fn take_all(&mut self) -> BTreeMap<String, Value> {
        std::mem::take(&mut self.values)
    }

    /// Takes `auto_map`, and returns whether it names Python code in the folder for a class of transformers.
    pub(crate) fn names_code(&mut self, class: &str) -> bool {
        let is_name = |value: &Value| value.as_str().is_some_and(|name| !name.is_empty());
        self.any("auto_map").and_then(|map| map.get(class).cloned()).is_some_and(|code| match code {
            // A pair: the classes of the slow and the fast tokenizer.
            Value::Array(classes) => classes.iter().any(is_name),
            code => is_name(&code),
        })
    }

    /// Returns whether no settings remain.
    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Returns whether the object had no keys, not even one with `null`.
    pub(crate) fn is_blank(&self) -> bool {
        self.is_blank
    }

    /// Returns whether a setting is present and not taken yet.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    /// Gets the path of the file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes a value of any type.
    pub(crate) fn any(&mut self, key: &str) -> Option<Value> {
        self.values.remove(key)
    }

    /// Returns the value of a required setting.
    pub(crate) fn required<T>(&self, key: &str, value: Option<T>) -> Result<T> {
        value.ok_or_else(|| self.invalid(format!("{}{key} is missing.", self.inside)))
    }

    /// Takes a setting, and refuses a value other than these, written as JSON.
    pub(crate) fn only(&mut self, key: &str, supported: &[&str]) -> Result<()> {
        match self.values.remove(key) {
            Some(value) if !supported.contains(&value.to_string().as_str()) => {
                let supported = if supported.is_empty() { "null" } else { &supported.join(" and ") };
                Err(self.unsupported(key, &shown(&value), supported))
            }
            _ => Ok(()),
        }
    }

    /// Takes a setting that has several names. The values of all names in the file must agree.
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
                        "{inside}{other} is {other_written}, but {inside}{key} is {written}. Both are names of the same \
                         setting, so they must agree."
                    )));
                }
                Some(_) => {}
                None => first = Some((key, written, value)),
            }
        }
        Ok(first.map(|(_, _, value)| value))
    }

    /// Applies the rules to the remaining settings, and returns the keys that have no rule.
    fn apply_rules(&mut self, rules: &[(&str, Rule)]) -> Result<Vec<String>> {
        for &(key, rule) in rules {
            match rule {
                Rule::NoEffect => drop(self.values.remove(key)),
                Rule::Only(values) => self.only(key, values)?,
            }
        }
        Ok(self.take_all().into_keys().map(|key| format!("{}{}", self.inside, shortened(&key))).collect())
    }

    /// Applies the rules to the remaining settings, and refuses keys that have no rule.
    pub(crate) fn refuse_others(&mut self, rules: &[(&str, Rule)]) -> Result<()> {
        let unknown = self.apply_rules(rules)?;
        if unknown.is_empty() {
            return Ok(());
        }
        let names = listed(&unknown);
        let reason = format!(
            "Unknown settings, which may change the vectors: {names}. Remove them if they have no effect."
        );
        Err(Error::Unsupported { path: self.path.clone(), reason })
    }

    /// Applies the rules to the remaining settings, and logs a warning about keys that have no rule. The Python libraries
    /// ignore these keys too.
    pub(crate) fn warn_of_others(&mut self, rules: &[(&str, Rule)]) -> Result<()> {
        let unknown = self.apply_rules(rules)?;
        if !unknown.is_empty() {
            let names = listed(&unknown);
            log::warn!("{}: Unknown settings are ignored: {names}.", self.path.display());
        }
        Ok(())
    }

    fn take<T>(
        &mut self,
        key: &str,
        expected: &str,
        read: impl FnOnce(Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.values.remove(key) else { return Ok(None) };
        let written = shown(&value);
        match read(value) {
            Some(value) => Ok(Some(value)),
            None => Err(self.invalid(format!("{}{key} is {written}. It must be {expected}.", self.inside))),
        }
    }

    /// Returns the error for an invalid value. `reason` is a sentence.
    pub(crate) fn invalid(&self, reason: String) -> Error {
        Error::FileInvalid { path: self.path.clone(), reason, source: None }
    }

    /// Returns the error for a value that this library does not support. `supported` lists the supported values.
    pub(crate) fn unsupported(&self, key: &str, value: &str, supported: &str) -> Error {
        let reason = format!("{}{key} is {value}. Supported: {supported}.", self.inside);
        Error::Unsupported { path: self.path.clone(), reason }
    }

    /// Returns the error for a value that contradicts another one. `reason` is a sentence.
    pub(crate) fn inconsistent(&self, reason: String) -> Error {
        Error::Inconsistent { path: self.path.clone(), reason }
    }
}

/// Returns the string of a token.
fn content(token: &Value) -> Option<String> {
    token.as_str().or_else(|| token.get("content")?.as_str()).map(str::to_owned)
}
