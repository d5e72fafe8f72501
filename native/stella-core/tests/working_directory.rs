//! Tests a change of the working directory. The test has its own process, because the working directory is global.
#![allow(clippy::expect_used, clippy::panic)]

mod common;

use std::path::Path;

use common::{copy, fixture};
use stella_core::model_options::ModelOptions;
use stella_core::model_registry;

#[test]
fn a_model_with_a_relative_path_loads_heads_after_the_working_directory_changed() {
    let (dir, elsewhere) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    copy(&fixture("tiny-new"), &dir.path().join("model"));
    std::env::set_current_dir(dir.path()).expect("entered");
    let model = model_registry::open(Path::new("model"), &ModelOptions::default()).expect("loads");
    std::env::set_current_dir(elsewhere.path()).expect("entered");
    let head = model.head(256).map(|head| head.dimension());
    // Some systems refuse to remove the working directory of a process.
    std::env::set_current_dir(Path::new(env!("CARGO_MANIFEST_DIR"))).expect("left");
    assert_eq!(head.expect("loads"), 256);
}
