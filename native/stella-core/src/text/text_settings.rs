//! The text settings of a model folder besides `tokenizer.json`: the token limit, at which truncation happens, and the
//! settings that `tokenizer.json` must agree with.

use std::path::{Path, PathBuf};

use crate::base::error::{Error, Result};
use crate::base::limits::{DEFAULT_MAX_TOKENS, MAX_MAX_TOKENS};
use crate::files::file_names::{CONFIG_FILE, SENTENCE_FILES, TOKENIZER_CONFIG_FILE};
use crate::files::folder::ModelFolder;
use crate::files::settings::{Rule, Settings};
use crate::text::tokenizer_claims::Claims;

/// The smallest `model_max_length` that means no limit. For a tokenizer without a limit, transformers writes a far larger
/// number.
const UNLIMITED_LENGTH: f64 = (1u64 << 31) as f64;

/// The text settings of a folder.
#[derive(Debug)]
pub struct TextSettings {
    /// The token limit that the folder sets.
    limit: Option<TokenLimit>,
    /// Settings that `tokenizer.json` must agree with.
    pub(crate) claims: Claims,
}

/// The maximum number of tokens of a text, special tokens and prompt included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenLimit {
    /// The number of tokens.
    pub tokens: usize,
    /// The origin of the limit.
    pub source: LimitSource,
}

/// The origin of a token limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LimitSource {
    /// The options of the caller.
    Caller,
    /// [`DEFAULT_MAX_TOKENS`].
    Default,
    /// A setting of the folder.
    Setting {
        /// The file of the setting.
        path: PathBuf,
        /// The key of the setting.
        key: &'static str,
    },
}

impl TokenLimit {
    /// Creates the limit that a caller sets.
    pub fn asked(tokens: usize) -> Self {
        Self { tokens, source: LimitSource::Caller }
    }

    fn setting(tokens: usize, path: &Path, key: &'static str) -> Self {
        Self { tokens, source: LimitSource::Setting { path: path.to_owned(), key } }
    }

    /// Returns the error for a limit below the number of special tokens that a tokenizer adds to every text.
    pub(crate) fn too_low(&self, special_tokens: usize, tokenizer: PathBuf) -> Error {
        let adds = format!("adds {special_tokens} special tokens to every text");
        let tokens = self.tokens;
        match &self.source {
            LimitSource::Caller => Error::InvalidArgument(format!(
                "max_tokens is {tokens}, but the tokenizer {adds}. It must be at least {special_tokens}."
            )),
            LimitSource::Default => {
                let reason = format!(
                    "The tokenizer {adds}, but the default limit of a text is {tokens} tokens. Set max_tokens to at least \
                     {special_tokens}."
                );
                Error::TokenizerInvalid { path: tokenizer, reason, source: None }
            }
            LimitSource::Setting { path, key } => Error::Inconsistent {
                path: path.clone(),
                reason: format!(
                    "{key} is {tokens}, but tokenizer.json {adds}. It must be at least {special_tokens}."
                ),
            },
        }
    }
}

impl TextSettings {
    /// Reads the settings. Each of their files may be missing.
    ///
    /// # Errors
    /// Those of [`ModelFolder::read_json`]; [`Error::Unsupported`] for a setting that would change the tokens of a text and is
    /// not supported; [`Error::Inconsistent`].
    pub fn read(folder: &ModelFolder) -> Result<Self> {
        let sentence_limit = read_sentence_file(folder)?;
        let mut file =
            Settings::read_if_there(folder, TOKENIZER_CONFIG_FILE, "it has the settings of the tokenizer")?;
        file.only("truncation_side", &["\"right\""])?;
        file.only("split_special_tokens", &["false"])?;
        let tokenizer_limit = take_length(&mut file)?;
        let claims = Claims::take(&mut file, folder)?;
        file.warn_of_others(WITHOUT_EFFECT)?;
        Ok(Self { limit: sentence_limit.or(tokenizer_limit), claims })
    }

    /// Returns the token limit for a model with `positions` positions: the limit of the folder, or else the default. A higher
    /// limit is reduced to `positions` and to [`MAX_MAX_TOKENS`].
    pub(crate) fn limit(&self, folder: &ModelFolder, positions: usize) -> TokenLimit {
        let default = TokenLimit { tokens: DEFAULT_MAX_TOKENS, source: LimitSource::Default };
        let limit = self.limit.clone().unwrap_or(default);
        let most = positions.min(MAX_MAX_TOKENS);
        if let LimitSource::Setting { path, key } = &limit.source
            && limit.tokens > MAX_MAX_TOKENS
            && positions > MAX_MAX_TOKENS
        {
            // Not a warning: published folders have such a limit, and the token counts report every truncation.
            log::info!(
                "{}: {key} is {}. The token limit is reduced to {MAX_MAX_TOKENS}, the maximum of this library.",
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

/// Takes `model_max_length`. A very large value means no limit.
fn take_length(file: &mut Settings) -> Result<Option<TokenLimit>> {
    const KEY: &str = "model_max_length";
    match file.number(KEY)? {
        Some(length) if length >= UNLIMITED_LENGTH => Ok(None),
        Some(length) if length >= 1.0 && length.fract() == 0.0 => {
            Ok(Some(TokenLimit::setting(length as usize, file.path(), KEY)))
        }
        Some(length) => {
            Err(file.invalid(format!("{KEY} is {length}. It must be a whole number of at least 1.")))
        }
        None => Ok(None),
    }
}

/// Settings of `tokenizer_config.json` that do not change the tokens of a text.
const WITHOUT_EFFECT: &[(&str, Rule)] = &[
    // Padding, which a packed batch does not need, and truncation, which the tokenizer of this crate does itself.
    ("max_length", Rule::NoEffect),
    ("pad_to_multiple_of", Rule::NoEffect),
    ("pad_token_type_id", Rule::NoEffect),
    ("padding", Rule::NoEffect),
    ("padding_side", Rule::NoEffect),
    ("stride", Rule::NoEffect),
    ("truncation", Rule::NoEffect),
    ("truncation_strategy", Rule::NoEffect),
    // The Python class that reads the file, and settings of slow tokenizers.
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
    // Settings of other kinds of tokenizers, of decoding and of chats.
    ("chat_template", Rule::NoEffect),
    ("clean_up_tokenization_spaces", Rule::NoEffect),
    ("fix_mistral_regex", Rule::NoEffect),
    ("sp_model_kwargs", Rule::NoEffect),
    ("use_default_system_prompt", Rule::NoEffect),
];

/// Reads the settings of the Transformer module from the first of its files that exists. Returns the token limit that the
/// file sets.
fn read_sentence_file(folder: &ModelFolder) -> Result<Option<TokenLimit>> {
    const KEY: &str = "max_seq_length";
    for file in SENTENCE_FILES {
        if !folder.lists(file)? {
            continue;
        }
        let mut settings = Settings::read(folder, file, "it sets the token limit")?;
        // sentence-transformers skips a file whose object is empty, and reads no further file after any other.
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
            // With a message modality, sentence-transformers inserts every text into the chat template.
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
