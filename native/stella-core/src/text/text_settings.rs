//! Settings about texts beside `tokenizer.json`: how long a text may be, and how the tokenizer is set up.

use std::path::{Path, PathBuf};

use crate::base::error::{Error, Result};
use crate::base::limits::{DEFAULT_MAX_TOKENS, MAX_MAX_TOKENS};
use crate::files::file_names::{CONFIG_FILE, SENTENCE_FILES, TOKENIZER_CONFIG_FILE};
use crate::files::folder::ModelFolder;
use crate::files::settings::{Rule, Settings};
use crate::text::tokenizer_claims::Claims;

/// transformers writes a number far above this for a tokenizer without a limit.
const END_OF_LENGTHS: f64 = (1u64 << 31) as f64;

/// The settings of a folder.
#[derive(Debug)]
pub struct TextSettings {
    /// The limit that the folder names.
    limit: Option<TokenLimit>,
    /// Settings that `tokenizer.json` must agree with.
    pub(crate) claims: Claims,
}

/// The most tokens of a text, special tokens and prompt included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenLimit {
    /// Number of tokens.
    pub tokens: usize,
    /// The place that names it.
    pub source: LimitSource,
}

/// The origin of a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LimitSource {
    /// The caller's options.
    Caller,
    /// [`DEFAULT_MAX_TOKENS`].
    Default,
    /// A setting of the folder.
    Setting {
        /// Its file.
        path: PathBuf,
        /// Its key.
        key: &'static str,
    },
}

impl TokenLimit {
    /// The limit that a caller asks for.
    pub fn asked(tokens: usize) -> Self {
        Self { tokens, source: LimitSource::Caller }
    }

    fn setting(tokens: usize, path: &Path, key: &'static str) -> Self {
        Self { tokens, source: LimitSource::Setting { path: path.to_owned(), key } }
    }

    /// The error for a limit below the `special_tokens` that a tokenizer adds to every text.
    pub(crate) fn too_low(&self, special_tokens: usize, tokenizer: PathBuf) -> Error {
        let adds = format!("adds {special_tokens} special tokens to every text");
        let tokens = self.tokens;
        match &self.source {
            LimitSource::Caller => {
                Error::InvalidArgument(format!("max_tokens is {tokens}, but this tokenizer {adds}"))
            }
            LimitSource::Default => {
                let reason = format!("{adds}, but a text has at most {tokens} tokens");
                Error::TokenizerInvalid { path: tokenizer, reason, source: None }
            }
            LimitSource::Setting { path, key } => Error::Inconsistent {
                path: path.clone(),
                reason: format!("{key} is {tokens}, but tokenizer.json {adds}"),
            },
        }
    }
}

impl TextSettings {
    /// Reads the settings. Each of the files may be missing.
    ///
    /// # Errors
    /// Those of [`ModelFolder::read_json`]; [`Error::Unsupported`] for a setting that changes the tokens of a text and is not
    /// computed here; [`Error::Inconsistent`].
    pub fn read(folder: &ModelFolder) -> Result<Self> {
        let sentence_limit = read_sentence_file(folder)?;
        let mut file = Settings::read_if_there(folder, TOKENIZER_CONFIG_FILE, "it sets the tokenizer up")?;
        file.only("truncation_side", &["\"right\""])?;
        file.only("split_special_tokens", &["false"])?;
        let tokenizer_limit = take_length(&mut file)?;
        let claims = Claims::take(&mut file, folder)?;
        file.warn_of_others(WITHOUT_EFFECT)?;
        Ok(Self { limit: sentence_limit.or(tokenizer_limit), claims })
    }

    /// The limit for a model with `positions`: the folder's, or the default if the folder names none.
    pub(crate) fn limit(&self, folder: &ModelFolder, positions: usize) -> TokenLimit {
        let default = TokenLimit { tokens: DEFAULT_MAX_TOKENS, source: LimitSource::Default };
        let limit = self.limit.clone().unwrap_or(default);
        let most = positions.min(MAX_MAX_TOKENS);
        if let LimitSource::Setting { path, key } = &limit.source
            && limit.tokens > MAX_MAX_TOKENS
            && positions > MAX_MAX_TOKENS
        {
            // No warning: published folders say so, and every cut of a text is reported.
            log::info!(
                "{}: {key} is {}; at most {MAX_MAX_TOKENS} tokens of a text are computed here",
                path.display(),
                limit.tokens
            );
            return TokenLimit { tokens: MAX_MAX_TOKENS, ..limit };
        }
        if limit.tokens <= most {
            return limit;
        }
        TokenLimit::setting(most, &folder.path(CONFIG_FILE), "max_position_embeddings")
    }
}

/// Takes `model_max_length`, which stands for no limit when it is very large.
fn take_length(file: &mut Settings) -> Result<Option<TokenLimit>> {
    const KEY: &str = "model_max_length";
    match file.number(KEY)? {
        Some(length) if length >= END_OF_LENGTHS => Ok(None),
        Some(length) if length >= 1.0 && length.fract() == 0.0 => {
            Ok(Some(TokenLimit::setting(length as usize, file.path(), KEY)))
        }
        Some(length) => Err(file.invalid(format!("{KEY} is {length}; it must be a whole number from 1"))),
        None => Ok(None),
    }
}

/// Settings of `tokenizer_config.json` that change no token of a text.
const WITHOUT_EFFECT: &[(&str, Rule)] = &[
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
    ("tokenizer_file", Rule::NoEffect),
    // Of tokenizers of other kinds, of text that is written, and of chats.
    ("chat_template", Rule::NoEffect),
    ("clean_up_tokenization_spaces", Rule::NoEffect),
    ("fix_mistral_regex", Rule::NoEffect),
    ("sp_model_kwargs", Rule::NoEffect),
    ("use_default_system_prompt", Rule::NoEffect),
];

/// Reads the settings of the Transformer module from the first of the files that is there, and returns the tokens that a text
/// may have.
fn read_sentence_file(folder: &ModelFolder) -> Result<Option<TokenLimit>> {
    const KEY: &str = "max_seq_length";
    for file in SENTENCE_FILES {
        if !folder.lists(file)? {
            continue;
        }
        let mut settings = Settings::read(folder, file, "it says how long a text may be")?;
        // sentence-transformers passes over an object without keys, and asks no other file after one with keys.
        if settings.is_blank() {
            continue;
        }
        let max_tokens = settings.count(KEY, 1, usize::MAX)?;
        if let Some(mut modalities) = settings.object("modality_config")? {
            let text = modalities.object("text")?;
            let mut text = modalities.required("text", text)?;
            text.only("method", &["\"forward\""])?;
            text.only("method_output_name", &["\"last_hidden_state\""])?;
            text.refuse_others(&[])?;
            // With messages, sentence-transformers puts every text into the chat template.
            modalities.only("message", &[])?;
            modalities.refuse_others(&[])?;
        }
        settings.refuse_others(&[
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
        return Ok(max_tokens.map(|tokens| TokenLimit::setting(tokens, settings.path(), KEY)));
    }
    Ok(None)
}
