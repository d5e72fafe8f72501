//! The symbols of the library: C# declares all its exports, and the library imports nothing that reaches a network.
#![allow(clippy::expect_used)]

use std::path::Path;

#[test]
fn every_export_is_in_the_bindings() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let bindings =
        std::fs::read_to_string(root.join("../../src/StellaInterop/Interop/Abi/NativeMethods.g.cs"))
            .expect("bindings");
    let mut exports = 0;
    for file in std::fs::read_dir(root.join("src")).expect("sources") {
        let source = std::fs::read_to_string(file.expect("file").path()).expect("source");
        let mut lines = source.lines();
        while let Some(line) = lines.next() {
            if line.trim() == "#[unsafe(no_mangle)]" {
                let signature = lines.next().expect("a signature follows");
                let name =
                    signature.split("fn ").nth(1).and_then(|rest| rest.split('(').next()).expect("a name");
                assert!(
                    bindings.contains(&format!("EntryPoint = \"{name}\"")),
                    "{name} is not in the bindings"
                );
                exports += 1;
            }
        }
    }
    assert_eq!(bindings.matches("EntryPoint = ").count(), exports);
}

/// Neither the library nor a crate in it can call a function that the library does not import.
#[test]
#[cfg(target_os = "linux")]
fn the_library_imports_nothing_that_opens_a_connection() {
    let tests = std::env::current_exe().expect("a path");
    let library = tests.with_file_name("libstella_interop.so");
    let symbols = std::process::Command::new("nm").args(["-D", "--undefined-only"]).arg(&library).output();
    let symbols = String::from_utf8(symbols.expect("nm runs").stdout).expect("UTF-8");
    let imports: Vec<&str> =
        symbols.lines().filter_map(|line| line.trim().split(' ').nth(1)?.split('@').next()).collect();
    assert!(imports.contains(&"mmap") || imports.contains(&"mmap64"), "{imports:?}");
    for name in ["socket", "connect", "bind", "listen", "accept", "accept4", "getaddrinfo", "sendto"] {
        assert!(!imports.contains(&name), "{name} is imported");
    }
}
