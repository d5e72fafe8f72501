//! Compares the strict header reader with the reader of the `safetensors` crate on headers that are nearly valid.
#![allow(clippy::expect_used, clippy::panic)]

mod oracle;

use std::collections::BTreeMap;
use std::env;

use oracle::{Verdict, compare, compare_files, file};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use stella_core::weights::header::Header;
use stella_core::weights::header_fault::LENGTH_BYTES;

/// The environment variable with the number of cases, for longer manual runs.
const CASES_VARIABLE: &str = "STELLA_HEADER_CASES";
const DEFAULT_CASES: u32 = 50_000;

/// Generates a wrong value for a part of a header, but `None` in most cases, so that most parts of a header are valid.
fn sometimes(wrong: impl Strategy<Value = String> + 'static) -> impl Strategy<Value = Option<String>> {
    prop_oneof![24 => Just(None), 1 => wrong.prop_map(Some)]
}

fn texts(from: &'static [&'static str]) -> impl Strategy<Value = String> {
    select(from).prop_map(str::to_owned)
}

const DTYPES: [(&str, u64); 9] = [
    ("F32", 32),
    ("F16", 16),
    ("BF16", 16),
    ("I64", 64),
    ("U8", 8),
    ("BOOL", 8),
    ("F8_E4M3", 8),
    ("F4", 4),
    ("F64", 64),
];
const NAMES: &[&str] = &["a", "b", "w", "\\u0077", "", "a\\u0000b", "../x", "__metadata__", "layer.0.weight"];
const ODD_DTYPES: &[&str] = &[r#""f32""#, r#""X""#, "null", "7", r#"{"F32":null}"#, r#"["F32"]"#];
const ODD_SHAPES: &[&str] = &[
    "[-1]",
    "[1.0]",
    "[4e0]",
    "[18446744073709551616]",
    "[0,9223372036854775808,9223372036854775808]",
    "[9223372036854775808,9223372036854775808,0]",
    "[281474976710656,0]",
    "[4194305,4194305,211106198978564]",
    "[1,1,1,1,1,1,1,1,1]",
    "null",
    "{}",
    "\"1\"",
];
const ODD_OFFSETS: &[&str] =
    &["[0]", "[0,1,2]", "[8,0]", "[-1,3]", "[0.0,4]", "null", "[18446744073709551615,0]"];
const ODD_FIELDS: &[&str] = &[
    r#","note":1"#,
    r#","dtype":"F32""#,
    r#","shape":[]"#,
    r#","data_offsets":[0,0]"#,
    r#","x":{"y":[[]]}"#,
];
const METADATA: &[&str] = &[
    r#""__metadata__":{"format":"pt"}"#,
    r#""__metadata__":{}"#,
    r#""__metadata__":null"#,
    r#""__metadata__":{"a":1}"#,
    r#""__metadata__":{"a":"1","a":"2"}"#,
    r#""__metadata__":[]"#,
];
const AROUND: &[&str] = &[" ", "\n", "  \t", "\u{feff}", "x", "}", "\0"];

/// One tensor of a header, without its offsets, and the faults of its entry.
#[derive(Debug, Clone)]
struct Part {
    name: String,
    dtype: (&'static str, u64),
    shape: Vec<u64>,
    odd_dtype: Option<String>,
    odd_shape: Option<String>,
    odd_offsets: Option<String>,
    odd_fields: Option<String>,
    as_array: bool,
    /// Bytes by which its offsets are too high or too low.
    shift: i64,
}

fn part() -> impl Strategy<Value = Part> {
    (
        (
            prop_oneof![6 => "[a-f]{1,3}", 1 => texts(NAMES)],
            select(&DTYPES[..]),
            prop::collection::vec(prop_oneof![8 => 1u64..4, 1 => Just(0u64)], 0..4),
        ),
        (sometimes(texts(ODD_DTYPES)), sometimes(texts(ODD_SHAPES)), sometimes(texts(ODD_OFFSETS))),
        (sometimes(texts(ODD_FIELDS)), prop_oneof![40 => Just(false), 1 => Just(true)]),
        prop_oneof![30 => Just(0i64), 1 => -4i64..5],
    )
        .prop_map(
            |((name, dtype, shape), (odd_dtype, odd_shape, odd_offsets), (odd_fields, as_array), shift)| {
                Part { name, dtype, shape, odd_dtype, odd_shape, odd_offsets, odd_fields, as_array, shift }
            },
        )
}

/// Generates a header as text, and the number of data bytes that follow it.
fn header() -> impl Strategy<Value = (String, u64)> {
    (
        prop::collection::vec(part(), 0..5),
        prop_oneof![3 => Just(None), 1 => texts(METADATA).prop_map(Some)],
        (sometimes(texts(AROUND)), sometimes(texts(AROUND))),
        prop_oneof![20 => Just(0i64), 1 => -3i64..4],
    )
        .prop_map(|(parts, metadata, (before, after), beyond)| {
            let mut at = 0u64;
            let mut members: Vec<String> = metadata.into_iter().collect();
            for part in parts {
                let bytes = part.shape.iter().product::<u64>() * part.dtype.1 / 8;
                let begin = at.saturating_add_signed(part.shift);
                let end = begin + bytes;
                at = end;
                let dtype = part.odd_dtype.unwrap_or_else(|| format!("{:?}", part.dtype.0));
                let shape = part.odd_shape.unwrap_or_else(|| format!("{:?}", part.shape));
                let offsets = part.odd_offsets.unwrap_or_else(|| format!("[{begin},{end}]"));
                let more = part.odd_fields.unwrap_or_default();
                members.push(if part.as_array {
                    format!(r#""{}":[{dtype},{shape},{offsets}]"#, part.name)
                } else {
                    format!(
                        r#""{}":{{"dtype":{dtype},"shape":{shape},"data_offsets":{offsets}{more}}}"#,
                        part.name
                    )
                });
            }
            let json = format!(
                "{}{{{}}}{}",
                before.unwrap_or_default(),
                members.join(","),
                after.unwrap_or_default()
            );
            (json, at.saturating_add_signed(beyond))
        })
}

#[test]
fn both_readers_agree_on_generated_headers_except_for_the_listed_stricter_refusals() {
    let cases = env::var(CASES_VARIABLE).ok().and_then(|n| n.parse().ok()).unwrap_or(DEFAULT_CASES);
    let seen = std::cell::RefCell::new(BTreeMap::<Verdict, u32>::new());
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&header(), |(json, data_len)| {
            let verdict = compare(json.as_bytes(), data_len).map_err(TestCaseError::fail)?;
            let whole =
                compare_files(&file(json.as_bytes(), data_len as usize)).map_err(TestCaseError::fail)?;
            prop_assert_eq!(verdict, whole, "{}", json);
            *seen.borrow_mut().entry(verdict).or_default() += 1;
            Ok(())
        })
        .expect("the two readers agree");
    // The test proves nothing if the generator produces only invalid or only valid headers.
    let seen = seen.into_inner();
    println!("{cases} headers: {seen:?}");
    for verdict in [Verdict::Both, Verdict::Stricter, Verdict::Neither] {
        assert!(seen.get(&verdict).is_some_and(|&n| n > cases / 50), "{verdict:?} is too rare: {seen:?}");
    }
}

#[test]
fn a_header_above_the_length_limit_is_refused_before_it_is_read() {
    let fault = Header::check_length((17u64 << 20).to_le_bytes(), u64::MAX).expect_err("refused");
    assert!(fault.is_stricter() && fault.to_string().contains("at most 16777216"), "{fault}");
    let fault = Header::check_length(100u64.to_le_bytes(), 100 + LENGTH_BYTES - 1).expect_err("refused");
    assert!(!fault.is_stricter());
}
