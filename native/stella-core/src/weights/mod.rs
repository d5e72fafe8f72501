//! safetensors files: headers checked against the table of tensor names and shapes, then the tensors themselves.

pub mod header;
pub mod header_fault;
pub mod mapping;
pub mod tensor;
pub mod tensor_table;
pub(crate) mod weight_file;
pub(crate) mod weight_reader;
pub mod weight_set;
