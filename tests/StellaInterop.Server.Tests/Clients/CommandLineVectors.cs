using System.Diagnostics;
using System.Globalization;
using System.Text;
using System.Text.Json;

namespace StellaInterop.Tests.Clients;

/// <summary>The vectors that <c>stella embed</c> prints for texts, which the clients must get.</summary>
internal sealed class CommandLineVectors
{
    private readonly Dictionary<(string Text, int? Dimension), double[]> vectors = [];

    private CommandLineVectors()
    {
    }

    public static async Task<CommandLineVectors> ComputeAsync()
    {
        var computed = new CommandLineVectors();
        foreach (var cases in ClientCase.All.GroupBy(each => each.Table == ClientTable.Vectors ? each.Dimension : null))
        {
            string[] texts = [.. cases.SelectMany(each => each.Texts).SelectMany(text => new[] { text, ClientCase.WithoutLineBreaks(text) }).Distinct()];
            string[] dimension = cases.Key is { } number ? ["--dimension", number.ToString(CultureInfo.InvariantCulture)] : [];
            string[] rows = await EmbedAsync(texts, dimension);
            for (int i = 0; i < texts.Length; i++)
            {
                computed.vectors.Add((texts[i], cases.Key), JsonSerializer.Deserialize<JsonElement>(rows[i]).GetProperty("embedding").Deserialize<double[]>()!);
            }
        }

        return computed;
    }

    /// <summary>
    /// Returns how vectors equal those of the command line: to the bit if the client has single-precision numbers, to the printed digits
    /// if it parsed them as double.
    /// </summary>
    public string Compare(double[][] actual, ClientCase of)
    {
        if (Describe(actual, [.. of.Texts.Select(text => vectors[(text, of.Dimension)])]) is { } same)
        {
            return same;
        }

        return Describe(actual, [.. of.Texts.Select(text => vectors[(ClientCase.WithoutLineBreaks(text), of.Dimension)])]) is { } blanks
            ? $"{blanks} of the text with blanks"
            : "other vectors";
    }

    private static string? Describe(double[][] actual, double[][] printed)
    {
        double[] numbers = [.. actual.SelectMany(vector => vector)];
        double[] digits = [.. printed.SelectMany(vector => vector)];
        if (!actual.Select(vector => vector.Length).SequenceEqual(printed.Select(vector => vector.Length)))
        {
            return null;
        }

        return numbers.SequenceEqual(digits.Select(number => (double)(float)number)) ? "equal bits"
            : numbers.SequenceEqual(digits) ? "equal digits"
            : null;
    }

    private static async Task<string[]> EmbedAsync(string[] texts, string[] options)
    {
        using var folder = new TemporaryFolder();
        await File.WriteAllLinesAsync(folder.File("texts.jsonl"), texts.Select(text => JsonSerializer.Serialize(new { text })));
        string tool = Path.Combine(SourceTree.Root, "src/StellaInterop.Cli/bin", SourceTree.Configuration, "net10.0/stella.dll");
        var start = new ProcessStartInfo(
            Environment.GetEnvironmentVariable("DOTNET_HOST_PATH") ?? "dotnet",
            [tool, "embed", "--input", folder.File("texts.jsonl"), "--input-format", "jsonl", "--verbosity", "quiet", .. options])
        {
            RedirectStandardOutput = true,
            StandardOutputEncoding = Encoding.UTF8,
        };
        using Process process = Process.Start(start)!;
        string output = await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        Assert.That(process.ExitCode, Is.Zero);
        return output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
    }
}
