//! Reads `tokenizer.json` into a tokenizer of bounded time and memory, even if the file is hostile.
//!
//! The `tokenizers` crate trusts its file. Some parts lengthen a text with each use, one part allocates as much memory as a
//! number in the file says, and some parts panic. Added tokens run through the parts while the crate still reads the file.
//! So this module reads the parts one by one and checks each of them before it assembles the tokenizer. It checks the parsed
//! parts and not their JSON, because the crate accepts several JSON forms of a part.

use serde::Deserialize;
use serde_json::Value;
use tokenizers::{
    AddedToken, Model, ModelWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper, Tokenizer,
};

use crate::base::error::Cause;

/// Maximum number of parts of one step. The Stella models have at most two.
const MAX_PARTS: usize = 8;
/// Upper limit of `max_input_chars_per_word`. The time for a word grows with the cube of its length. The Stella models have
/// 100.
const MAX_WORD_CHARS: usize = 256;
/// Maximum length in bytes of the prefix or suffix of the pieces of a word. The prefix `##` of the Stella models has 2.
const MAX_AFFIX_BYTES: usize = 64;

/// The message for a file that does not parse.
pub(crate) const UNREADABLE: &str = "The file is not a valid tokenizer.";

/// The reason why a file is refused.
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
        Self { reason: UNREADABLE.to_owned(), source: Some(cause.into()) }
    }
}

/// The used parts of the file. Padding is not used, because texts are packed, and the decoder is not used, because nothing is
/// decoded. Of the truncation settings only the side is checked, because the tokenizer module truncates.
#[derive(Deserialize)]
struct TokenizerFile {
    #[serde(default)]
    version: Option<String>,
    #[serde(default)]
    truncation: Option<TruncationSettings>,
    #[serde(default)]
    added_tokens: Vec<AddedTokenEntry>,
    #[serde(default)]
    normalizer: Option<Value>,
    #[serde(default)]
    pre_tokenizer: Option<PreTokenizerWrapper>,
    #[serde(default)]
    post_processor: Option<PostProcessorWrapper>,
    model: ModelWrapper,
}

/// The side on which Python truncates a text. This crate has its own limit, so it ignores the other settings.
#[derive(Deserialize)]
struct TruncationSettings {
    #[serde(default)]
    direction: Option<String>,
}

/// A token that is added to the vocabulary of the model, with its id in the file.
#[derive(Deserialize)]
struct AddedTokenEntry {
    id: u32,
    #[serde(flatten)]
    token: AddedToken,
}

/// Reads and checks the content of `tokenizer.json`.
pub(crate) fn read(bytes: &[u8]) -> Result<Tokenizer, Refusal> {
    let file: TokenizerFile = serde_json::from_slice(bytes).map_err(Refusal::unreadable)?;
    if let Some(version) = file.version.filter(|v| v != "1.0") {
        return Err(Refusal::new(format!(
            "The file has version {version:?}. Only version \"1.0\" is supported."
        )));
    }
    if let Some(side) =
        file.truncation.and_then(|truncation| truncation.direction).filter(|side| side != "Right")
    {
        return Err(Refusal::new(format!("truncation.direction is {side:?}. Only \"Right\" is supported.")));
    }
    let normalizer = file.normalizer.map(read_normalizer).transpose()?;
    if let Some(pre_tokenizer) = &file.pre_tokenizer {
        check_pre_tokenizer(pre_tokenizer, &mut PartCount::default())?;
    }
    if let Some(post_processor) = &file.post_processor {
        check_post_processor(post_processor, &mut PartCount::default())?;
    }
    check_model(&file.model)?;
    let mut tokenizer = Tokenizer::new(file.model);
    tokenizer.with_normalizer(normalizer).map_err(Refusal::unreadable)?;
    tokenizer.with_pre_tokenizer(file.pre_tokenizer);
    tokenizer.with_post_processor(file.post_processor);
    tokenizer.add_tokens(file.added_tokens.iter().map(|a| a.token.clone())).map_err(Refusal::unreadable)?;
    check_added(&file.added_tokens, &tokenizer)?;
    Ok(tokenizer)
}

/// The number of parts of one step.
#[derive(Default)]
struct PartCount {
    all: usize,
    /// Number of parts that lengthen the text. A step may have only one of them.
    lengthening: usize,
}

impl PartCount {
    fn add(&mut self, step: &str) -> Result<(), Refusal> {
        self.all += 1;
        if self.all > MAX_PARTS {
            return Err(Refusal::new(format!(
                "{step} has more than {MAX_PARTS} parts. At most {MAX_PARTS} are supported."
            )));
        }
        Ok(())
    }

    fn add_lengthening(&mut self, step: &str, name: &str) -> Result<(), Refusal> {
        self.lengthening += 1;
        if self.lengthening > 1 {
            return Err(Refusal::new(format!(
                "{step} has more than one part that lengthens the text, such as {name}. Only one is supported."
            )));
        }
        Ok(())
    }
}

/// Checks the ids of added tokens. The crate assigns these ids itself and ignores the file, but other readers use the file.
fn check_added(added: &[AddedTokenEntry], tokenizer: &Tokenizer) -> Result<(), Refusal> {
    let wrong =
        added.iter().map(|a| (a, tokenizer.token_to_id(&a.token.content))).find(|(a, id)| *id != Some(a.id));
    wrong.map_or(Ok(()), |(AddedTokenEntry { id, token }, assigned)| {
        let assigned = assigned.map_or("no id".to_owned(), |id| format!("id {id}"));
        Err(Refusal::new(format!(
            "The added token {:?} has id {id}, but its position in the file leads to {assigned}.",
            token.content
        )))
    })
}

