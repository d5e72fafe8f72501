//! Checks `tokenizer.json` against the settings of other files, because the Python libraries apply these settings to the
//! tokenizer. A claim is a statement of such a file about the tokenizer.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, ModelWrapper, NormalizerWrapper, PreTokenizerWrapper, Tokenizer};

use crate::base::error::{Error, Result};
use crate::base::message::shown;
use crate::files::file_names::{ADDED_TOKENS_FILE, SPECIAL_TOKENS_FILE, TOKENIZER_CONFIG_FILE};
use crate::files::folder::ModelFolder;
use crate::files::settings::Settings;

/// Keys with one special token each.
const TOKEN_KEYS: [&str; 7] =
    ["bos_token", "cls_token", "eos_token", "mask_token", "pad_token", "sep_token", "unk_token"];
/// Keys with several special tokens each.
const TOKEN_LIST_KEYS: [&str; 3] =
    ["additional_special_tokens", "extra_special_tokens", "model_specific_special_tokens"];

/// The regular expression with which the Qwen2 tokenizer splits a text.
const QWEN2_PATTERN: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Maximum number of characters of a word that the BERT tokenizer looks up.
const BERT_WORD_CHARS: usize = 100;

/// The class of transformers that runs the tokenizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// The BERT tokenizer. Its flags have defaults and override `tokenizer.json`. transformers 5 reads only the vocabulary of
    /// `tokenizer.json`.
    Bert,
    /// The Qwen2 tokenizer. transformers 5 reads only the vocabulary of `tokenizer.json`.
    Qwen2,
    /// A class that runs the parts of `tokenizer.json` unchanged.
    Plain,
    /// Any other class, or no class.
    Other,
}

impl Class {
    fn of(name: &str) -> Self {
        match name.strip_suffix("Fast").unwrap_or(name) {
            "BertTokenizer" => Self::Bert,
            "Qwen2Tokenizer" => Self::Qwen2,
            "PreTrainedTokenizer" | "TokenizersBackend" => Self::Plain,
            _ => Self::Other,
        }
    }
}

/// The claims of one folder about its tokenizer.
#[derive(Debug)]
pub(crate) struct Claims {
    /// The path of `tokenizer_config.json`.
    path: PathBuf,
    class: Class,
    adds_prefix_space: bool,
    lowercase: Option<bool>,
    strip_accents: Option<bool>,
    chinese: Option<bool>,
    /// Added tokens with their ids.
    added: Vec<AddedClaim>,
    /// Special tokens.
    special: Vec<NamedToken>,
    begin: Option<bool>,
    end: Option<bool>,
    end_token: Option<NamedToken>,
    /// Whether the folder has its own tokenizer code in Python.
    has_code: bool,
}

/// A claim about a token that is added to the vocabulary.
#[derive(Debug)]
struct AddedClaim {
    path: PathBuf,
    content: String,
    id: u32,
    /// Flags that control how the token is found in a text.
    flags: Vec<(String, bool)>,
}

/// A special token in a key of a file.
#[derive(Debug, Clone)]
struct NamedToken {
    path: PathBuf,
    key: String,
    content: String,
}

impl Claims {
    /// Takes the claims out of `tokenizer_config.json`, and reads the other files.
    ///
    /// # Errors
    /// Those of [`Settings::read_if_there`]; [`Error::Inconsistent`] for files with different tokens in the same key.
    pub(crate) fn take(config: &mut Settings, folder: &ModelFolder) -> Result<Self> {
        let mut added = take_added(config)?;
        added.extend(read_added(folder)?);
        let mut special = take_special(config)?;
        let mut map = Settings::read_if_there(folder, SPECIAL_TOKENS_FILE, "it has the special tokens")?;
        let mapped = take_special(&mut map)?;
        map.warn_of_others(&[])?;
        for token in &mapped {
            let other =
                special.iter().find(|other| TOKEN_KEYS.contains(&&*other.key) && other.key == token.key);
            if let Some(other) = other.filter(|other| other.content != token.content) {
                return Err(map.inconsistent(format!(
                    "{} is {}, but {} in {TOKENIZER_CONFIG_FILE}. Both must have the same value.",
                    token.key,
                    quoted(&token.content),
                    quoted(&other.content)
                )));
            }
        }
        special.extend(mapped);
        let class = config.text("tokenizer_class")?.unwrap_or_default();
        let end = config.flag("add_eos_token")?;
        let end_token = special.iter().find(|token| token.key == "eos_token").cloned();
        if end == Some(true) {
            config.required("eos_token", end_token.as_ref())?;
        }
        Ok(Self {
            path: config.path().to_owned(),
            class: Class::of(&class),
            // The default of the Python libraries.
            adds_prefix_space: config.flag("add_prefix_space")?.unwrap_or(false),
            lowercase: config.flag("do_lower_case")?,
            strip_accents: config.flag("strip_accents")?,
            chinese: config.flag("tokenize_chinese_chars")?,
            added,
            special,
            begin: config.flag("add_bos_token")?,
            end,
            end_token,
            has_code: config.names_code("AutoTokenizer"),
        })
    }

