//! Recognizes files with the wrong content, which failed downloads and editors leave behind.

/// Number of bytes at the beginning of a file that [`recognize`] needs.
pub(crate) const BEGINNING: usize = 512;

/// Recognizes wrong content by the first bytes of a file. Returns a message that says what to do, or `None` for any other
/// content.
pub(crate) fn recognize(beginning: &[u8]) -> Option<&'static str> {
    let text = beginning.trim_ascii_start();
    let starts =
        |tag: &str| text.get(..tag.len()).is_some_and(|bytes| bytes.eq_ignore_ascii_case(tag.as_bytes()));
    if beginning.starts_with(b"version https://git-lfs.github.com/") {
        return Some(
            "The file is a Git LFS pointer, not the file that it points to. Get the file with 'git lfs pull', or download \
             the model again.",
        );
    }
    if ["<!doctype", "<!--", "<html", "<head", "<body", "<title", "<?xml"].iter().any(|tag| starts(tag)) {
        return Some(
            "The file is an HTML page, such as an error page of a server or a page about the file. Download the file itself.",
        );
    }
    match beginning {
        [0xEF, 0xBB, 0xBF, ..] => {
            Some("The file begins with a byte order mark. Save it as UTF-8 without a byte order mark.")
        }
        _ if is_utf16(beginning) => Some("The file is UTF-16 text. Save it as UTF-8."),
        _ => None,
    }
}

/// Returns whether bytes look like UTF-16 text: a byte order mark, or two ASCII characters, with which every JSON file
/// begins.
fn is_utf16(bytes: &[u8]) -> bool {
    let is_text = |byte: u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
    match *bytes {
        [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => true,
        [a, 0, b, 0, ..] | [0, a, 0, b, ..] => is_text(a) && is_text(b),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_wrong_content_is_recognized_and_right_content_is_not() {
        let utf16 =
            |text: &str, bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
        let json = r#"{"hidden_size": 64}"#;
        for (bytes, says) in [
            (
                b"version https://git-lfs.github.com/spec/v1\noid sha256:17e5\nsize 1740000000\n".to_vec(),
                "Git LFS",
            ),
            (b"<!DOCTYPE html>\n<html>".to_vec(), "HTML"),
            (b"\n  <HTML lang=en>".to_vec(), "HTML"),
            (b"<!-- login -->\n<html>".to_vec(), "HTML"),
            (b"<?xml version=\"1.0\"?><Error>".to_vec(), "HTML"),
            (format!("\u{feff}{json}").into_bytes(), "byte order mark"),
            (utf16(&format!("\u{feff}{json}"), u16::to_le_bytes), "UTF-16"),
            (utf16(&format!("\u{feff}{json}"), u16::to_be_bytes), "UTF-16"),
            (utf16(json, u16::to_le_bytes), "UTF-16"),
            (utf16(json, u16::to_be_bytes), "UTF-16"),
            (utf16("{\"größe\": 64}", u16::to_le_bytes), "UTF-16"),
            (utf16("[]", u16::to_be_bytes), "UTF-16"),
        ] {
            assert!(recognize(&bytes).is_some_and(|what| what.contains(says)), "{says}");
        }
        for bytes in [
            json.as_bytes(),
            b"",
            b"\0",
            b"<",
            &40u64.to_le_bytes(),
            b"[]",
            b"{\0",
            "\u{feff}".as_bytes().get(..2).unwrap(),
        ] {
            assert_eq!(recognize(bytes), None, "{bytes:?}");
        }
    }
}
