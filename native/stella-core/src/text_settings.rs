//! What a folder says about texts beside `tokenizer.json`: how long one may be, and how the tokenizer is set up.

use serde_json::Value;
use tokenizers::{AddedToken, NormalizerWrapper, Tokenizer};

use crate::error::Result;
use crate::files::{ADDED_TOKENS_FILE, SENTENCE_FILES, SPECIAL_TOKENS_FILE, TOKENIZER_CONFIG_FILE};
use crate::folder::ModelFolder;
use crate::settings::{Rule, Settings, shown};

/// transformers writes a number far above this where a tokenizer has no limit.
const END_OF_LENGTHS: f64 = (1u64 << 31) as f64;

/// The settings of a folder.
#[derive(Debug)]
pub struct TextSettings {
    /// Tokens that a text may have, if the folder names a limit.
    pub(crate) max_tokens: Option<usize>,
    /// The token that is put after every text where `tokenizer.json` puts none.
    pub(crate) end_token: Option<String>,
    /// What `tokenizer.json` must agree with.
    claims: Claims,
}

/// What the folder says of the tokenizer that `tokenizer.json` says too.
#[derive(Debug)]
struct Claims {
    /// Settings of the normalizer of BERT: their name, and what they are.
    normalizer: [(&'static str, Option<bool>); 3],
    tokens: Vec<ClaimedToken>,
    starts_with_token: bool,
    file: Settings,
}

/// A token beside the vocabulary.
#[derive(Debug)]
struct ClaimedToken {
    content: String,
    id: u32,
    /// How it is found in a text.
    flags: Vec<(String, bool)>,
}

impl TextSettings {
    /// Reads the settings. Each of the files may be missing, and one that the manifest does not list counts as missing.
    ///
    /// # Errors
    /// Those of [`ModelFolder::read_json`]; [`crate::Error::Unsupported`] for a setting that changes the tokens of a text and is not
    /// computed here; [`crate::Error::Inconsistent`].
    pub fn read(folder: &ModelFolder) -> Result<Self> {
        let sentence_limit = read_sentence_file(folder)?;
        let mut file = Settings::read_if_listed(folder, TOKENIZER_CONFIG_FILE, "it sets the tokenizer up")?;
        file.only("truncation_side", &["\"right\""])?;
        file.only("split_special_tokens", &["false"])?;
        let limit = file.number("model_max_length")?.filter(|n| (1.0..END_OF_LENGTHS).contains(n));
        let mut end_token = match file.flag("add_eos_token")? {
            Some(true) => Some(file.token("eos_token")?),
            _ => None,
        };
        if let Some(None) = end_token {
            let mut map = Settings::read_if_listed(folder, SPECIAL_TOKENS_FILE, "it names the end token")?;
            let named = map.token("eos_token")?;
            end_token = Some(Some(file.required("eos_token", named)?));
        }
        let starts_with_token = file.flag("add_bos_token")?.unwrap_or(false);
        let mut flag = |key: &'static str| Ok((key, file.flag(key)?));
        let normalizer = [flag("do_lower_case")?, flag("strip_accents")?, flag("tokenize_chinese_chars")?];
        let mut tokens = Vec::new();
        for (id, token) in file.entries("added_tokens_decoder")?.unwrap_or_default() {
            let (Ok(id), Some(content)) = (id.parse(), token.get("content").and_then(Value::as_str)) else {
                return Err(file.invalid(format!(
                    "added_tokens_decoder.{id} is {}; it must be a token with its content, by its id",
                    shown(&token)
                )));
            };
            let flags = token.as_object().into_iter().flatten();
            let flags = flags.filter_map(|(name, value)| Some((name.clone(), value.as_bool()?)));
            tokens.push(ClaimedToken { content: content.to_owned(), id, flags: flags.collect() });
        }
        let mut added = Settings::read_if_listed(folder, ADDED_TOKENS_FILE, "it lists tokens")?;
        for (content, id) in added.take_all() {
            let number = id.as_u64().and_then(|id| u32::try_from(id).ok());
            let Some(number) = number else {
                return Err(
                    added.invalid(format!("{content} is {}; it must be the id of a token", shown(&id)))
                );
            };
            tokens.push(ClaimedToken { content, id: number, flags: Vec::new() });
        }
        file.warn_of_others(WITHOUT_EFFECT)?;
        Ok(Self {
            max_tokens: sentence_limit.or(limit.map(|n| n as usize)),
            end_token: end_token.flatten(),
            claims: Claims { normalizer, tokens, starts_with_token, file },
        })
    }

    /// The token that is to be put after every text, if `tokenizer.json` puts none there. What it puts last is `last`.
    ///
    /// # Errors
    /// [`crate::Error::Inconsistent`] for a token that the tokenizer does not have, or another one than `last`.
    pub(crate) fn end(&self, tokenizer: &Tokenizer, last: Option<u32>) -> Result<Option<u32>> {
        let Some(token) = &self.end_token else { return Ok(None) };
        let file = &self.claims.file;
        let shown = shown(&Value::from(token.as_str()));
        match (tokenizer.token_to_id(token), last) {
            (None, _) => {
                Err(file
                    .inconsistent(format!("the end token is {shown}, which tokenizer.json does not have")))
            }
            (Some(id), None) => Ok(Some(id)),
            (Some(id), Some(last)) if id == last => Ok(None),
            (Some(id), Some(last)) => Err(file.inconsistent(format!(
                "the end token is {shown} with id {id}, but tokenizer.json puts id {last} after every text"
            ))),
        }
    }

    /// Compares the settings with the tokenizer.
    ///
    /// # Errors
    /// [`crate::Error::Inconsistent`] for one that `tokenizer.json` contradicts.
    pub(crate) fn check(&self, tokenizer: &Tokenizer, starts_with_token: bool) -> Result<()> {
        let Claims { normalizer, tokens, starts_with_token: claimed, file } = &self.claims;
        let differs = |what: String, found: String, claimed: String| {
            Err(file.inconsistent(format!(
                "{what} is {claimed}, but {found} in tokenizer.json; they say the same thing and must agree"
            )))
        };
        if let Some(NormalizerWrapper::BertNormalizer(bert)) = tokenizer.get_normalizer() {
            let found = [Some(bert.lowercase), bert.strip_accents, Some(bert.handle_chinese_chars)];
            for (&(key, claimed), found) in normalizer.iter().zip(found) {
                if claimed.is_some() && claimed != found {
                    return differs(key.to_owned(), format!("{found:?}"), format!("{claimed:?}"));
                }
            }
        }
        let added = tokenizer.get_added_tokens_decoder();
        for ClaimedToken { content, id, flags } in tokens {
            let what = || format!("the id of the token {}", shown(&Value::from(content.as_str())));
            match tokenizer.token_to_id(content) {
                Some(found) if found == *id => {}
                found => {
                    return differs(
                        what(),
                        found.map_or("none".to_owned(), |id| id.to_string()),
                        id.to_string(),
                    );
                }
            }
            let Some(token) = added.get(id) else { continue };
            for (name, claimed) in flags {
                if let Some(found) = flag_of(token, name).filter(|found| found != claimed) {
                    let what = format!("{name} of the token {}", shown(&Value::from(content.as_str())));
                    return differs(what, found.to_string(), claimed.to_string());
                }
            }
        }
        if *claimed && !starts_with_token {
            return differs(
                "add_bos_token".to_owned(),
                "no token is put before a text".to_owned(),
                "true".to_owned(),
            );
        }
        Ok(())
    }
}

/// Settings of `tokenizer_config.json` that change no token of a text.
const WITHOUT_EFFECT: &[(&str, Rule)] = &[
    // Names of tokens, whose ids and places `tokenizer.json` gives.
    ("additional_special_tokens", Rule::NoEffect),
    ("bos_token", Rule::NoEffect),
    ("cls_token", Rule::NoEffect),
    ("eos_token", Rule::NoEffect),
    ("extra_special_tokens", Rule::NoEffect),
    ("mask_token", Rule::NoEffect),
    ("model_specific_special_tokens", Rule::NoEffect),
    ("pad_token", Rule::NoEffect),
    ("sep_token", Rule::NoEffect),
    ("unk_token", Rule::NoEffect),
    // Padding, and a cut that is made here.
    ("max_length", Rule::NoEffect),
    ("pad_to_multiple_of", Rule::NoEffect),
    ("pad_token_type_id", Rule::NoEffect),
    ("padding", Rule::NoEffect),
    ("padding_side", Rule::NoEffect),
    ("stride", Rule::NoEffect),
    ("truncation", Rule::NoEffect),
    ("truncation_strategy", Rule::NoEffect),
    // Which Python code reads the file, and what its slow tokenizers look at.
    ("auto_map", Rule::NoEffect),
    ("backend", Rule::NoEffect),
    ("do_basic_tokenize", Rule::NoEffect),
    ("errors", Rule::NoEffect),
    ("is_local", Rule::NoEffect),
    ("legacy", Rule::NoEffect),
    ("model_input_names", Rule::NoEffect),
    ("name_or_path", Rule::NoEffect),
    ("never_split", Rule::NoEffect),
    ("processor_class", Rule::NoEffect),
    ("special_tokens_map_file", Rule::NoEffect),
    ("tokenizer_class", Rule::NoEffect),
    ("tokenizer_file", Rule::NoEffect),
    // Of tokenizers of other kinds, of text that is written, and of chats.
    ("add_prefix_space", Rule::NoEffect),
    ("chat_template", Rule::NoEffect),
    ("clean_up_tokenization_spaces", Rule::NoEffect),
    ("fix_mistral_regex", Rule::NoEffect),
    ("sp_model_kwargs", Rule::NoEffect),
    ("use_default_system_prompt", Rule::NoEffect),
];

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

/// Reads the settings of the Transformer module, and returns the tokens that a text may have.
fn read_sentence_file(folder: &ModelFolder) -> Result<Option<usize>> {
    for file in SENTENCE_FILES {
        let mut settings = Settings::read_if_listed(folder, file, "it says how long a text may be")?;
        if settings.is_empty() {
            continue;
        }
        let max_tokens = settings.count("max_seq_length", 1, usize::MAX)?;
        if let Some(mut modalities) = settings.object("modality_config")? {
            let text = modalities.object("text")?;
            let mut text = modalities.required("text", text)?;
            text.only("method", &["\"forward\""])?;
            text.only("method_output_name", &["\"last_hidden_state\""])?;
            text.nothing_else(&[])?;
        }
        settings.nothing_else(&[
            ("backend", Rule::NoEffect),
            ("cache_dir", Rule::NoEffect),
            ("unpad_inputs", Rule::NoEffect),
            ("do_lower_case", Rule::Only(&["false"])),
            ("transformer_task", Rule::Only(&["\"feature-extraction\""])),
            ("module_output_name", Rule::Only(&["\"token_embeddings\""])),
            ("processing_kwargs", Rule::Only(&["{}"])),
            ("model_args", Rule::Only(&["{}"])),
            ("model_kwargs", Rule::Only(&["{}"])),
            ("tokenizer_args", Rule::Only(&["{}"])),
            ("processor_kwargs", Rule::Only(&["{}"])),
            ("config_args", Rule::Only(&["{}"])),
            ("config_kwargs", Rule::Only(&["{}"])),
        ])?;
        return Ok(max_tokens);
    }
    Ok(None)
}
