//! The texts that a model was trained to see before a text of some kind, by the names that its folder gives them.

use serde_json::Value;

use crate::base::error::{Error, Result};
use crate::base::message::{listed, shown};
use crate::files::file_names::PROMPTS_FILE;
use crate::files::folder::ModelFolder;
use crate::files::settings::{Rule, Settings};

/// A prompt of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// Its name.
    pub name: String,
    /// The text that is put before a text.
    pub text: String,
    /// Whether the folder lacks it, so that the text is that of Stella's model cards.
    pub from_card: bool,
}

/// A prompt that is known under a name of its own beside the one in the folder.
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

/// The name for nothing before the text, unless the folder has a prompt of this name.
pub const DOCUMENT: &str = "document";

/// The prompts of one model, in the order of their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompts {
    all: Vec<Prompt>,
    default: Option<usize>,
}

impl Prompts {
    /// The prompts that the folder gives. A folder with Stella's heads gets the prompts that it lacks from the cards.
    ///
    /// # Errors
    /// Those of [`ModelFolder::read_json`], but a missing file is no error; [`Error::Unsupported`] and
    /// [`Error::Inconsistent`] for settings that are not computed here or contradict each other.
    pub fn read(folder: &ModelFolder, has_dense: bool) -> Result<Self> {
        let mut settings = Settings::read_if_there(folder, PROMPTS_FILE, "it holds the prompts")?;
        let mut all = Vec::new();
        if let Some(named) = settings.entries("prompts")? {
            for (name, text) in named {
                let text = match text {
                    Value::String(text) => text,
                    Value::Null => String::new(),
                    other => {
                        return Err(settings
                            .invalid(format!("prompts.{name} is {}; it must be a string", shown(&other))));
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
                    "{} has no prompt {name}; that of the model card of Stella v5 stands in for it",
                    folder.path(PROMPTS_FILE).display()
                );
                all.push(Prompt { name: (*name).to_owned(), text: (*text).to_owned(), from_card: true });
            }
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        let default = match default {
            None => None,
            Some(name) => {
                let is_it = |prompt: &Prompt| prompt.name == name && !prompt.from_card;
                Some(all.iter().position(is_it).ok_or_else(|| {
                    let own = all.iter().filter(|prompt| !prompt.from_card);
                    let names = listed(&own.map(|prompt| &prompt.name).collect::<Vec<_>>());
                    let has = if names.is_empty() {
                        "there are none".to_owned()
                    } else {
                        format!("they are {names}")
                    };
                    settings.inconsistent(format!(
                        "default_prompt_name is {}, which is not among the prompts: {has}",
                        shown(&Value::from(name.as_str()))
                    ))
                })?)
            }
        };
        settings.only("model_type", &["\"SentenceTransformer\""])?;
        // The dimension of a call does the same.
        settings.only("truncate_dim", &[])?;
        settings.warn_of_others(&[
            ("__version__", Rule::NoEffect),
            ("requirements", Rule::NoEffect),
            ("similarity_fn_name", Rule::NoEffect),
        ])?;
        Ok(Self { all, default })
    }

    /// All of them.
    pub fn all(&self) -> &[Prompt] {
        &self.all
    }

    /// The number of the default prompt among all prompts, for texts without a named one.
    pub fn default(&self) -> Option<usize> {
        self.default
    }

    /// The number among all prompts of the one that a caller means by `name`; `None` for nothing before the text.
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
    fn the_folder_wins_and_the_card_fills_the_gap_where_there_are_heads() {
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
    fn a_folder_without_heads_has_its_own_prompts_only() {
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
    fn a_prompt_of_the_folder_with_a_well_known_name_is_meant_by_it() {
        let json = r#"{"prompts": {"document": "passage: ", "s2p": "mine: ", "s2p_query": "other: "}}"#;
        for has_dense in [false, true] {
            let prompts = read(json, has_dense).unwrap();
            let all = ["document", "DOCUMENT", "s2p", "S2P", "s2p_query"];
            let texts = all.map(|name| text(&prompts, Some(name)).unwrap());
            assert_eq!(texts, ["passage: ", "passage: ", "mine: ", "mine: ", "other: "]);
        }
    }

    #[test]
    fn the_default_is_for_those_who_name_none() {
        let prompts =
            read(r#"{"prompts": {"query": "q: "}, "default_prompt_name": "query"}"#, false).unwrap();
        assert_eq!(text(&prompts, None).unwrap(), "q: ");
        assert_eq!(text(&prompts, Some("document")).unwrap(), "");
        let unknown =
            read(r#"{"prompts": {"query": "q: "}, "default_prompt_name": "Query"}"#, false).unwrap_err();
        assert!(unknown.to_string().contains("\"Query\", which is not among"), "{unknown}");
        let of_the_card = read(r#"{"default_prompt_name": "s2p_query"}"#, true).unwrap_err();
        assert_eq!(of_the_card.code(), ErrorCode::ModelInconsistent);
        assert!(of_the_card.to_string().contains("there are none"), "{of_the_card}");
    }

    #[test]
    fn what_is_not_computed_is_refused() {
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
    fn a_prompts_file_that_is_removed_after_the_pin_is_not_replaced_by_the_card() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(PROMPTS_FILE), "{}").unwrap();
        let folder = ModelFolder::open_pinned(dir.path(), None).unwrap();
        std::fs::remove_file(dir.path().join(PROMPTS_FILE)).unwrap();
        let text = Prompts::read(&folder, true).unwrap_err().to_string();
        assert!(text.contains(PROMPTS_FILE) && text.contains("was removed since"), "{text}");

        let folder = ModelFolder::open_pinned(dir.path(), None).unwrap();
        std::fs::write(dir.path().join(PROMPTS_FILE), "not JSON").unwrap();
        let read = Prompts::read(&folder, true).unwrap();
        assert!(read.all().iter().all(|prompt| prompt.from_card), "a file that came later");
    }
}
