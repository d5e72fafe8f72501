//! The prompts of a model: named texts that it was trained to see before a query or another kind of text.

use serde_json::Value;

use crate::base::error::{Error, Result};
use crate::base::message::{listed, shown};
use crate::files::file_names::PROMPTS_FILE;
use crate::files::folder::ModelFolder;
use crate::files::settings::{Rule, Settings};

/// A prompt of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// The name.
    pub name: String,
    /// The text that precedes the text of a call.
    pub text: String,
    /// Whether the prompt comes from the Stella v5 model cards, because the folder lacks it.
    pub from_card: bool,
}

/// A prompt of the model cards, with a short alias.
struct WellKnown {
    alias: &'static str,
    name: &'static str,
    text: &'static str,
}

/// The prompts of the Stella v5 model cards.
const WELL_KNOWN: [WellKnown; 2] = [
    WellKnown {
        alias: "s2p",
        name: "s2p_query",
        text: "Instruct: Given a web search query, retrieve relevant passages that answer the query.\nQuery: ",
    },
    WellKnown {
        alias: "s2s",
        name: "s2s_query",
        text: "Instruct: Retrieve semantically similar text.\nQuery: ",
    },
];

/// The name that selects no prompt, unless the folder has a prompt of this name.
pub const DOCUMENT: &str = "document";

/// The prompts of one model, sorted by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompts {
    all: Vec<Prompt>,
    default: Option<usize>,
}

impl Prompts {
    /// Reads the prompts of a folder. If the folder has Stella heads (`has_dense`), prompts that it lacks come from the Stella
    /// v5 model cards.
    ///
    /// # Errors
    /// Those of [`ModelFolder::read_json`], except that the file may be missing; [`Error::Unsupported`] for settings that
    /// are not supported; [`Error::Inconsistent`] for settings that contradict each other.
    pub fn read(folder: &ModelFolder, has_dense: bool) -> Result<Self> {
        let mut settings = Settings::read_if_there(folder, PROMPTS_FILE, "it contains the prompts")?;
        let mut all = Vec::new();
        if let Some(named) = settings.entries("prompts")? {
            for (name, text) in named {
                let text = match text {
                    Value::String(text) => text,
                    Value::Null => String::new(),
                    other => {
                        return Err(settings
                            .invalid(format!("prompts.{name} is {}. It must be a string.", shown(&other))));
                    }
                };
                all.push(Prompt { name, text, from_card: false });
            }
        }
        let default = settings.text("default_prompt_name")?;
        if has_dense {
            let missing = |known: &&WellKnown| all.iter().all(|prompt| prompt.name != known.name);
            let missing: Vec<_> = WELL_KNOWN.iter().filter(missing).collect();
            for WellKnown { name, text, .. } in missing {
                log::warn!(
                    "{} has no prompt {name}. The prompt of the Stella v5 model card is used instead.",
                    folder.path(PROMPTS_FILE).display()
                );
                all.push(Prompt { name: (*name).to_owned(), text: (*text).to_owned(), from_card: true });
            }
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        let default = match default {
            None => None,
            Some(name) => {
                let is_default = |prompt: &Prompt| prompt.name == name && !prompt.from_card;
                Some(all.iter().position(is_default).ok_or_else(|| {
                    let own = all.iter().filter(|prompt| !prompt.from_card);
                    let names = listed(&own.map(|prompt| &prompt.name).collect::<Vec<_>>());
                    let available = if names.is_empty() {
                        "The file has no prompts.".to_owned()
                    } else {
                        format!("The prompts are {names}.")
                    };
                    settings.inconsistent(format!(
                        "default_prompt_name is {}, but the file has no prompt of this name. {available}",
                        shown(&Value::from(name.as_str()))
                    ))
                })?)
            }
        };
        settings.only("model_type", &["\"SentenceTransformer\""])?;
        // Not supported, because the caller chooses the dimension.
        settings.only("truncate_dim", &[])?;
        settings.warn_of_others(&[
            ("__version__", Rule::NoEffect),
            ("requirements", Rule::NoEffect),
            ("similarity_fn_name", Rule::NoEffect),
        ])?;
        Ok(Self { all, default })
    }

    /// Returns all prompts.
    pub fn all(&self) -> &[Prompt] {
        &self.all
    }

    /// Returns the index in [`Self::all`] of the default prompt, which applies if a call names no prompt.
    pub fn default(&self) -> Option<usize> {
        self.default
    }

    /// Returns the index in [`Self::all`] of the prompt that a caller calls `name`, or `None` for no prompt.
    ///
    /// # Errors
    /// [`Error::UnknownPrompt`]
    pub fn find(&self, name: Option<&str>) -> Result<Option<usize>> {
        let Some(name) = name else { return Ok(self.default) };
        let position = |name: &str| self.all.iter().position(|prompt| prompt.name == name);
        if let Some(at) = position(name) {
            return Ok(Some(at));
        }
        if name.eq_ignore_ascii_case(DOCUMENT) {
            return Ok(position(DOCUMENT));
        }
        let known = WELL_KNOWN.iter().find(|known| name.eq_ignore_ascii_case(known.alias));
        known.and_then(|known| position(known.alias).or_else(|| position(known.name))).map(Some).ok_or_else(
            || Error::UnknownPrompt {
                asked: name.to_owned(),
                available: self.all.iter().map(|prompt| prompt.name.clone()).collect(),
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorCode;

    fn read(json: &str, has_dense: bool) -> Result<Prompts> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(PROMPTS_FILE), json).unwrap();
        Prompts::read(&ModelFolder::open(dir.path(), None).unwrap(), has_dense)
    }

    fn text<'a>(prompts: &'a Prompts, name: Option<&str>) -> Result<&'a str> {
        Ok(prompts.find(name)?.map_or("", |at| &prompts.all()[at].text))
    }

