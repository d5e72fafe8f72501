//! Generates the C# declarations of the ABI from the Rust exports.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// The files with exports, types and constants of the ABI. csbindgen does not follow `mod`, so a new file must be listed here.
const INPUTS: [&str; 11] = [
    "../stella-core/src/base/error_code.rs",
    "src/abi.rs",
    "src/counters.rs",
    "src/error.rs",
    "src/handle_counts.rs",
    "src/hash.rs",
    "src/limits.rs",
    "src/log.rs",
    "src/model.rs",
    "src/session.rs",
    "src/tokenize.rs",
];

const BINDINGS: &str = "../../src/StellaInterop/Interop/NativeMethods.g.cs";

fn main() -> Result<(), Box<dyn Error>> {
    let mut builder = csbindgen::Builder::default();
    for input in INPUTS {
        println!("cargo:rerun-if-changed={input}");
        builder = builder.input_extern_file(input);
    }
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={BINDINGS}");

    let fresh = PathBuf::from(env::var("OUT_DIR")?).join("NativeMethods.g.cs");
    builder
        .csharp_namespace("StellaInterop.Interop")
        .csharp_class_name("NativeMethods")
        .csharp_dll_name("stella_interop")
        .csharp_generate_const_filter(|name| name.starts_with("STELLA_"))
        .csharp_type_rename(|name| match name.strip_prefix("Stella") {
            Some(rest) => format!("Native{rest}"),
            None if name == "ErrorCode" => "NativeErrorCode".to_owned(),
            None => name,
        })
        .always_included_types([
            "ErrorCode",
            "StellaStruct",
            "StellaHandleKind",
            "StellaCounter",
            "StellaPrecision",
            "StellaEncoder",
            "StellaCpuLevel",
            "StellaLoadMode",
            "StellaArchitecture",
            "StellaDevice",
            "StellaPooling",
            "StellaLongText",
            "StellaCut",
        ])
        .generate_csharp_file(&fresh)?;
    publish(&fresh, Path::new(BINDINGS))
}

/// Copies the bindings into the C# tree if they differ. A tree without C# or without write access still builds: the Bindings
/// task of the build checks that the committed file is up to date.
fn publish(fresh: &Path, bindings: &Path) -> Result<(), Box<dyn Error>> {
    let text = tidy(&fs::read_to_string(fresh)?);
    let same = fs::read_to_string(bindings).is_ok_and(|old| old == text);
    if !same
        && bindings.parent().is_some_and(Path::is_dir)
        && let Err(e) = fs::write(bindings, text)
    {
        println!("cargo:warning=Could not write {}: {e}.", bindings.display());
    }
    Ok(())
}

/// Removes the trailing spaces and repeated blank lines that csbindgen writes.
fn tidy(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.dedup_by(|a, b| a.is_empty() && b.is_empty());
    lines.join("\n").trim_end().to_owned() + "\n"
}
