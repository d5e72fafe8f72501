#!/bin/sh
# Makes a folder of libraries with which .NET runs on musl inside the Debian folder:
#
#     dotnet-on-musl.sh FOLDER
#
# .NET for musl needs a C++ library, which Debian has for glibc only. If a library asks for libc.so.6, musl takes its place. Only the few
# functions below are missing then. They are in a library with the name of glibc's loader, which the C++ library needs anyway.
set -eu
folder=$1
mkdir -p "$folder"
cat >"$folder/missing.c" <<'END'
#define _GNU_SOURCE
#include <locale.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

// The unwinder asks for the frames of a module this way first, and walks all modules if that fails.
int _dl_find_object(void *address, void *result) { return -1; }

// No feature of the processor is known.
struct { unsigned vendor, type, subtype, features; } __cpu_model;
int __cpu_indicator_init(void) { return 0; }

// A false value makes the C++ library use locks.
char __libc_single_threaded = 0;

// The destructors of the variables of a thread do not run, which leaks their memory when a thread ends.
int __cxa_thread_atexit_impl(void (*destructor)(void *), void *object, void *module) { return 0; }

// Texts of floats with 128 bits. .NET uses none.
int strfromf128(char *text, size_t length, const char *format, long double value) { abort(); }
long double strtof128(const char *text, char **end) { abort(); }

unsigned arc4random(void) {
  unsigned value;
  if (getrandom(&value, sizeof value, 0) != sizeof value) abort();
  return value;
}
unsigned long __isoc23_strtoul(const char *text, char **end, int base) { return strtoul(text, end, base); }
size_t __strftime_l(char *text, size_t length, const char *format, const struct tm *time, locale_t locale) {
  return strftime_l(text, length, format, time, locale);
}
END
x86_64-linux-musl-gcc -O1 -fno-builtin -fPIC -shared -o "$folder/ld-linux-x86-64.so.2" "$folder/missing.c"
for library in libstdc++.so.6 libgcc_s.so.1; do
  ln -sf "/usr/lib/x86_64-linux-gnu/$library" "$folder/$library"
done
