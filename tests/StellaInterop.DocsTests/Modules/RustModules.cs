using System.Text.RegularExpressions;

namespace StellaInterop.DocsTests.Modules;

/// <summary>The files of a Rust crate as modules: a file uses another if a path of its code leads into it.</summary>
/// <remarks>Comments, literals, <c>mod</c> declarations and unit tests do not count.</remarks>
internal static partial class RustModules
{
    /// <summary>Reads the sources of a crate.</summary>
    public static ModuleGraph OfCrate(string folder)
    {
        string sources = Path.Combine(folder, "src");
        return Of(Directory.EnumerateFiles(sources, "*.rs", SearchOption.AllDirectories)
            .Order(StringComparer.Ordinal)
            .Select(file => (Path.GetRelativePath(sources, file).Replace('\\', '/'), File.ReadAllText(file))));
    }

    /// <summary>Like <see cref="OfCrate"/>, with a module for each folder of the sources.</summary>
    public static ModuleGraph FoldersOfCrate(string folder)
    {
        string sources = Path.Combine(folder, "src");
        return Of(
            Directory.EnumerateFiles(sources, "*.rs", SearchOption.AllDirectories)
                .Order(StringComparer.Ordinal)
                .Select(file => (Path.GetRelativePath(sources, file).Replace('\\', '/'), File.ReadAllText(file))),
            FolderOf);
    }

    /// <param name="files">The path of each file, relative to <c>src</c>, and its text.</param>
    /// <param name="moduleOf">Names the module of a file. By default, each file is one.</param>
    public static ModuleGraph Of(IEnumerable<(string Path, string Text)> files, Func<string, string>? moduleOf = null)
    {
        moduleOf ??= path => path;
        (string Path, string Code)[] sources = [.. files.Select(file => (file.Path, Code(file.Text)))];
        var modules = sources.ToDictionary(source => ModulePath(source.Path), source => source.Path, StringComparer.Ordinal);
        Dictionary<string, string> exports = Exports(sources.SingleOrDefault(source => source.Path == "lib.rs").Code ?? string.Empty);
        var graph = new ModuleGraph();
        foreach ((string path, string code) in sources)
        {
            foreach ((string target, int index) in Paths(code, ModulePath(path)))
            {
                if (Resolve(target, modules, exports) is { } file)
                {
                    graph.Add(moduleOf(path), moduleOf(file), $"{path}:{code[..index].Count(c => c == '\n') + 1} {target}");
                }
            }
        }

        return graph;
    }

    /// <summary>Names the folder of a file. A file beside the root is a module of its own.</summary>
    internal static string FolderOf(string path) => path.Contains('/', StringComparison.Ordinal) ? path[..path.LastIndexOf('/')] : path;

    /// <summary>Turns <c>a/b.rs</c> and <c>a/b/mod.rs</c> into <c>a::b</c>, and <c>lib.rs</c> into nothing.</summary>
    private static string ModulePath(string file) =>
        ModuleFile().Replace(file, string.Empty) is var path && path == "lib" ? string.Empty : path.Replace("/", "::", StringComparison.Ordinal);

    /// <summary>Finds the file of the longest beginning of a path that is a module.</summary>
    private static string? Resolve(string path, Dictionary<string, string> modules, Dictionary<string, string> exports)
    {
        string[] names = path.Split("::");
        if (exports.TryGetValue(names[0], out string? exported))
        {
            names = exported.Split("::");
        }

        for (int count = names.Length; count > 0; count--)
        {
            if (modules.TryGetValue(string.Join("::", names[..count]), out string? file))
            {
                return file;
            }
        }

        // The item is declared in the crate's root itself.
        return modules.GetValueOrDefault(string.Empty);
    }

    /// <summary>The items that the crate's root exports under a short name, with the path of each.</summary>
    private static Dictionary<string, string> Exports(string root) => Export().Matches(root)
        .SelectMany(match => Expand(match.Groups[1].Value))
        .Select(path => path.StartsWith("crate::", StringComparison.Ordinal) ? path["crate::".Length..] : path)
        .GroupBy(path => path.Split("::")[^1], StringComparer.Ordinal)
        .ToDictionary(group => group.Key, group => group.First(), StringComparer.Ordinal);