fn not_supported(step: &str, name: &str, supported: &str) -> Refusal {
    Refusal::new(format!("{step} is {name}. Supported are {supported}."))
}

fn read_normalizer(value: Value) -> Result<NormalizerWrapper, Refusal> {
    // Checked in the JSON, because parsing this part allocates as much memory as its first four bytes say.
    if has_key(&value, "precompiled_charsmap") {
        return Err(normalizer_not_supported("Precompiled"));
    }
    let normalizer = NormalizerWrapper::deserialize(value).map_err(Refusal::unreadable)?;
    check_normalizer(&normalizer, &mut PartCount::default())?;
    Ok(normalizer)
}

fn has_key(value: &Value, key: &str) -> bool {
    match value {
        Value::Object(members) => members.iter().any(|(name, inner)| name == key || has_key(inner, key)),
        Value::Array(items) => items.iter().any(|inner| has_key(inner, key)),
        _ => false,
    }
}

fn check_normalizer(normalizer: &NormalizerWrapper, count: &mut PartCount) -> Result<(), Refusal> {
    use NormalizerWrapper as N;
    count.add("normalizer")?;
    match normalizer {
        N::Sequence(parts) => parts.as_ref().iter().try_for_each(|part| check_normalizer(part, count)),
        N::BertNormalizer(_)
        | N::StripNormalizer(_)
        | N::StripAccents(_)
        | N::NFC(_)
        | N::NFD(_)
        | N::NFKC(_)
        | N::NFKD(_)
        | N::Lowercase(_)
        | N::Nmt(_) => Ok(()),
        // Several of these parts in a row can lengthen a text exponentially.
        N::Precompiled(_) => Err(normalizer_not_supported("Precompiled")),
        N::Replace(_) => Err(normalizer_not_supported("Replace")),
        N::Prepend(_) => Err(normalizer_not_supported("Prepend")),
        N::ByteLevel(_) => Err(normalizer_not_supported("ByteLevel")),
    }
}

fn normalizer_not_supported(name: &str) -> Refusal {
    let supported = "BertNormalizer, Strip, StripAccents, NFC, NFD, NFKC, NFKD, Lowercase, Nmt and Sequence";
    not_supported("normalizer", name, supported)
}

fn check_pre_tokenizer(pre_tokenizer: &PreTokenizerWrapper, count: &mut PartCount) -> Result<(), Refusal> {
    use PreTokenizerWrapper as P;
    let refused = |name| {
        let supported = "BertPreTokenizer, ByteLevel, Whitespace, WhitespaceSplit, Punctuation, Digits, Split and \
                         Sequence";
        Err(not_supported("pre_tokenizer", name, supported))
    };
    count.add("pre_tokenizer")?;
    match pre_tokenizer {
        P::Sequence(parts) => parts.as_ref().iter().try_for_each(|part| check_pre_tokenizer(part, count)),
        // Writes each byte as a character of up to two bytes.
        P::ByteLevel(_) => count.add_lengthening("pre_tokenizer", "ByteLevel"),
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

fn check_post_processor(post_processor: &PostProcessorWrapper, count: &mut PartCount) -> Result<(), Refusal> {
    use PostProcessorWrapper as P;
    count.add("post_processor")?;
    match post_processor {
        P::Sequence(parts) => parts.as_ref().iter().try_for_each(|part| check_post_processor(part, count)),
        P::ByteLevel(_) => Ok(()),
        P::Roberta(_) => count.add_lengthening("post_processor", "RobertaProcessing"),
        P::Bert(_) => count.add_lengthening("post_processor", "BertProcessing"),
        P::Template(_) => count.add_lengthening("post_processor", "TemplateProcessing"),
    }
}

fn check_model(model: &ModelWrapper) -> Result<(), Refusal> {
    let refused = |name| Err(not_supported("model", name, "WordPiece and BPE"));
    let affix = |field: &str, text: &str| {
        if text.len() > MAX_AFFIX_BYTES {
            let reason =
                format!("{field} has {} bytes. At most {MAX_AFFIX_BYTES} are supported.", text.len());
            return Err(Refusal::new(reason));
        }
        Ok(())
    };
    match model {
        ModelWrapper::WordPiece(model) => {
            if model.max_input_chars_per_word > MAX_WORD_CHARS {
                return Err(Refusal::new(format!(
                    "max_input_chars_per_word is {}. At most {MAX_WORD_CHARS} is supported.",
                    model.max_input_chars_per_word
                )));
            }
            if model.token_to_id(&model.unk_token).is_none() {
                return Err(Refusal::new(format!(
                    "unk_token is {:?}, but the vocabulary has no such token.",
                    model.unk_token
                )));
            }
            affix("continuing_subword_prefix", &model.continuing_subword_prefix)
        }
        ModelWrapper::BPE(model) => {
            if let Some(dropout) = model.dropout.filter(|&share| share != 0.0) {
                let reason =
                    format!("dropout is {dropout}. It must be 0, so that a text always has the same tokens.");
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
