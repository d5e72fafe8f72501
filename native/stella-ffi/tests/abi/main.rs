//! The exports, called as a foreign caller calls them, with valid and with invalid arguments.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, clippy::expect_used, clippy::panic)]

#[path = "../../../stella-core/tests/common/mod.rs"]
mod common;
#[path = "../support/mod.rs"]
mod support;

mod arguments;
mod calls;
mod errors;
mod logging;
mod models;
mod tokens;

use std::path::Path;
use std::ptr::{null, null_mut};

use stella_core::ErrorCode;
use stella_interop::error::*;
use stella_interop::model::*;
use stella_interop::session::*;
use support::messages;

/// Returns the path of the model of a fixture.
fn folder(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/models").join(name);
    path.to_str().expect("the path is UTF-8").to_owned()
}

/// An error as a caller reads it.
#[derive(Debug)]
struct Reported {
    code: i32,
    text_index: i64,
    chain: Vec<String>,
}

/// Reads an error and frees it. Returns `None` for null.
fn take(error: *mut StellaError) -> Option<Reported> {
    if error.is_null() {
        return None;
    }
    unsafe {
        let (code, text_index) = (stella_error_code(error), stella_error_text_index(error));
        let chain = messages(error);
        stella_error_free(error);
        Some(Reported { code, text_index, chain })
    }
}

#[track_caller]
fn succeed(error: *mut StellaError) {
    if let Some(error) = take(error) {
        panic!("{error:?}");
    }
}

/// Checks the code of an error and a part of its message, whose letter case does not matter.
#[track_caller]
fn fail(error: *mut StellaError, code: ErrorCode, part: &str) {
    let Reported { code: found, chain, .. } = take(error).expect("an error");
    assert_eq!(found, code as i32, "{chain:?}");
    let message = chain[0].to_lowercase();
    assert!(message.contains(&part.to_lowercase()), "{chain:?} does not contain {part:?}");
}

/// Checks that an error is InvalidArgument, and a part of its message.
#[track_caller]
fn refused(error: *mut StellaError, part: &str) {
    fail(error, ErrorCode::InvalidArgument, part);
}

fn open(path: &str) -> *mut StellaModel {
    let mut model = null_mut();
    succeed(unsafe { stella_model_open(path.as_ptr(), path.len(), null(), null(), &mut model) });
    model
}

fn model(name: &str) -> *mut StellaModel {
    open(&folder(name))
}

fn session(model: *const StellaModel) -> *mut StellaSession {
    let mut session = null_mut();
    succeed(unsafe { stella_session_new(model, null(), &mut session) });
    session
}

fn info(model: *const StellaModel) -> StellaModelInfo {
    let mut info = StellaModelInfo { size: size_of::<StellaModelInfo>() as u32, ..Default::default() };
    succeed(unsafe { stella_model_info(model, &mut info) });
    info
}

/// Returns the name of a prompt of a model, and its info.
fn prompt<'a>(model: *const StellaModel, number: u32) -> (&'a str, StellaPromptInfo) {
    let mut info = StellaPromptInfo::default();
    succeed(unsafe { stella_model_prompt(model, number, &mut info) });
    let name = unsafe { std::slice::from_raw_parts(info.name, info.name_length) };
    (std::str::from_utf8(name).expect("UTF-8"), info)
}

/// Returns an address that is not null and not aligned for any type of more than one byte.
fn misaligned<T>() -> *mut T {
    std::ptr::without_provenance_mut(0x1001)
}
