//! Escapes text from model files, so that it is safe to show.
//!
//! A model folder is untrusted data. A name in it could move the cursor of a terminal, forge a line of a log, or reverse the
//! direction of the text after it. Every message and log record of the library shows such characters as escapes.

use std::borrow::Cow;
use std::fmt::Write;

/// The dangerous characters that are not escaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Every dangerous character is escaped.
    Nothing,
    /// Line breaks are kept: the library wrote the text, and parts from files were escaped before.
    LineBreaks,
}

/// Returns whether a character can change how the text around it is shown: a control character, a separator of lines or
/// paragraphs, or a mark that sets the direction of text.
fn is_dangerous(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Replaces dangerous characters by the escapes of a Rust literal: `\n`, `\u{1b}`.
pub(crate) fn escape(text: &str, keep: Keep) -> Cow<'_, str> {
    let is_escaped = |c: char| is_dangerous(c) && !(c == '\n' && keep == Keep::LineBreaks);
    if !text.contains(is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 64);
    for c in text.chars() {
        if !is_escaped(c) {
            escaped.push(c);
        } else if matches!(c, '\n' | '\r' | '\t') {
            escaped.extend(c.escape_default());
        } else {
            // Writing to a String cannot fail.
            let _ = write!(escaped, "{}", c.escape_unicode());
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_control_and_direction_character_is_escaped() {
        let dangerous = ('\0'..'\u{20}')
            .chain('\u{7f}'..'\u{a0}')
            .chain("\u{61c}\u{200e}\u{200f}\u{2028}\u{2029}".chars())
            .chain('\u{202a}'..='\u{202e}')
            .chain('\u{2066}'..='\u{2069}');
        for c in dangerous {
            let text = format!("a{c}b");
            let escaped = escape(&text, Keep::Nothing);
            assert!(escaped.starts_with("a\\") && escaped.ends_with('b'), "{c:?}: {escaped}");
            assert!(!escaped.contains(is_dangerous), "{c:?}: {escaped}");
        }
        assert_eq!(escape("\u{1b}]0;title\u{7}\n\t", Keep::Nothing), "\\u{1b}]0;title\\u{7}\\n\\t");
    }

    #[test]
    fn ordinary_text_of_any_script_is_not_changed() {
        for text in ["", "2_Dense_256/model.safetensors", "C:\\models\\río", "春 ربيع весна 🙂 e\u{301}"]
        {
            assert!(matches!(escape(text, Keep::Nothing), Cow::Borrowed(same) if same == text), "{text}");
        }
    }

    #[test]
    fn only_line_breaks_are_kept_on_request() {
        assert_eq!(escape("a\nb\r\u{1b}", Keep::LineBreaks), "a\nb\\r\\u{1b}");
        assert!(matches!(escape("a\nb", Keep::LineBreaks), Cow::Borrowed("a\nb")));
    }
}
