using System.Reflection;
using System.Runtime.Loader;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;

namespace StellaInterop.DocsTests;

/// <summary>Every C# block of the documents is a complete program that compiles. A block with a documented output also runs.</summary>
internal sealed class CSharpBlockTests
{
    private static readonly MetadataReference[] References =
    [
        .. ((string)AppContext.GetData("TRUSTED_PLATFORM_ASSEMBLIES")!).Split(Path.PathSeparator).Select(file => MetadataReference.CreateFromFile(file)),
    ];

    /// <summary>The implicit usings of a console project.</summary>
    private static readonly string[] ConsoleUsings =
        ["System", "System.Collections.Generic", "System.IO", "System.Linq", "System.Net.Http", "System.Threading", "System.Threading.Tasks"];

    /// <summary>The additional implicit usings of a web project.</summary>
    private static readonly string[] WebUsings =
    [
        "System.Net.Http.Json", "Microsoft.AspNetCore.Builder", "Microsoft.AspNetCore.Hosting", "Microsoft.AspNetCore.Http",
        "Microsoft.AspNetCore.Routing", "Microsoft.Extensions.Configuration", "Microsoft.Extensions.DependencyInjection",
        "Microsoft.Extensions.Hosting", "Microsoft.Extensions.Logging",
    ];

    public static IEnumerable<CodeBlock> Blocks() => Document.Blocks("csharp");

    [TestCaseSource(nameof(Blocks))]
    public async Task A_CSharp_block_compiles_and_prints_the_documented_output(CodeBlock block)
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
        if (block.Output is { } output)
        {
            DocumentedOutput.AssertMatches(await RunAsync(program), output, block.ToString());
        }

        if (block.Requests is { } requests)
        {
            DocumentedOutput.AssertMatches(await WebProgram.AnswerAsync(program, block.Settings, requests), requests, block.ToString());
        }
    }

    [Test]
    public void Blocks_with_output_and_web_requests_are_found() =>
        Assert.Multiple(() =>
        {
            Assert.That(Blocks().Where(block => block.Output is not null), Has.Exactly(2).Matches<CodeBlock>(block => block.Document == "README.md"));
            Assert.That(Blocks().Where(block => block.Requests is not null), Has.Exactly(1).Matches<CodeBlock>(block => block.Settings is not null));
        });

    /// <summary>Parses a program. The compiler skips the lines of a program in one file that are for the SDK, such as <c>#:package</c>.</summary>
    private static SyntaxTree Parse(string code) => CSharpSyntaxTree.ParseText(
        code, new CSharpParseOptions(LanguageVersion.Latest).WithFeatures([KeyValuePair.Create("FileBasedProgram", "true")]));

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
