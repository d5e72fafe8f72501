//! `tokenizer.json` as a tokenizer that stays within bounds, whatever the file says.
//!
//! The `tokenizers` crate takes a file for good: some of its parts make a text longer with each use, one reserves the
//! memory that a number in the file asks for, some panic, and added tokens go through them while the file is still
//! being read. So the parts are read one by one and looked at before they are put together. What is looked at are the
//! parts that will run and not their JSON, in which the crate sees more than one reading.

use serde::Deserialize;
use serde_json::Value;
use tokenizers::{
    AddedToken, Model, ModelWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper, Tokenizer,
};

use crate::base::error::Cause;

/// Parts that one step may be made of. Stella's models have at most two.
const MAX_PARTS: usize = 8;
/// Characters of a word that are looked up in the vocabulary: the time for a word grows with their cube. Stella has 100.
const MAX_WORD_CHARS: usize = 256;
/// Bytes of what is put before or after the pieces of a word. Stella's `##` has 2.
const MAX_AFFIX_BYTES: usize = 64;

/// Why a file is refused.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) reason: String,
    pub(crate) source: Option<Cause>,
}

impl Refusal {
    fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), source: None }
    }

    fn unreadable(cause: impl Into<Cause>) -> Self {
        Self { reason: "is not a tokenizer that can be used".to_owned(), source: Some(cause.into()) }
    }
}

/// What of the file is used. Padding is not, and of truncation only the side is looked at: texts are packed, and the cut is
/// made by [`crate::text::tokenizer`]. The decoder is not, since nothing is decoded.
#[derive(Deserialize)]
struct Parts {
    #[serde(default)]
    version: Option<String>,
    #[serde(default)]
    truncation: Option<Truncation>,
    #[serde(default)]
    added_tokens: Vec<Added>,
    #[serde(default)]
    normalizer: Option<Value>,
    #[serde(default)]
    pre_tokenizer: Option<PreTokenizerWrapper>,
    #[serde(default)]
    post_processor: Option<PostProcessorWrapper>,
    model: ModelWrapper,
}

/// The side on which Python cuts a text, whatever else it does with the rest of these settings.
#[derive(Deserialize)]
struct Truncation {
    #[serde(default)]
    direction: Option<String>,
}

/// A token beside those of the model, with the id that the file gives it.
#[derive(Deserialize)]
struct Added {
    id: u32,
    #[serde(flatten)]
    token: AddedToken,
}

/// Reads the file.
pub(crate) fn read(bytes: &[u8]) -> Result<Tokenizer, Refusal> {
    let parts: Parts = serde_json::from_slice(bytes).map_err(Refusal::unreadable)?;
    if let Some(version) = parts.version.filter(|v| v != "1.0") {
        return Err(Refusal::new(format!("has version {version:?}; version \"1.0\" is read here")));
    }
    if let Some(side) =
        parts.truncation.and_then(|truncation| truncation.direction).filter(|side| side != "Right")
    {
        return Err(Refusal::new(format!("truncation.direction is {side:?}; supported is \"Right\"")));
    }
    let normalizer = parts.normalizer.map(read_normalizer).transpose()?;
    if let Some(pre_tokenizer) = &parts.pre_tokenizer {
        check_pre_tokenizer(pre_tokenizer, &mut Seen::default())?;
    }
    if let Some(post_processor) = &parts.post_processor {
        check_post_processor(post_processor, &mut Seen::default())?;
    }
    check_model(&parts.model)?;
    let mut tokenizer = Tokenizer::new(parts.model);
    tokenizer.with_normalizer(normalizer).map_err(Refusal::unreadable)?;
    tokenizer.with_pre_tokenizer(parts.pre_tokenizer);
    tokenizer.with_post_processor(parts.post_processor);
    tokenizer.add_tokens(parts.added_tokens.iter().map(|a| a.token.clone())).map_err(Refusal::unreadable)?;
    check_added(&parts.added_tokens, &tokenizer)?;
    Ok(tokenizer)
}

/// The parts of one step that were met.
#[derive(Default)]
struct Seen {
    parts: usize,
    /// Those that may be there once, since each makes the text longer.
    growing: usize,
}

impl Seen {
    fn part(&mut self, step: &str) -> Result<(), Refusal> {
        self.parts += 1;
        if self.parts > MAX_PARTS {
            return Err(Refusal::new(format!("{step} has more than {MAX_PARTS} parts")));
        }
        Ok(())
    }

    fn growing(&mut self, step: &str, name: &str) -> Result<(), Refusal> {
        self.growing += 1;
        if self.growing > 1 {
            return Err(Refusal::new(format!("{step} has {name} after one of its kind; one is supported")));
        }
        Ok(())
    }
}

/// The crate numbers added tokens itself and passes over what the file says; other readers go by the file.
fn check_added(added: &[Added], tokenizer: &Tokenizer) -> Result<(), Refusal> {
    let other =
        added.iter().map(|a| (a, tokenizer.token_to_id(&a.token.content))).find(|(a, id)| *id != Some(a.id));
    other.map_or(Ok(()), |(Added { id, token }, counted)| {
        let counted = counted.map_or("none".to_owned(), |id| id.to_string());
        Err(Refusal::new(format!(
            "the added token {:?} has id {id}, but by its place it has {counted}",
            token.content
        )))
    })
}

fn not_supported(step: &str, name: &str, supported: &str) -> Refusal {
    Refusal::new(format!("{step} is {name}; supported are {supported}"))
}