    /// Compares the claims with the tokenizer, which adds the special tokens `before` and `after` to every text. Returns the
    /// end token to add after `after`, if the claims require one.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] for a claim that `tokenizer.json` contradicts; [`Error::Unsupported`] for a claim that releases
    /// of transformers treat differently.
    pub(crate) fn check(
        &self,
        tokenizer: &Tokenizer,
        (before, after): (&[u32], &[u32]),
    ) -> Result<Option<u32>> {
        self.check_normalizer(tokenizer.get_normalizer())?;
        let bytes = tokenizer.get_pre_tokenizer().and_then(find_bytes).map(|bytes| bytes.add_prefix_space);
        if let Some(found) = bytes.filter(|found| *found != self.adds_prefix_space) {
            let claimed = self.adds_prefix_space.to_string();
            return Err(differs(&self.path, "add_prefix_space", &claimed, &found.to_string()));
        }
        match self.class {
            Class::Bert => self.check_bert(tokenizer, before, after)?,
            Class::Qwen2 => self.check_qwen2(tokenizer)?,
            Class::Plain | Class::Other => {}
        }
        let listed = tokenizer.get_added_tokens_decoder();
        for AddedClaim { path, content, id, flags } in &self.added {
            let found = tokenizer.token_to_id(content);
            if found != Some(*id) {
                let found = found.map_or("missing".to_owned(), |id| id.to_string());
                return Err(differs(
                    path,
                    &format!("the id of the token {}", quoted(content)),
                    &id.to_string(),
                    &found,
                ));
            }
            let Some(token) = listed.get(id) else {
                return Err(not_added(path, &format!("the token {}", quoted(content))));
            };
            for (name, claimed) in flags {
                if let Some(found) = flag_of(token, name).filter(|found| found != claimed) {
                    let what = format!("{name} of the token {}", quoted(content));
                    return Err(differs(path, &what, &claimed.to_string(), &found.to_string()));
                }
            }
        }
        let contents: HashSet<&str> = listed.values().map(|token| token.content.as_str()).collect();
        if let Some(token) = self.special.iter().find(|token| !contents.contains(&*token.content)) {
            return Err(not_added(&token.path, &format!("{} {}", token.key, quoted(&token.content))));
        }
        if self.begin == Some(true) && before.is_empty() {
            return Err(self.contradicted(
                "add_bos_token",
                true,
                "tokenizer.json adds no token before a text",
            ));
        }
        match (self.end, &self.end_token) {
            (Some(true), Some(token)) => self.missing_end_token(token, tokenizer, after.last().copied()),
            // Only tokenizer code of the folder reads this setting.
            (Some(false), _) if self.has_code && !after.is_empty() => {
                let found =
                    format!("tokenizer.json adds id {} after a text", after.last().copied().unwrap_or(0));
                Err(self.contradicted("add_eos_token", false, &found))
            }
            _ => Ok(None),
        }
    }

    /// Returns the end token that `add_eos_token` requires, unless it is already `last`, the last token that `tokenizer.json`
    /// adds after a text.
    fn missing_end_token(
        &self,
        token: &NamedToken,
        tokenizer: &Tokenizer,
        last: Option<u32>,
    ) -> Result<Option<u32>> {
        let content = quoted(&token.content);
        let inconsistent = |reason| Err(Error::Inconsistent { path: self.path.clone(), reason });
        match (tokenizer.token_to_id(&token.content), last) {
            (None, _) => {
                inconsistent(format!("The end token is {content}, but tokenizer.json has no such token."))
            }
            (Some(id), Some(last)) if id == last => Ok(None),
            (Some(id), Some(last)) => inconsistent(format!(
                "The end token is {content} with id {id}, but tokenizer.json adds id {last} after a text. Both must agree."
            )),
            (Some(id), None) if self.has_code => Ok(Some(id)),
            (Some(_), None) => Err(Error::Unsupported {
                path: self.path.clone(),
                reason: format!(
                    "add_eos_token is true, but tokenizer.json adds no token after a text, and auto_map names no code for \
                     AutoTokenizer. Only some releases of transformers add {content} then. Add a post_processor to \
                     tokenizer.json that adds the token, or set add_eos_token to null."
                ),
            }),
        }
    }

