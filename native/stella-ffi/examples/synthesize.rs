//! Writes a model with random weights: `synthesize 400m|1500m FOLDER`.
#![allow(clippy::expect_used, clippy::panic)]

#[path = "../tests/synthetic/mod.rs"]
mod synthetic;

use synthetic::Shape;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [shape, folder] = args.as_slice() else { panic!("Usage: synthesize 400m|1500m FOLDER") };
    let shape = match shape.as_str() {
        "400m" => Shape::STELLA_400M,
        "1500m" => Shape::STELLA_1500M,
        other => panic!("Unknown shape {other}. Use 400m or 1500m."),
    };
    shape.write(folder.as_ref());
}