fn read_normalizer(value: Value) -> Result<NormalizerWrapper, Refusal> {
    // Looked for in the JSON: while it is read, it reserves whatever its first four bytes ask for.
    if has_key(&value, "precompiled_charsmap") {
        return Err(normalizer_not_supported("Precompiled"));
    }
    let normalizer = NormalizerWrapper::deserialize(value).map_err(Refusal::unreadable)?;
    check_normalizer(&normalizer, &mut Seen::default())?;
    Ok(normalizer)
}

fn has_key(value: &Value, key: &str) -> bool {
    match value {
        Value::Object(members) => members.iter().any(|(name, inner)| name == key || has_key(inner, key)),
        Value::Array(items) => items.iter().any(|inner| has_key(inner, key)),
        _ => false,
    }
}

fn check_normalizer(normalizer: &NormalizerWrapper, seen: &mut Seen) -> Result<(), Refusal> {
    use NormalizerWrapper as N;
    seen.part("normalizer")?;
    match normalizer {
        N::Sequence(parts) => parts.as_ref().iter().try_for_each(|part| check_normalizer(part, seen)),
        N::BertNormalizer(_)
        | N::StripNormalizer(_)
        | N::StripAccents(_)
        | N::NFC(_)
        | N::NFD(_)
        | N::NFKC(_)
        | N::NFKD(_)
        | N::Lowercase(_)
        | N::Nmt(_) => Ok(()),
        // Some of these in a row double a text as often as there are of them.
        N::Precompiled(_) => Err(normalizer_not_supported("Precompiled")),
        N::Replace(_) => Err(normalizer_not_supported("Replace")),
        N::Prepend(_) => Err(normalizer_not_supported("Prepend")),
        N::ByteLevel(_) => Err(normalizer_not_supported("ByteLevel")),
    }
}

fn normalizer_not_supported(name: &str) -> Refusal {
    let supported = "BertNormalizer, Strip, StripAccents, Unicode forms, Lowercase, Nmt and Sequence";
    not_supported("normalizer", name, supported)
}

fn check_pre_tokenizer(pre_tokenizer: &PreTokenizerWrapper, seen: &mut Seen) -> Result<(), Refusal> {
    use PreTokenizerWrapper as P;
    let refused = |name| {
        let supported = "BertPreTokenizer, ByteLevel, Whitespace, WhitespaceSplit, Punctuation, Digits, Split and \
                         Sequence";
        Err(not_supported("pre_tokenizer", name, supported))
    };
    seen.part("pre_tokenizer")?;
    match pre_tokenizer {
        P::Sequence(parts) => parts.as_ref().iter().try_for_each(|part| check_pre_tokenizer(part, seen)),
        // Writes a byte as a character of up to two.
        P::ByteLevel(_) => seen.growing("pre_tokenizer", "ByteLevel"),
        P::BertPreTokenizer(_)
        | P::Whitespace(_)
        | P::WhitespaceSplit(_)
        | P::Punctuation(_)
        | P::Digits(_)
        | P::Split(_) => Ok(()),
        P::Delimiter(_) => refused("CharDelimiterSplit"),
        P::Metaspace(_) => refused("Metaspace"),
        P::UnicodeScripts(_) => refused("UnicodeScripts"),
        P::FixedLength(_) => refused("FixedLength"),
    }
}

fn check_post_processor(post_processor: &PostProcessorWrapper, seen: &mut Seen) -> Result<(), Refusal> {
    use PostProcessorWrapper as P;
    seen.part("post_processor")?;
    match post_processor {
        P::Sequence(parts) => parts.as_ref().iter().try_for_each(|part| check_post_processor(part, seen)),
        P::ByteLevel(_) => Ok(()),
        P::Roberta(_) => seen.growing("post_processor", "RobertaProcessing"),
        P::Bert(_) => seen.growing("post_processor", "BertProcessing"),
        P::Template(_) => seen.growing("post_processor", "TemplateProcessing"),
    }
}

fn check_model(model: &ModelWrapper) -> Result<(), Refusal> {
    let refused = |name| Err(not_supported("model", name, "WordPiece and BPE"));
    let affix = |field: &str, text: &str| {
        if text.len() > MAX_AFFIX_BYTES {
            let reason = format!("{field} has {} bytes; at most {MAX_AFFIX_BYTES} are supported", text.len());
            return Err(Refusal::new(reason));
        }
        Ok(())
    };
    match model {
        ModelWrapper::WordPiece(model) => {
            if model.max_input_chars_per_word > MAX_WORD_CHARS {
                return Err(Refusal::new(format!(
                    "max_input_chars_per_word is {}; at most {MAX_WORD_CHARS} is supported",
                    model.max_input_chars_per_word
                )));
            }
            if model.token_to_id(&model.unk_token).is_none() {
                return Err(Refusal::new(format!(
                    "unk_token is {:?}, which is not in the vocabulary",
                    model.unk_token
                )));
            }
            affix("continuing_subword_prefix", &model.continuing_subword_prefix)
        }
        ModelWrapper::BPE(model) => {
            if let Some(dropout) = model.dropout.filter(|&share| share != 0.0) {
                let reason =
                    format!("dropout is {dropout}; with it a text would not always get the same tokens");
                return Err(Refusal::new(reason));
            }
            affix(
                "continuing_subword_prefix",
                model.continuing_subword_prefix.as_deref().unwrap_or_default(),
            )?;
            affix("end_of_word_suffix", model.end_of_word_suffix.as_deref().unwrap_or_default())
        }
        ModelWrapper::WordLevel(_) => refused("WordLevel"),
        ModelWrapper::Unigram(_) => refused("Unigram"),
    }
}
