//! Models of any size with random weights, for tests and measurements that depend only on shapes.
#![allow(dead_code)]

#[path = "../../../stella-core/tests/common/mod.rs"]
mod common;

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use safetensors::Dtype;
use serde_json::{Value, json};
use stella_core::files::config::ModelConfig;
use stella_core::files::folder::ModelFolder;
use stella_core::weights::tensor_table::{Naming, TensorSpec, encoder_specs};

/// The shape of a model.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// The fixture that the configuration and the tokenizer are copied from: "tiny-new" or "tiny-qwen2".
    pub family: &'static str,
    pub hidden: usize,
    pub layers: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub inner: usize,
    pub vocabulary: usize,
    /// F32, F16 or BF16.
    pub dtype: Dtype,
    /// The number of files of weights.
    pub shards: usize,
}

impl Shape {
    /// The shape of Stella 400M.
    pub const STELLA_400M: Self = Self {
        family: "tiny-new",
        hidden: 1024,
        layers: 24,
        heads: 16,
        kv_heads: 16,
        inner: 4096,
        vocabulary: 30528,
        dtype: Dtype::F32,
        shards: 1,
    };
    /// The shape of Stella 1.5B.
    pub const STELLA_1500M: Self = Self {
        family: "tiny-qwen2",
        hidden: 1536,
        layers: 28,
        heads: 12,
        kv_heads: 2,
        inner: 8960,
        vocabulary: 151_646,
        dtype: Dtype::BF16,
        shards: 2,
    };

    /// Writes the model into `folder`.
    pub fn write(&self, folder: &Path) {
        common::copy(&common::fixture(self.family), folder);
        let mut config = read(&folder.join("config.json"));
        for (key, value) in [
            ("hidden_size", self.hidden),
            ("num_hidden_layers", self.layers),
            ("num_attention_heads", self.heads),
            ("num_key_value_heads", self.kv_heads),
            ("intermediate_size", self.inner),
            ("vocab_size", self.vocabulary),
        ] {
            if config.get(key).is_some() {
                config[key] = json!(value);
            }
        }
        fs::write(folder.join("config.json"), config.to_string()).expect("written");
        let pooling = folder.join("1_Pooling/config.json");
        let mut settings = read(&pooling);
        settings["word_embedding_dimension"] = json!(self.hidden);
        fs::write(pooling, settings.to_string()).expect("written");
        for entry in fs::read_dir(folder).expect("listed").map(|e| e.expect("entry").path()) {
            if entry.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.starts_with("2_Dense_")) {
                let mut dense = read(&entry.join("config.json"));
                dense["in_features"] = json!(self.hidden);
                fs::write(entry.join("config.json"), dense.to_string()).expect("written");
                let rows = dense["out_features"].as_u64().expect("a number") as usize;
                let head = [
                    TensorSpec::new("linear.weight", &[rows, self.hidden]),
                    TensorSpec::new("linear.bias", &[rows]),
                ];
                write_weights(&entry.join("model.safetensors"), &head, Dtype::F32);
            }
        }
        fs::remove_file(folder.join("model.safetensors")).expect("removed");
        let config =
            ModelConfig::read(&ModelFolder::open(folder, None).expect("opens")).expect("a configuration");
        let specs = encoder_specs(&config, Naming::published(config.architecture));
        if self.shards == 1 {
            return write_weights(&folder.join("model.safetensors"), &specs, self.dtype);
        }
        let mut map = serde_json::Map::new();
        for (at, part) in specs.chunks(specs.len().div_ceil(self.shards)).enumerate() {
            let name = format!("model-{:05}-of-{:05}.safetensors", at + 1, self.shards);
            write_weights(&folder.join(&name), part, self.dtype);
            map.extend(part.iter().map(|spec| (spec.name.clone(), json!(name))));
        }
        let index = json!({"metadata": {}, "weight_map": map});
        fs::write(folder.join("model.safetensors.index.json"), index.to_string()).expect("written");
    }
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("read")).expect("JSON")
}

/// Writes a safetensors file with values of the magnitude of a trained model: norm weights near one, and rows of matrices with a
/// length of about one.
fn write_weights(path: &Path, specs: &[TensorSpec], dtype: Dtype) {
    let element = dtype.bitsize() / 8;
    let mut header = serde_json::Map::new();
    let mut end = 0;
    for spec in specs {
        let begin = end;
        end += spec.elements() * element;
        let entry = json!({"dtype": dtype.to_string(), "shape": spec.shape, "data_offsets": [begin, end]});
        header.insert(spec.name.clone(), entry);
    }
    let header = Value::Object(header).to_string();
    let mut file = BufWriter::new(File::create(path).expect("created"));
    file.write_all(&(header.len() as u64).to_le_bytes()).expect("written");
    file.write_all(header.as_bytes()).expect("written");
    for (at, spec) in specs.iter().enumerate() {
        let is_norm =
            spec.name.contains("norm") || spec.name.contains("LayerNorm") || spec.name.contains("_ln.");
        let (offset, width) = match spec.shape.as_slice() {
            [_, columns] => (0.0, (3.0 / *columns as f32).sqrt()),
            _ if is_norm && spec.name.ends_with("weight") => (1.0, 0.1),
            _ => (0.0, 0.1),
        };
        // One block of noise is repeated. Its length is a prime, so that no two rows are equal.
        let mut state = at as u32 + 1;
        let block: Vec<u8> = (0..65_521.min(spec.elements()))
            .flat_map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let x = offset + width * ((state >> 8) as f32 / (1 << 23) as f32 - 1.0);
                match dtype {
                    Dtype::F16 => half::f16::from_f32(x).to_le_bytes().to_vec(),
                    Dtype::BF16 => half::bf16::from_f32(x).to_le_bytes().to_vec(),
                    _ => x.to_le_bytes().to_vec(),
                }
            })
            .collect();
        let mut left = spec.elements() * element;
        while left > 0 {
            let part = left.min(block.len());
            file.write_all(&block[..part]).expect("written");
            left -= part;
        }
    }
    file.flush().expect("written");
}
