//! The texts that Stella was trained to see before a query.

use std::collections::HashMap;

use serde::Deserialize;

use crate::error::Result;
use crate::files::PROMPTS_FILE;
use crate::folder::ModelFolder;

/// What a text is going to be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Prompt {
    /// A document, or a text that carries its own prompt: nothing is put before it.
    Document,
    /// A search query, to be compared with documents.
    S2p,
    /// A sentence, to be compared with sentences that carry this prompt too.
    S2s,
}

impl Prompt {
    /// All of them, in order.
    pub const ALL: [Self; 3] = [Self::Document, Self::S2p, Self::S2s];
}

/// The prompt texts of one model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompts {
    s2p: String,
    s2s: String,
}

impl Default for Prompts {
    /// The prompts of the Stella v5 model cards.
    fn default() -> Self {
        Self {
            s2p: "Instruct: Given a web search query, retrieve relevant passages that answer the query.\nQuery: "
                .to_owned(),
            s2s: "Instruct: Retrieve semantically similar text.\nQuery: ".to_owned(),
        }
    }
}

impl Prompts {
    /// The prompts that the folder gives, those of the model cards for what it does not give.
    ///
    /// # Errors
    /// Those of [`ModelFolder::read_json`], but a missing file is no error.
    pub fn read(folder: &ModelFolder) -> Result<Self> {
        #[derive(Deserialize)]
        struct Raw {
            #[serde(default)]
            prompts: HashMap<String, String>,
        }
        let mut prompts = Self::default();
        if folder.has(PROMPTS_FILE)? {
            let mut raw: Raw = folder.read_json(PROMPTS_FILE, "it holds the prompts")?;
            for (key, slot) in [("s2p_query", &mut prompts.s2p), ("s2s_query", &mut prompts.s2s)] {
                if let Some(text) = raw.prompts.remove(key) {
                    *slot = text;
                }
            }
        }
        Ok(prompts)
    }

    /// The text that stands before a text of this kind.
    pub fn text(&self, prompt: Prompt) -> &str {
        match prompt {
            Prompt::Document => "",
            Prompt::S2p => &self.s2p,
            Prompt::S2s => &self.s2s,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_wins_and_the_card_fills_the_gap() {
        let dir = tempfile::tempdir().unwrap();
        let folder = ModelFolder::open(dir.path(), None).unwrap();
        assert_eq!(Prompts::read(&folder).unwrap(), Prompts::default());
        std::fs::write(dir.path().join(PROMPTS_FILE), r#"{"prompts": {"s2p_query": "find: "}}"#).unwrap();
        let prompts = Prompts::read(&folder).unwrap();
        assert_eq!(prompts.text(Prompt::S2p), "find: ");
        assert_eq!(prompts.text(Prompt::S2s), Prompts::default().text(Prompt::S2s));
        assert_eq!(prompts.text(Prompt::Document), "");
    }

    #[test]
    fn a_prompts_file_that_is_removed_after_the_pin_is_not_replaced_by_the_card() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(PROMPTS_FILE), "{}").unwrap();
        let folder = ModelFolder::open_pinned(dir.path(), None).unwrap();
        std::fs::remove_file(dir.path().join(PROMPTS_FILE)).unwrap();
        let text = Prompts::read(&folder).unwrap_err().to_string();
        assert!(text.contains(PROMPTS_FILE) && text.contains("was removed since"), "{text}");

        let folder = ModelFolder::open_pinned(dir.path(), None).unwrap();
        std::fs::write(dir.path().join(PROMPTS_FILE), "not JSON").unwrap();
        assert_eq!(Prompts::read(&folder).unwrap(), Prompts::default(), "a file that came later");
    }
}
