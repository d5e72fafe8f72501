// The oldest C library that the native library runs on.
//
// A linker binds each function to its newest version in the C library of the machine that builds, and so asks for that
// C library or a newer one. The old versions are still in there, though. So stand-ins of the machine's libraries are made
// that name, for each function, the newest version that was there in the floor, and the linker is shown these.

const string GlibcFloor = "2.28";

bool HasGlibc => host.StartsWith("linux") && !host.StartsWith("linux-musl");

/// Makes the stand-ins and gives the flags that make the linker take them.
IEnumerable<string> GlibcFlags()
{
    var folder = artifacts.Combine($"glibc-{GlibcFloor}");
    CleanDirectory(folder);
    var loader = host.EndsWith("arm64") ? "/lib/ld-linux-aarch64.so.1" : "/lib64/ld-linux-x86-64.so.2";
    var libc = StandIn(folder, SystemLibrary("libc.so.6"));
    var libm = StandIn(folder, SystemLibrary("libm.so.6"));
    StandIn(folder, loader);

    // What was compiled into each program before 2.33, as the C library's own libc_nonshared.a did.
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
    Output("cc", $"-O2 -fPIC -c {stat} -o {folder}/stat.o");
    Output("ar", $"rcD {folder}/libstat.a {folder}/stat.o");

    // These two were libraries of their own then; the stand-in of libc has their functions, so that nothing looks for them.
    var old = $"{SystemLibrary("libpthread.so.0")} {SystemLibrary("libdl.so.2")}";
    System.IO.File.WriteAllText(
        folder.CombineWithFilePath("libc.so").FullPath,
        $"GROUP ( {libc} {folder}/libstat.a {SystemLibrary("libc_nonshared.a")} AS_NEEDED ( {folder}/{System.IO.Path.GetFileName(loader)} ) )\n");
    System.IO.File.WriteAllText(folder.CombineWithFilePath("libm.so").FullPath, $"GROUP ( {libm} )\n");
    // Cargo links in native/. Flags that do not name the place of the tree keep it out of the result.
    return new[] { $"-Lnative={native.GetRelativePath(folder)}", "-Clink-arg=-Wl,--no-as-needed" }
        .Concat(old.Split(' ').Select(library => $"-Clink-arg={library}"))
        // A function that is younger than the floor is an error here, and not where the library is loaded. The machine's
        // other libraries, which test programs are linked with, may be younger.
        .Append("-Clink-arg=-Wl,--as-needed,-z,defs,--allow-shlib-undefined");
}

string SystemLibrary(string name) => Output("cc", $"-print-file-name={name}")[0];

/// A library without code that has the functions of a system's library, each in the newest version that is not above the floor.
FilePath StandIn(DirectoryPath folder, string library)
{
    var symbols = Output("objdump", $"-T {library}")
        .Select(line => Regex.Match(line, @"^[0-9a-f]+ .{5}(?<kind>..) (?<section>\S+)\s+(?<size>[0-9a-f]+)\s+\(?(?<version>GLIBC_[\d.]+)\)?\s+(?<name>\S+)$"))
        .Where(m => m.Success && m.Groups["section"].Value != "*UND*" && m.Groups["section"].Value != "*ABS*")
        .Select(m => (
            Name: m.Groups["name"].Value,
            IsData: m.Groups["kind"].Value == "DO",
            Size: Convert.ToInt32(m.Groups["size"].Value, 16),
            Version: GlibcVersion(m.Groups["version"].Value)))
        .Where(s => s.Version <= System.Version.Parse(GlibcFloor))
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
    var made = folder.CombineWithFilePath(name);
    Output("cc", $"-shared -nostdlib -Wl,-soname,{name} -Wl,--version-script={map} {source} -o {made}");
    return made;
}

System.Version GlibcVersion(string name) => System.Version.Parse(name["GLIBC_".Length..]);

/// The oldest C library that has every function which a library asks for.
System.Version GlibcOf(FilePath library) => Output("objdump", $"-T {library}")
    .Select(line => Regex.Match(line, @"\*UND\*.*\(?(GLIBC_[\d.]+)\)?"))
    .Where(m => m.Success)
    .Max(m => GlibcVersion(m.Groups[1].Value));

void CheckGlibc(FilePath library)
{
    if (HasGlibc && GlibcOf(library) > System.Version.Parse(GlibcFloor))
    {
        throw new CakeException($"{library.GetFilename()} asks for glibc {GlibcOf(library)}; the floor is {GlibcFloor}.");
    }
}
