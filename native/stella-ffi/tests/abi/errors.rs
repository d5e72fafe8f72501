//! Errors as a caller reads them.

use std::fs;
use std::ptr::{null, null_mut};

use stella_core::ErrorCode;
use stella_interop::error::*;
use stella_interop::model::*;

use super::support::turn;
use super::{Reported, take};

#[test]
fn the_error_chain_lists_causes_outermost_first() {
    let _turn = turn();
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join("config.json"), "{").expect("written");
    let path = dir.path().to_str().expect("UTF-8");
    let mut model = null_mut();
    let error = unsafe { stella_model_open(path.as_ptr(), path.len(), null(), null(), &mut model) };
    let Reported { code, text_index, chain } = take(error).expect("refused");
    assert_eq!((code, text_index, chain.len()), (ErrorCode::ModelFileInvalid as i32, -1, 2));
    assert!(chain[0].contains("config.json") && chain[1].contains("EOF"), "{chain:?}");
}

#[test]
fn a_message_is_cut_to_the_buffer_and_its_full_length_is_returned() {
    let _turn = turn();
    unsafe {
        let error = stella_model_info(null(), null_mut());
        let length = "Argument model is null. Pass a valid pointer.".len();
        let mut small = [0u8; 8];
        assert_eq!(stella_error_message(error, 0, small.as_mut_ptr(), small.len()), length);
        assert_eq!(&small, b"Argument");
        assert_eq!(stella_error_message(error, 1, small.as_mut_ptr(), small.len()), 0);
        stella_error_free(error);
    }
}