    fn check_normalizer(&self, normalizer: Option<&NormalizerWrapper>) -> Result<()> {
        if self.class == Class::Plain {
            return Ok(());
        }
        let is_bert = self.class == Class::Bert;
        let Some(bert) = normalizer.and_then(find_bert) else {
            let claim = match (is_bert, self.lowercase, self.strip_accents) {
                (true, ..) => "tokenizer_class is BertTokenizer",
                (_, Some(true), _) => "do_lower_case is true",
                (_, _, Some(true)) => "strip_accents is true",
                _ => return Ok(()),
            };
            let reason = format!(
                "{claim}, but the normalizer in tokenizer.json is not a BertNormalizer. They must agree."
            );
            return Err(Error::Inconsistent { path: self.path.clone(), reason });
        };
        let or_default = |flag: Option<bool>| flag.or(is_bert.then_some(true));
        let lowercase = or_default(self.lowercase);
        // Without strip_accents, accents are stripped if the text is lowercased.
        let strips = (is_bert || self.strip_accents.is_some())
            .then(|| self.strip_accents.unwrap_or(lowercase.unwrap_or(bert.lowercase)));
        let chinese = or_default(self.chinese);
        for (key, claimed, found) in [
            ("do_lower_case", lowercase, bert.lowercase),
            ("strip_accents", strips, bert.strip_accents.unwrap_or(bert.lowercase)),
            ("tokenize_chinese_chars", chinese, bert.handle_chinese_chars),
        ] {
            if let Some(claimed) = claimed.filter(|claimed| *claimed != found) {
                return Err(differs(&self.path, key, &claimed.to_string(), &found.to_string()));
            }
        }
        Ok(())
    }

    /// Checks the parts that transformers 5 builds itself for the BERT class. Earlier releases read them from
    /// `tokenizer.json`.
    fn check_bert(&self, tokenizer: &Tokenizer, before: &[u32], after: &[u32]) -> Result<()> {
        let content = |key: &str, default: &'static str| {
            let named = self.special.iter().find(|token| token.key == key);
            named.map_or(default, |token| &token.content).to_owned()
        };
        let [cls, sep, unk] = [("cls_token", "[CLS]"), ("sep_token", "[SEP]"), ("unk_token", "[UNK]")]
            .map(|(key, default)| content(key, default));
        let cleans = tokenizer.get_normalizer().and_then(find_bert).is_some_and(|bert| bert.clean_text);
        let splits = matches!(tokenizer.get_pre_tokenizer(), Some(PreTokenizerWrapper::BertPreTokenizer(_)));
        let ModelWrapper::WordPiece(model) = tokenizer.get_model() else {
            return Err(self.other_part("a WordPiece model"));
        };
        let is = |ids: &[u32], token: &str| matches!(ids, [id] if tokenizer.token_to_id(token) == Some(*id));
        let adds_cls_and_sep = is(before, &cls) && is(after, &sep);
        for (holds, part) in [
            (cleans, "a BertNormalizer with clean_text true".to_owned()),
            (splits, "the BertPreTokenizer".to_owned()),
            (
                model.max_input_chars_per_word == BERT_WORD_CHARS,
                format!("max_input_chars_per_word {BERT_WORD_CHARS}"),
            ),
            (model.continuing_subword_prefix == "##", "the continuing_subword_prefix \"##\"".to_owned()),
            (model.unk_token == unk, format!("the unk_token {}", quoted(&unk))),
            (adds_cls_and_sep, format!("{} before and {} after a text", quoted(&cls), quoted(&sep))),
        ] {
            if !holds {
                return Err(self.other_part(&part));
            }
        }
        Ok(())
    }

    /// Does the same as [`Self::check_bert`] for the Qwen2 class.
    fn check_qwen2(&self, tokenizer: &Tokenizer) -> Result<()> {
        if !matches!(tokenizer.get_normalizer(), Some(NormalizerWrapper::NFC(_))) {
            return Err(self.other_part("the normalizer NFC"));
        }
        let splits = match tokenizer.get_pre_tokenizer() {
            Some(PreTokenizerWrapper::Sequence(parts)) => match parts.as_ref() {
                [PreTokenizerWrapper::Split(split), PreTokenizerWrapper::ByteLevel(bytes)] => {
                    let split = serde_json::to_value(split).unwrap_or_default();
                    split["pattern"]["Regex"] == QWEN2_PATTERN
                        && split["behavior"] == "Isolated"
                        && split["invert"] == false
                        && !bytes.use_regex
                }
                _ => false,
            },
            _ => false,
        };
        if splits {
            Ok(())
        } else {
            Err(self.other_part("the pattern of Qwen2 and ByteLevel as the pre_tokenizer"))
        }
    }

    /// Returns the error for a `tokenizer.json` that lacks a part of the class.
    fn other_part(&self, part: &str) -> Error {
        let class = if self.class == Class::Bert { "BertTokenizer" } else { "Qwen2Tokenizer" };
        let reason = format!(
            "tokenizer_class is {class}, which has {part} in transformers 5. But tokenizer.json, which transformers 4 reads, \
             has a different part. Both must agree."
        );
        Error::Inconsistent { path: self.path.clone(), reason }
    }

    fn contradicted(&self, key: &str, value: bool, found: &str) -> Error {
        let reason = format!("{key} is {value}, but {found}. Both must agree.");
        Error::Inconsistent { path: self.path.clone(), reason }
    }
}

