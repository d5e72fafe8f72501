using System.Diagnostics;
using StellaInterop.Tests;

namespace StellaInterop.DocsTests;

/// <summary>Runs every <c>console</c> block of the documents: commands after <c>$</c>, each followed by its output.</summary>
internal sealed class ShellBlockTests
{
    public static IEnumerable<CodeBlock> Blocks() => Document.Blocks("console");

    [TestCaseSource(nameof(Blocks))]
    public void A_console_block_prints_the_documented_output(CodeBlock block)
    {
        string folder = Directory.CreateTempSubdirectory("stella-docs").FullName;
        string cli = Path.Combine(SourceTree.Root, "src/StellaInterop.Cli/bin", SourceTree.Configuration, "net10.0/stella.dll");
        var printed = new List<string>();
        foreach (string line in block.Code.Split('\n').Where(line => line.StartsWith("$ ", StringComparison.Ordinal)))
        {
            // Runs the documented command line in a shell that defines `stella`.
            string script = $"exec 2>&1\nstella() {{ dotnet '{cli}' \"$@\"; }}\n{line[2..]}";
            var start = new ProcessStartInfo("bash", ["-c", script])
            {
                WorkingDirectory = folder,
                RedirectStandardOutput = true,
            };
            using Process process = Process.Start(start)!;
            printed.Add($"{line}\n{process.StandardOutput.ReadToEnd()}".TrimEnd());
            process.WaitForExit();
        }

        Directory.Delete(folder, recursive: true);
        DocumentedOutput.AssertMatches(string.Join('\n', printed), block.Code, block.ToString());
    }

    [Test]
    public void Console_blocks_are_found() => Assert.That(Blocks(), Is.Not.Empty);
}
