using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;

namespace StellaInterop.DocsTests.Modules;

/// <summary>The folders of a C# project as modules: a folder uses another if its code uses a type that the other declares.</summary>
/// <remarks>Names in documentation comments do not count, because they compile to nothing.</remarks>
internal static class CSharpFolders
{
    /// <summary>Names that ImplicitUsings brings into every file, also those of web projects.</summary>
    private const string GlobalUsings = """
        global using System;
        global using System.Collections.Generic;
        global using System.IO;
        global using System.Linq;
        global using System.Net.Http;
        global using System.Threading;
        global using System.Threading.Tasks;
        """;

    private static readonly MetadataReference[] Platform =
    [
        .. ((string)AppContext.GetData("TRUSTED_PLATFORM_ASSEMBLIES")!).Split(Path.PathSeparator)
            .Where(file => !Path.GetFileName(file).StartsWith("StellaInterop", StringComparison.Ordinal))
            .Select(file => MetadataReference.CreateFromFile(file)),
    ];

    /// <summary>Reads the sources of a project, without what a build writes.</summary>
    public static ModuleGraph OfProject(string folder) => Of(
        Directory.EnumerateFiles(folder, "*.cs", SearchOption.AllDirectories)
            .Select(file => Path.GetRelativePath(folder, file).Replace('\\', '/'))
            .Where(file => !file.StartsWith("obj/", StringComparison.Ordinal) && !file.StartsWith("bin/", StringComparison.Ordinal))
            .Order(StringComparer.Ordinal)
            .Select(file => (file, File.ReadAllText(Path.Combine(folder, file)))));

    /// <param name="files">The path of each file, relative to its project, and its text.</param>
    public static ModuleGraph Of(IEnumerable<(string Path, string Text)> files)
    {
        var options = new CSharpParseOptions(LanguageVersion.Preview);
        SyntaxTree[] sources = [.. files.Select(file => CSharpSyntaxTree.ParseText(file.Text, options, file.Path))];
        CSharpCompilation compilation = CSharpCompilation.Create(
            "project",
            [.. sources, CSharpSyntaxTree.ParseText(GlobalUsings, options, "GlobalUsings.cs")],
            Platform,
            new CSharpCompilationOptions(OutputKind.DynamicallyLinkedLibrary, allowUnsafe: true));
        var graph = new ModuleGraph();
        foreach (SyntaxTree source in sources)
        {
            SemanticModel model = compilation.GetSemanticModel(source);
            foreach (SimpleNameSyntax name in source.GetRoot().DescendantNodes().OfType<SimpleNameSyntax>())
            {
                SymbolInfo info = model.GetSymbolInfo(name);
                if ((info.Symbol ?? info.CandidateSymbols.FirstOrDefault()) is { } symbol && FolderOf(symbol, Folder(source)) is { } target)
                {
                    int line = name.GetLocation().GetLineSpan().StartLinePosition.Line + 1;
                    graph.Add(Folder(source), target, $"{source.FilePath}:{line} {name.Identifier.Text}");
                }
            }
        }

        return graph;
    }

    /// <summary>Returns the folder that declares the type of a symbol, or null for a type of another assembly.</summary>
    /// <param name="symbol">A type, a member of a type, or anything else.</param>
    /// <param name="user">The folder of the user. It counts as the declaring one if a part of a partial type is there.</param>
    private static string? FolderOf(ISymbol symbol, string user)
    {
        ISymbol? type = symbol is INamedTypeSymbol ? symbol : symbol.ContainingType;
        string[] folders = [.. type?.OriginalDefinition.DeclaringSyntaxReferences.Select(part => Folder(part.SyntaxTree)) ?? []];
        return folders.Contains(user) ? user : folders.FirstOrDefault();
    }

    private static string Folder(SyntaxTree source) =>
        Path.GetDirectoryName(source.FilePath) is { Length: > 0 } folder ? folder.Replace('\\', '/') : "(root)";
}
