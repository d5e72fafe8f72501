//! The model folder: opening its files safely, and checked values of its JSON files.

pub mod config;
pub(crate) mod contents;
pub mod file_names;
pub mod file_stamp;
pub(crate) mod fingerprint;
pub mod folder;
pub mod folder_stamps;
pub mod hash;
pub(crate) mod json;
pub mod layout;
pub mod manifest;
pub mod open_file;
pub mod pooling_config;
pub mod rope;
pub(crate) mod settings;