    #[test]
    fn the_model_card_supplies_the_prompts_that_a_folder_with_heads_lacks() {
        let prompts = read(r#"{"prompts": {"s2p_query": "find: "}}"#, true).unwrap();
        for name in ["s2p", "S2P", "s2p_query"] {
            assert_eq!(text(&prompts, Some(name)).unwrap(), "find: ", "{name}");
        }
        assert!(text(&prompts, Some("s2s")).unwrap().contains("similar text"));
        assert_eq!(prompts.all().iter().map(|p| p.from_card).collect::<Vec<_>>(), [false, true]);
        assert_eq!(text(&prompts, Some("Document")).unwrap(), "");
        assert_eq!(text(&prompts, None).unwrap(), "");
    }

    #[test]
    fn a_folder_without_heads_gets_no_prompts_from_the_model_card() {
        let prompts = read(r#"{"prompts": {"query": "find: ", "passage": null}}"#, false).unwrap();
        assert_eq!(text(&prompts, Some("query")).unwrap(), "find: ");
        assert_eq!(text(&prompts, Some("passage")).unwrap(), "");
        for name in ["s2p", "s2p_query", "Query", ""] {
            let error = text(&prompts, Some(name)).unwrap_err();
            assert_eq!(error.code(), ErrorCode::UnknownPrompt, "{name}");
            assert!(error.to_string().contains("passage, query"), "{error}");
        }
        let none = read("{}", false).unwrap().find(Some("query")).unwrap_err().to_string();
        assert!(none.contains("It has no prompts"), "{none}");
    }

    #[test]
    fn a_prompt_of_the_folder_wins_over_an_alias_of_the_same_name() {
        let json = r#"{"prompts": {"document": "passage: ", "s2p": "mine: ", "s2p_query": "other: "}}"#;
        for has_dense in [false, true] {
            let prompts = read(json, has_dense).unwrap();
            let all = ["document", "DOCUMENT", "s2p", "S2P", "s2p_query"];
            let texts = all.map(|name| text(&prompts, Some(name)).unwrap());
            assert_eq!(texts, ["passage: ", "passage: ", "mine: ", "mine: ", "other: "]);
        }
    }

    #[test]
    fn the_default_prompt_applies_if_no_prompt_is_named() {
        let prompts =
            read(r#"{"prompts": {"query": "q: "}, "default_prompt_name": "query"}"#, false).unwrap();
        assert_eq!(text(&prompts, None).unwrap(), "q: ");
        assert_eq!(text(&prompts, Some("document")).unwrap(), "");
        let unknown =
            read(r#"{"prompts": {"query": "q: "}, "default_prompt_name": "Query"}"#, false).unwrap_err();
        assert!(
            unknown
                .to_string()
                .contains("\"Query\", but the file has no prompt of this name. The prompts are query."),
            "{unknown}"
        );
        let of_the_card = read(r#"{"default_prompt_name": "s2p_query"}"#, true).unwrap_err();
        assert_eq!(of_the_card.code(), ErrorCode::ModelInconsistent);
        assert!(of_the_card.to_string().contains("The file has no prompts."), "{of_the_card}");
    }

    #[test]
    fn unsupported_prompt_settings_are_refused() {
        for json in [
            r#"{"prompts": {"query": 1}}"#,
            r#"{"prompts": ["query"]}"#,
            r#"{"truncate_dim": 256}"#,
            r#"{"model_type": "SparseEncoder"}"#,
        ] {
            read(json, true).unwrap_err();
        }
    }

    #[test]
    fn the_model_card_does_not_replace_a_prompts_file_that_is_removed_after_the_folder_was_pinned() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(PROMPTS_FILE), "{}").unwrap();
        let folder = ModelFolder::open_pinned(dir.path(), None).unwrap();
        std::fs::remove_file(dir.path().join(PROMPTS_FILE)).unwrap();
        let text = Prompts::read(&folder, true).unwrap_err().to_string();
        assert!(text.contains(PROMPTS_FILE) && text.contains("was removed since"), "{text}");

        let folder = ModelFolder::open_pinned(dir.path(), None).unwrap();
        std::fs::write(dir.path().join(PROMPTS_FILE), "not JSON").unwrap();
        let read = Prompts::read(&folder, true).unwrap();
        assert!(
            read.all().iter().all(|prompt| prompt.from_card),
            "a file that is created after the folder was pinned is not read"
        );
    }
}