    /// <summary>Returns every path into the crate, from its root, and the index of the path in the code.</summary>
    private static IEnumerable<(string Path, int Index)> Paths(string code, string module)
    {
        foreach (Match match in CratePath().Matches(code))
        {
            foreach (string path in Expand(match.Value))
            {
                if (FromRoot(path, module) is { Length: > 0 } target)
                {
                    yield return (target, match.Index);
                }
            }
        }
    }

    private static string FromRoot(string path, string module)
    {
        List<string> names = [.. path.Split("::")];
        if (names[0] == "crate")
        {
            return string.Join("::", names.Skip(1));
        }

        List<string> parents = [.. module.Split("::", StringSplitOptions.RemoveEmptyEntries)];
        if (names[0] == "self")
        {
            names.RemoveAt(0);
        }

        while (names.Count > 0 && names[0] == "super")
        {
            names.RemoveAt(0);
            if (parents.Count > 0)
            {
                parents.RemoveAt(parents.Count - 1);
            }
        }

        return string.Join("::", parents.Concat(names));
    }

    /// <summary>Turns <c>a::{b, c::{d, e as f}}</c> into its single paths.</summary>
    private static IEnumerable<string> Expand(string tree)
    {
        int brace = tree.IndexOf('{', StringComparison.Ordinal);
        if (brace < 0)
        {
            return [Alias().Replace(tree.Trim(), string.Empty).Replace("::self", string.Empty, StringComparison.Ordinal)];
        }

        string prefix = tree[..brace].Trim();
        return Parts(tree[(brace + 1)..tree.LastIndexOf('}')]).SelectMany(part => Expand(part).Select(path => path == "self" ? prefix.TrimEnd(':') : prefix + path));
    }

    /// <summary>Splits at the commas that stand in no inner group.</summary>
    private static IEnumerable<string> Parts(string list)
    {
        (int depth, int start) = (0, 0);
        for (int i = 0; i <= list.Length; i++)
        {
            char c = i < list.Length ? list[i] : ',';
            depth += c == '{' ? 1 : c == '}' ? -1 : 0;
            if (c == ',' && depth == 0)
            {
                if (list[start..i].Trim() is { Length: > 0 } part)
                {
                    yield return part;
                }

                start = i + 1;
            }
        }
    }

    /// <summary>Blanks comments, literals and unit tests. Lines keep their numbers.</summary>
    private static string Code(string text)
    {
        string code = NoCode().Replace(text, match => Blank(match.Value));
        for (Match test = TestModule().Match(code); test.Success; test = TestModule().Match(code))
        {
            int end = test.Index + test.Length;
            for (int depth = 1; depth > 0 && end < code.Length; end++)
            {
                depth += code[end] == '{' ? 1 : code[end] == '}' ? -1 : 0;
            }

            code = code[..test.Index] + Blank(code[test.Index..end]) + code[end..];
        }

        return code;
    }

    private static string Blank(string text) => NotLineEnd().Replace(text, " ");

    [GeneratedRegex(@"(/mod)?\.rs$")]
    private static partial Regex ModuleFile();

    [GeneratedRegex(@"pub(?:\([a-z]+\))? use ([^;]+);")]
    private static partial Regex Export();

    [GeneratedRegex(@"(?<![\w:$])(?:crate|self|super)(?:::\w+)*::(?:\w+|\{(?>[^{}]+|(?<open>\{)|(?<-open>\}))*(?(open)(?!))\})")]
    private static partial Regex CratePath();

    [GeneratedRegex(@"\s+as\s+\w+$")]
    private static partial Regex Alias();

    [GeneratedRegex(@"//[^\n]*|/\*.*?\*/|b?r(#+)""[\s\S]*?""\1|b?""(?:[^""\\]|\\[\s\S])*""|'(?:[^'\\\n]|\\.[^'\n]*)'", RegexOptions.Singleline)]
    private static partial Regex NoCode();

    [GeneratedRegex(@"#\[cfg\((?:all\()?test\b[^\]]*\]\s*(?:pub(?:\([a-z]+\))? )?mod \w+\s*\{")]
    private static partial Regex TestModule();

    [GeneratedRegex(@"[^\n]")]
    private static partial Regex NotLineEnd();
}
