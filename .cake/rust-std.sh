#!/bin/sh
# Compiles the standard library of Rust for a target, from the sources of Debian's package, and installs it beside the compiler:
#
#     rust-std.sh TARGET
#
# Runs inside the Debian folder. RUSTFLAGS has additional flags for the target.
set -eu
target=$1
sources=$(rustc --print sysroot)/lib/rustlib/src/rust
sources=$(readlink -f "$sources")
installed=$(rustc --print sysroot)/lib/rustlib/$target/lib
# The path of a package is part of the names of its symbols, so the folder has a fixed name.
work=/var/tmp/rust-std-$target
rm -rf "$work"
mkdir -p "$work"
trap 'rm -rf "$work"' EXIT

cp -r "$sources/library" "$work/library"
cd "$work/library"

# The package has no crates that only tests or the profiler use. So the tests leave the workspace, and an empty crate takes the place of
# the C compiler driver, which no enabled feature calls.
sed -i '/^members = \[/,/^\]/c members = ["std", "test"]' Cargo.toml
sed -i '/^\[dev-dependencies\]/,/^\[/{/^\[dev-dependencies\]/d;/^\[/!d}' std/Cargo.toml
# Programs link the static library, so the shared one is not built.
sed -i 's/^crate-type = .*/crate-type = ["rlib"]/' std/Cargo.toml
checksum=$(sed -n '/^name = "cc"/,/^checksum/s/^checksum = "\(.*\)"/\1/p' Cargo.lock)
version=$(sed -n '/^name = "cc"/,/^version/s/^version = "\(.*\)"/\1/p' Cargo.lock)
mkdir -p vendor/cc/src .cargo
printf '[package]\nname = "cc"\nversion = "%s"\n' "$version" >vendor/cc/Cargo.toml
printf '{"files":{},"package":"%s"}' "$checksum" >vendor/cc/.cargo-checksum.json
: >vendor/cc/src/lib.rs
printf '[source.crates-io]\nreplace-with = "vendored"\n[source.vendored]\ndirectory = "vendor"\n' >.cargo/config.toml

# The standard library uses unstable features, which other crates must not see. Paths in panic messages are those of the package.
export CARGO_HOME="$work/cargo" RUSTC_BOOTSTRAP=1 __CARGO_DEFAULT_LIB_METADATA=stella
export RUSTFLAGS="-Zforce-unstable-if-unmarked --remap-path-prefix=$work/library=$sources/library ${RUSTFLAGS:-}"
cargo build --release --offline --package std --package test --features std/panic-unwind,std/backtrace \
  --target "$target" --target-dir "$work/target"

rm -rf "$installed"
mkdir -p "$installed"
cp "$work/target/$target/release/deps/"*.rlib "$installed"
case $target in
  *-windows-gnu)
    # Programs and libraries of MinGW begin and end with these objects.
    for object in rsbegin rsend; do
      rustc --target "$target" --crate-type=lib --emit=obj -Cpanic=abort -o "$installed/$object.o" "rtstartup/$object.rs"
    done ;;
  *-linux-musl)
    # Rust unwinds with libgcc_s, which Debian has for glibc only. LLVM's unwinder takes its place. It prints debug output with functions
    # that only glibc has.
    cat >"$work/checked.c" <<'END'
#include <stdarg.h>
#include <stdio.h>
#define HIDDEN __attribute__((visibility("hidden")))
HIDDEN int __vfprintf_chk(FILE *file, int flag, const char *format, va_list arguments) { return vfprintf(file, format, arguments); }
HIDDEN int __vsnprintf_chk(char *text, size_t length, int flag, size_t size, const char *format, va_list arguments) {
  return vsnprintf(text, length, format, arguments);
}
HIDDEN int __fprintf_chk(FILE *file, int flag, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  int written = vfprintf(file, format, arguments);
  va_end(arguments);
  return written;
}
END
    "${target%%-*}-linux-musl-gcc" -O2 -fPIC -ffunction-sections -c "$work/checked.c" -o "$installed/checked.o"
    echo "GROUP ( $(find /opt/stella/"$target" -name libunwind.a) $installed/checked.o )" >"$installed/libgcc_s.so" ;;
esac
