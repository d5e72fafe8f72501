//! Lengths of texts and prompts in tokens, and texts that are condensed part by part.

use std::fs;
use std::ptr::null_mut;

use stella_interop::model::*;
use stella_interop::tokenize::*;

use super::support::turn;
use super::{common, folder, info, model, open, prompt, succeed};

/// Returns the count that the ABI reports for one text.
fn count(model: *const StellaModel, text: &str, prompt: &str) -> StellaTokenCount {
    let (prompt, prompt_length) = (prompt.as_ptr(), prompt.len());
    let options = StellaTokenizeOptions { prompt, prompt_length, ..Default::default() };
    let (mut ids, mut count, mut found) = ([0; 512], StellaTokenCount::default(), 0);
    succeed(unsafe {
        stella_model_tokenize(
            model,
            text.as_ptr(),
            text.len(),
            [0, text.len()].as_ptr(),
            1,
            &options,
            ids.as_mut_ptr(),
            ids.len(),
            &mut count,
            &mut found,
        )
    });
    count
}

#[test]
fn lengths_in_the_info_match_tokenization() {
    let _turn = turn();
    // A prompt of 700 tokens is counted completely, although a text is truncated at 512.
    let long = common::copy_of("tiny-new");
    let prompts = format!(r#"{{"prompts": {{"s2p_query": "{}"}}}}"#, "river ".repeat(700));
    fs::write(long.path().join("config_sentence_transformers.json"), prompts).expect("written");
    let long = long.path().to_str().expect("UTF-8").to_owned();
    for path in [folder("tiny-new"), folder("tiny-qwen2"), long] {
        let model = open(&path);
        let info = info(model);
        assert_eq!(count(model, "", "document").total, info.frame_tokens, "{path}");
        assert!(info.frame_tokens > 0);
        let prompts: Vec<_> = (1..=info.prompt_count).map(|number| prompt(model, number)).collect();
        assert_eq!(prompts.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["s2p_query", "s2s_query"]);
        let aliases = [("document", 0), ("s2p", prompts[0].1.tokens), ("s2s", prompts[1].1.tokens)];
        for (prompt, tokens) in prompts.iter().map(|(name, info)| (*name, info.tokens)).chain(aliases) {
            assert_eq!(count(model, "", prompt).total, info.frame_tokens + tokens, "{path} {prompt:?}");
            // BPE may merge the end of the prompt and the beginning of the text.
            let text = count(model, "a river runs", "document").total;
            let both = count(model, "a river runs", prompt).total;
            assert!(both.abs_diff(text + tokens) <= 1, "{path} {prompt:?}: {both}");
        }
        let long = "a ".repeat(info.max_text_bytes as usize);
        let (fits, beyond) = (&long[..info.max_text_bytes as usize], &long[..=info.max_text_bytes as usize]);
        assert_ne!(count(model, fits, "document").cut, StellaCut::Bytes as u32);
        assert_eq!(count(model, beyond, "document").cut, StellaCut::Bytes as u32);
        unsafe { stella_model_free(model) };
    }
}

/// Condenses a text in place. Returns its length, and whether the tokenizer does not read what follows.
fn condense(model: *const StellaModel, utf8: &mut [u8], units: *mut u32) -> (usize, bool) {
    let (mut length, mut is_enough) = (0, 9);
    succeed(unsafe {
        stella_model_condense(model, utf8.as_mut_ptr(), utf8.len(), units, &mut length, &mut is_enough)
    });
    assert!(is_enough <= 1);
    (length, is_enough == 1)
}

/// Callers condense a text in another encoding while they convert it to UTF-8 part by part.
#[test]
fn a_text_condensed_part_by_part_keeps_its_tokens_and_their_positions() {
    let _turn = turn();
    let model = model("tiny-new");
    let gap = " \u{200b}".repeat(info(model).max_text_bytes as usize);
    let text = format!("a{gap}river{gap}runs");
    let (mut utf8, mut units): (Vec<u8>, Vec<u32>) = (Vec::new(), vec![0]);
    let mut begin = 0;
    while begin < text.len() {
        let end = text.floor_char_boundary(begin + gap.len() / 2);
        utf8.extend_from_slice(&text.as_bytes()[begin..end]);
        units.pop();
        units.extend(begin as u32..=end as u32);
        begin = end;
        let (length, is_enough) = condense(model, &mut utf8, units.as_mut_ptr());
        assert!(!is_enough);
        utf8.truncate(length);
        units.truncate(length + 1);
    }
    let short = std::str::from_utf8(&utf8).expect("UTF-8");
    assert_eq!(short, "a river runs");
    let positions: Vec<usize> =
        short.match_indices(char::is_alphabetic).map(|(at, _)| units[at] as usize).collect();
    let letters: Vec<usize> =
        text.match_indices(|c: char| c.is_ascii_alphabetic()).map(|(at, _)| at).collect();
    assert_eq!((positions, units[utf8.len()] as usize), (letters, text.len()));
    assert_eq!(count(model, short, "document").total, count(model, &text, "document").total);
    unsafe { stella_model_free(model) };
}

#[test]
fn condensing_ends_soon_after_the_byte_limit() {
    let _turn = turn();
    let model = model("tiny-new");
    let limit = info(model).max_text_bytes as usize;
    let mut long = "river ".repeat(limit).into_bytes();
    let (length, is_enough) = condense(model, &mut long, null_mut());
    assert!(is_enough && (1..16).contains(&(length - limit)), "{length}");
    unsafe { stella_model_free(model) };
}
