//! Text of error messages: shortens values and lists that come from files.

use serde_json::Value;

/// Characters of a value or a key that a message shows.
const MAX_CHARS: usize = 100;
/// Names of a list that a message shows.
const MAX_NAMES: usize = 20;

/// Writes a JSON value for a message, shortened.
pub(crate) fn shown(value: &Value) -> String {
    shortened(&value.to_string())
}

/// Cuts a text after 100 characters and marks the cut.
pub(crate) fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Writes the first 20 names of a list, separated by commas, and how many more there are.
pub(crate) fn listed<S: AsRef<str>>(names: &[S]) -> String {
    let more = names.len().saturating_sub(MAX_NAMES);
    let first: Vec<_> = names.iter().take(MAX_NAMES).map(|name| shortened(name.as_ref())).collect();
    let first = first.join(", ");
    if more > 0 { format!("{first} and {more} more") } else { first }
}