fn take_added(config: &mut Settings) -> Result<Vec<AddedClaim>> {
    let mut claims = Vec::new();
    for (id, token) in config.entries("added_tokens_decoder")?.unwrap_or_default() {
        let (Ok(id), Some(content)) = (id.parse(), token.get("content").and_then(Value::as_str)) else {
            return Err(config.invalid(format!(
                "added_tokens_decoder.{id} is {}. The key must be an id, and the value a token with its content.",
                shown(&token)
            )));
        };
        let flags = token.as_object().into_iter().flatten();
        let flags = flags.filter_map(|(name, value)| Some((name.clone(), value.as_bool()?)));
        claims.push(AddedClaim {
            path: config.path().to_owned(),
            content: content.to_owned(),
            id,
            flags: flags.collect(),
        });
    }
    Ok(claims)
}

fn read_added(folder: &ModelFolder) -> Result<Vec<AddedClaim>> {
    let mut file = Settings::read_if_there(folder, ADDED_TOKENS_FILE, "it has the added tokens")?;
    let mut claims = Vec::new();
    for (content, id) in file.take_all() {
        let Some(number) = id.as_u64().and_then(|id| u32::try_from(id).ok()) else {
            return Err(file.invalid(format!(
                "{} is {}. It must be the id of a token.",
                quoted(&content),
                shown(&id)
            )));
        };
        claims.push(AddedClaim { path: file.path().to_owned(), content, id: number, flags: Vec::new() });
    }
    Ok(claims)
}

fn take_special(file: &mut Settings) -> Result<Vec<NamedToken>> {
    let path = file.path().to_owned();
    let mut tokens = Vec::new();
    for key in TOKEN_KEYS {
        let content = file.token(key)?;
        tokens.extend(content.map(|content| NamedToken { path: path.clone(), key: key.to_owned(), content }));
    }
    for key in TOKEN_LIST_KEYS {
        let contents = file.tokens(key)?.unwrap_or_default();
        tokens.extend(contents.into_iter().map(|content| NamedToken {
            path: path.clone(),
            key: key.to_owned(),
            content,
        }));
    }
    Ok(tokens)
}

fn find_bert(normalizer: &NormalizerWrapper) -> Option<&BertNormalizer> {
    match normalizer {
        NormalizerWrapper::BertNormalizer(bert) => Some(bert),
        NormalizerWrapper::Sequence(parts) => parts.as_ref().iter().find_map(find_bert),
        _ => None,
    }
}

fn find_bytes(pre_tokenizer: &PreTokenizerWrapper) -> Option<&ByteLevel> {
    match pre_tokenizer {
        PreTokenizerWrapper::ByteLevel(bytes) => Some(bytes),
        PreTokenizerWrapper::Sequence(parts) => parts.as_ref().iter().find_map(find_bytes),
        _ => None,
    }
}

fn quoted(content: &str) -> String {
    shown(&Value::from(content))
}

fn differs(path: &Path, what: &str, claimed: &str, found: &str) -> Error {
    let reason =
        format!("{what} is {claimed}, but {found} in tokenizer.json. Both must have the same value.");
    Error::Inconsistent { path: path.to_owned(), reason }
}

/// Returns the error for a token that the Python libraries would add to the tokenizer.
fn not_added(path: &Path, token: &str) -> Error {
    let reason = format!(
        "The file has {token}, but added_tokens in tokenizer.json does not. Save the tokenizer again with transformers, \
         which adds the token."
    );
    Error::Inconsistent { path: path.to_owned(), reason }
}

fn flag_of(token: &AddedToken, name: &str) -> Option<bool> {
    Some(match name {
        "lstrip" => token.lstrip,
        "rstrip" => token.rstrip,
        "normalized" => token.normalized,
        "single_word" => token.single_word,
        "special" => token.special,
        _ => return None,
    })
}
