//! Files that are something else than their names say, because a download or an editor went wrong.

/// Bytes at the beginning of a file that tell what it is.
pub(crate) const BEGINNING: usize = 512;

/// Recognises a wrong file by its beginning, and says what to do about it. `None` for anything else.
pub(crate) fn recognize(beginning: &[u8]) -> Option<&'static str> {
    let text = beginning.trim_ascii_start();
    let starts =
        |tag: &str| text.get(..tag.len()).is_some_and(|bytes| bytes.eq_ignore_ascii_case(tag.as_bytes()));
    if beginning.starts_with(b"version https://git-lfs.github.com/") {
        return Some(
            "is a pointer of Git LFS, and not the file that it points to. Get the file with git lfs pull, or download the \
             model anew",
        );
    }
    if ["<!doctype", "<!--", "<html", "<head", "<body", "<title", "<?xml"].iter().any(|tag| starts(tag)) {
        return Some(
            "is an HTML page, as a server sends it for a page about the file or for an error. Download the file itself",
        );
    }
    match beginning {
        [0xEF, 0xBB, 0xBF, ..] => Some("begins with a byte order mark. Save it as UTF-8 without one"),
        _ if is_utf16(beginning) => Some("is text in UTF-16. Save it as UTF-8"),
        _ => None,
    }
}

/// Whether bytes look like text in UTF-16: a mark, or a text whose first two characters are ASCII, as in every file of JSON.
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
    fn each_kind_is_told_from_the_others() {
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
