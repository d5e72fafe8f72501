using System.Reflection;
using System.Runtime.Loader;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;

namespace StellaInterop.DocsTests;

/// <summary>Every C# block of the documents is a whole program that compiles. Where what it prints is shown, it is run.</summary>
internal sealed class CSharpBlockTests
{
    private static readonly MetadataReference[] References =
    [
        .. ((string)AppContext.GetData("TRUSTED_PLATFORM_ASSEMBLIES")!).Split(Path.PathSeparator).Select(file => MetadataReference.CreateFromFile(file)),
    ];

    /// <summary>What a new console project has.</summary>
    private static readonly SyntaxTree ImplicitUsings = Parse(string.Concat(
        new[] { "System", "System.Collections.Generic", "System.IO", "System.Linq", "System.Net.Http", "System.Threading", "System.Threading.Tasks" }
            .Select(name => $"global using {name};\n")));

    public static IEnumerable<CodeBlock> Blocks() => Document.Blocks("csharp");

    [TestCaseSource(nameof(Blocks))]
    public async Task It_compiles_and_prints_what_is_shown(CodeBlock block)
    {
        CSharpCompilation compilation = CSharpCompilation.Create(
            $"block{Guid.NewGuid():N}",
            [Parse(block.Code), ImplicitUsings],
            References,
            new CSharpCompilationOptions(OutputKind.ConsoleApplication, nullableContextOptions: NullableContextOptions.Enable));
        using var program = new MemoryStream();
        string[] problems =
        [
            .. compilation.Emit(program).Diagnostics.Where(d => d.Severity >= DiagnosticSeverity.Warning)
                .Select(d => $"{block.Document}:{block.Line + d.Location.GetLineSpan().StartLinePosition.Line}: {d.GetMessage()}"),
        ];
        Assert.That(problems, Is.Empty);
        if (block.Output is { } said)
        {
            program.Position = 0;
            Printed.IsAsSaid(await RunAsync(program), said, block.ToString());
        }
    }

    [Test]
    public void There_are_blocks_that_are_run() =>
        Assert.That(Blocks().Where(block => block.Output is not null), Has.Exactly(2).Matches<CodeBlock>(block => block.Document == "README.md"));

    private static SyntaxTree Parse(string code) => CSharpSyntaxTree.ParseText(code, new CSharpParseOptions(LanguageVersion.Latest));

    private static async Task<string> RunAsync(Stream program)
    {
        MethodInfo main = AssemblyLoadContext.Default.LoadFromStream(program).EntryPoint!;
        TextWriter before = Console.Out;
        using var output = new StringWriter();
        Console.SetOut(output);
        try
        {
            if (main.Invoke(null, main.GetParameters().Length == 0 ? null : [Array.Empty<string>()]) is Task task)
            {
                await task;
            }
        }
        finally
        {
            Console.SetOut(before);
        }

        return output.ToString();
    }
}
