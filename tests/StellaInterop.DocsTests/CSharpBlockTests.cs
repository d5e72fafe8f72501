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

    /// <summary>The namespaces that a new console project uses.</summary>
    private static readonly string[] ConsoleUsings =
        ["System", "System.Collections.Generic", "System.IO", "System.Linq", "System.Net.Http", "System.Threading", "System.Threading.Tasks"];

    /// <summary>The namespaces that a new web project uses besides.</summary>
    private static readonly string[] WebUsings =
    [
        "System.Net.Http.Json", "Microsoft.AspNetCore.Builder", "Microsoft.AspNetCore.Hosting", "Microsoft.AspNetCore.Http",
        "Microsoft.AspNetCore.Routing", "Microsoft.Extensions.Configuration", "Microsoft.Extensions.DependencyInjection",
        "Microsoft.Extensions.Hosting", "Microsoft.Extensions.Logging",
    ];

    public static IEnumerable<CodeBlock> Blocks() => Document.Blocks("csharp");

    [TestCaseSource(nameof(Blocks))]
    public async Task It_compiles_and_prints_what_is_shown(CodeBlock block)
    {
        CSharpCompilation compilation = CSharpCompilation.Create(
            $"block{Guid.NewGuid():N}",
            [Parse(block.Code), Parse(string.Concat(ConsoleUsings.Concat(block.Requests is null ? [] : WebUsings).Select(name => $"global using {name};\n")))],
            References,
            new CSharpCompilationOptions(OutputKind.ConsoleApplication, nullableContextOptions: NullableContextOptions.Enable));
        using var program = new MemoryStream();
        string[] problems =
        [
            .. compilation.Emit(program).Diagnostics.Where(d => d.Severity >= DiagnosticSeverity.Warning)
                .Select(d => $"{block.Document}:{block.Line + d.Location.GetLineSpan().StartLinePosition.Line}: {d.GetMessage()}"),
        ];
        Assert.That(problems, Is.Empty);
        program.Position = 0;
        if (block.Output is { } said)
        {
            Printed.IsAsSaid(await RunAsync(program), said, block.ToString());
        }

        if (block.Requests is { } requests)
        {
            Printed.IsAsSaid(await WebProgram.AnswerAsync(program, block.Settings, requests), requests, block.ToString());
        }
    }

    [Test]
    public void There_are_blocks_that_are_run() =>
        Assert.Multiple(() =>
        {
            Assert.That(Blocks().Where(block => block.Output is not null), Has.Exactly(2).Matches<CodeBlock>(block => block.Document == "README.md"));
            Assert.That(Blocks().Where(block => block.Requests is not null), Has.Exactly(1).Matches<CodeBlock>(block => block.Settings is not null));
        });

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
