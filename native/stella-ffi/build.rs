//! Generates the C# declarations of the ABI from the Rust exports.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

#[allow(dead_code)]
#[path = "../stella-core/src/base/limits.rs"]
mod limits;

/// The files with exports, types and constants of the ABI. csbindgen does not follow `mod`, so a new file must be listed here.
const INPUTS: [&str; 10] = [
    "../stella-core/src/base/error_code.rs",
    "src/abi.rs",
    "src/counters.rs",
    "src/error.rs",
    "src/handle_counts.rs",
    "src/hash.rs",
    "src/log.rs",
    "src/model.rs",
    "src/session.rs",
    "src/tokenize.rs",
];

/// The file with the limits of stella-core. Its values are expressions, which csbindgen skips.
const LIMITS: &str = "src/limits.rs";

const BINDINGS: &str = "../../src/StellaInterop/Interop/Abi/NativeMethods.g.cs";

fn main() -> Result<(), Box<dyn Error>> {
    if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        // A crate with C code gives its own functions names that the linker would export as well.
        println!("cargo:rustc-cdylib-link-arg=-Wl,--exclude-libs,ALL");
    }

    let mut builder = csbindgen::Builder::default();
    for input in INPUTS {
        println!("cargo:rerun-if-changed={input}");
        builder = builder.input_extern_file(input);
    }
    let limits = PathBuf::from(env::var("OUT_DIR")?).join("limits.rs");
    fs::write(&limits, with_values(&fs::read_to_string(LIMITS)?)?)?;
    builder = builder.input_extern_file(limits);
    println!("cargo:rerun-if-changed={LIMITS}");
    println!("cargo:rerun-if-changed=../stella-core/src/base/limits.rs");
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

/// Replaces the expressions of [`LIMITS`] by their values. Fails for an expression that is not listed here.
fn with_values(text: &str) -> Result<String, Box<dyn Error>> {
    let values = [
        ("DEFAULT_MAX_TOKENS", limits::DEFAULT_MAX_TOKENS),
        ("MAX_MAX_TOKENS", limits::MAX_MAX_TOKENS),
        ("DEFAULT_MAX_BATCH_TOKENS", limits::DEFAULT_MAX_BATCH_TOKENS),
        ("MAX_MAX_BATCH_TOKENS", limits::MAX_MAX_BATCH_TOKENS),
        ("MAX_THREADS", limits::MAX_THREADS),
        ("MAX_SESSIONS", limits::MAX_SESSIONS),
    ];
    let text = values.iter().fold(text.to_owned(), |text, (name, value)| {
        text.replace(&format!("limits::{name} as u32"), &value.to_string())
    });
    match text.lines().find(|line| line.contains(" as u32")) {
        Some(line) => Err(format!("{LIMITS}: the build script has no value for {line:?}. Add it.").into()),
        None => Ok(text),
    }
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
