// Links the native library against an old glibc, so that it runs on old systems.
//
// A linker binds each function to its newest version in the glibc of the build machine. The result needs that glibc or a newer
// one, although glibc also has the old versions. So the linker gets stub libraries instead of the machine's libraries. For
// each function, a stub has the newest version that is not above the minimum version.

const string MinGlibc = "2.28";

/// Creates the stub libraries and returns the flags that make the linker use them.
IEnumerable<string> GlibcFlags(NativeBuild build)
{
    var folder = artifacts.Combine($"glibc-{MinGlibc}").Combine(build.Rid);
    CleanDirectory(folder);
    string SystemLibrary(string name) => OutputOf(build, build.Compiler, $"-print-file-name={name}")[0];
    var loader = build.Rid.EndsWith("arm64") ? "ld-linux-aarch64.so.1" : "ld-linux-x86-64.so.2";
    var libc = CreateStub(build, folder, SystemLibrary("libc.so.6"));
    var libm = CreateStub(build, folder, SystemLibrary("libm.so.6"));
    CreateStub(build, folder, SystemLibrary(loader));

    // Before glibc 2.33, libc_nonshared.a compiled these functions into each program.
    var stat = folder.CombineWithFilePath("stat.c");
    System.IO.File.WriteAllText(stat.FullPath, """
        #ifdef __x86_64__
        enum { version = 1 };
        #else
        enum { version = 0 };
        #endif
        int __xstat64(int, const char *, void *);
        int __lxstat64(int, const char *, void *);
        int __fxstat64(int, int, void *);
        __attribute__((visibility("hidden"))) int stat64(const char *path, void *out) { return __xstat64(version, path, out); }
        __attribute__((visibility("hidden"))) int lstat64(const char *path, void *out) { return __lxstat64(version, path, out); }
        __attribute__((visibility("hidden"))) int fstat64(int file, void *out) { return __fxstat64(version, file, out); }
        """);
    OutputOf(build, build.Compiler, $"-O2 -fPIC -c {stat} -o {folder}/stat.o");
    OutputOf(build, $"{build.Binutils}ar", $"rcD {folder}/libstat.a {folder}/stat.o");

    // These two were separate libraries in old versions. The stub of libc has their functions, so the linker needs nothing from them.
    var old = $"{SystemLibrary("libpthread.so.0")} {SystemLibrary("libdl.so.2")}";
    System.IO.File.WriteAllText(
        folder.CombineWithFilePath("libc.so").FullPath,
        $"GROUP ( {libc} {folder}/libstat.a {SystemLibrary("libc_nonshared.a")} AS_NEEDED ( {folder}/{loader} ) )\n");
    System.IO.File.WriteAllText(folder.CombineWithFilePath("libm.so").FullPath, $"GROUP ( {libm} )\n");
    // Cargo links in native/. The relative path keeps the location of the source tree out of the result.
    return new[] { $"-Lnative={native.GetRelativePath(folder)}", "-Clink-arg=-Wl,--no-as-needed" }
        .Concat(old.Split(' ').Select(library => $"-Clink-arg={library}"))
        // A function that is newer than the minimum version fails here, and not when the library is loaded. Test programs also
        // link other libraries of the machine, which may need newer functions.
        .Append("-Clink-arg=-Wl,--as-needed,-z,defs,--allow-shlib-undefined");
}

/// Creates a library without code that has the functions of a system library, each in the newest version that is not above the minimum.
FilePath CreateStub(NativeBuild build, DirectoryPath folder, string library)
{
    var symbols = OutputOf(build, $"{build.Binutils}objdump", $"-T {library}")
        .Select(line => Regex.Match(line, @"^[0-9a-f]+ .{5}(?<kind>..) (?<section>\S+)\s+(?<size>[0-9a-f]+)\s+\(?(?<version>GLIBC_[\d.]+)\)?\s+(?<name>\S+)$"))
        .Where(m => m.Success && m.Groups["section"].Value != "*UND*" && m.Groups["section"].Value != "*ABS*")
        .Select(m => (
            Name: m.Groups["name"].Value,
            IsData: m.Groups["kind"].Value == "DO",
            Size: Convert.ToInt32(m.Groups["size"].Value, 16),
            Version: GlibcVersion(m.Groups["version"].Value)))
        .Where(s => s.Version <= System.Version.Parse(MinGlibc))
        .GroupBy(s => s.Name)
        .Select(g => g.MaxBy(s => s.Version))
        .OrderBy(s => s.Name, StringComparer.Ordinal)
        .ToArray();

    var name = System.IO.Path.GetFileName(library);
    var source = folder.CombineWithFilePath($"{name}.s");
    var map = folder.CombineWithFilePath($"{name}.map");
    System.IO.File.WriteAllLines(source.FullPath, symbols.Select(s => s.IsData
        ? $".bss\n.balign 16\n.globl {s.Name}\n.type {s.Name},%object\n.size {s.Name},{s.Size}\n{s.Name}: .zero {s.Size}"
        : $".text\n.globl {s.Name}\n.type {s.Name},%function\n{s.Name}:"));
    System.IO.File.WriteAllLines(map.FullPath, symbols
        .GroupBy(s => s.Version)
        .OrderBy(g => g.Key)
        .Select(g => $"GLIBC_{g.Key} {{ {string.Concat(g.Select(s => s.Name + "; "))}}};"));
    var stub = folder.CombineWithFilePath(name);
    OutputOf(build, build.Compiler, $"-shared -nostdlib -Wl,-soname,{name} -Wl,--version-script={map} {source} -o {stub}");
    return stub;
}

System.Version GlibcVersion(string name) => System.Version.Parse(name["GLIBC_".Length..]);

/// Returns the oldest glibc that has every function that a library imports.
System.Version GlibcOf(NativeBuild build, FilePath library) => OutputOf(build, $"{build.Binutils}objdump", $"-T {library}")
    .Select(line => Regex.Match(line, @"\*UND\*.*\(?(GLIBC_[\d.]+)\)?"))
    .Where(m => m.Success)
    .Max(m => GlibcVersion(m.Groups[1].Value));
