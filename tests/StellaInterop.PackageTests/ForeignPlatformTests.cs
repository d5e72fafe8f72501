using System.Globalization;
using System.Text.RegularExpressions;
using StellaInterop.Tests;

namespace StellaInterop.PackageTests;

/// <summary>A program made from the packages computes the same scores on every platform that this machine can run.</summary>
/// <remarks>
/// STELLA_RUNNERS has one line for each other platform: its runtime identifier, and the command that runs its programs. The Cake task
/// Foreign sets it.
/// </remarks>
internal sealed class ForeignPlatformTests
{
    private static readonly string[] Expected =
    [
        "0.6160 Steps to recover access to your account",
        "0.2633 Where to change the settings of a phone",
        "0.0269 Banana bread with walnuts",
    ];

    private const string ReadmeCommand = "    dotnet run --project src/StellaInterop.Cli -c Release -- ";

    /// <summary>The scores in f32 on linux-x64.</summary>
    private static readonly (double Score, string Text)[] Readme =
    [
        (0.6160, "Steps to recover access to your account"),
        (0.0269, "Banana bread with walnuts"),
        (-0.0595, "The new phone has a better camera"),
    ];

    public static IEnumerable<TestCaseData> Platforms()
    {
        string runners = Environment.GetEnvironmentVariable("STELLA_RUNNERS") ?? "";
        return runners.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)
            .Select(line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries))
            .Select(words => new TestCaseData(words[0], words[1..]))
            .Prepend(new TestCaseData(PackageWorkspace.Rid, Array.Empty<string>()));
    }

    /// <summary>The precision is fixed, because each platform would choose its own.</summary>
    [TestCaseSource(nameof(Platforms))]
    public void A_program_computes_the_same_scores_on_every_platform(string rid, string[] runner)
    {
        ProgramRun run = RunConsole(rid, runner);
        Assert.That(run.ExitCode, Is.Zero, $"{run.Output}{run.Errors}");
        Assert.That(run.Lines.Skip(1), Is.EqualTo(Expected), run.Errors);
    }

    /// <summary>
    /// On another platform a published program stands for <c>dotnet run</c>, because the SDK is not there. The precision follows from the
    /// processor, so the scores may differ in the fourth digit.
    /// </summary>
    [TestCaseSource(nameof(Platforms))]
    public void The_first_command_of_the_readme_gives_the_same_ranking_on_every_platform(string rid, string[] runner)
    {
        string line = File.ReadLines(Path.Combine(SourceTree.Root, "README.md")).First(line => line.StartsWith(ReadmeCommand, StringComparison.Ordinal));
        string[] arguments = [.. Regex.Matches(line[ReadmeCommand.Length..], "\"([^\"]*)\"|\\S+").Select(word => word.Groups[1].Success ? word.Groups[1].Value : word.Value)];
        ProgramRun run = RunStella(rid, runner, arguments);
        Assert.That(run.ExitCode, Is.Zero, $"{run.Output}{run.Errors}");
        (double Score, string Text)[] ranking = [.. run.Lines.Select(row => row.Split("  ")).Select(row => (double.Parse(row[0], CultureInfo.InvariantCulture), row[1]))];
        Assert.That(ranking.Select(row => row.Text), Is.EqualTo(Readme.Select(row => row.Text)));
        Assert.That(ranking.Select(row => row.Score), Is.EqualTo(Readme.Select(row => row.Score)).Within(0.001));
    }

    /// <summary>Runs the tool of the packages on this machine, and elsewhere a program published from the sources and the committed library.</summary>
    private static ProgramRun RunStella(string rid, string[] runner, string[] arguments)
    {
        PackageWorkspace workspace = Programs.PackageWorkspace;
        if (runner.Length == 0)
        {
            return workspace.DotNet(["dnx", $"StellaInterop.Cli@{workspace.Version}", "--yes", .. arguments]);
        }

        string output = workspace.At($"stella-on-{rid}");
        // The outputs of the source tree stay as they are.
        ProgramRun published = ProgramRun.DotNet(
            SourceTree.Root, PackageWorkspace.MachinePackages, "publish", "src/StellaInterop.Cli", "-c", "Release", "-r", rid, "--self-contained",
            "-p:RunAnalyzers=false", "-p:RestoreLockedMode=false", "--artifacts-path", workspace.At("stella-build"), "-o", output);
        Assert.That(published.ExitCode, Is.Zero, published.Output);
        return ProgramRun.RunBy(runner, output, [Path.Combine(output, rid.StartsWith("win-", StringComparison.Ordinal) ? "stella.exe" : "stella"), .. arguments]);
    }

    private static ProgramRun RunConsole(string rid, string[] runner)
    {
        string output = $"on-{rid}";
        PackageWorkspace workspace = Programs.PackageWorkspace;
        if (runner.Length == 0)
        {
            workspace.Publish("Console", output, "-r", rid, "--no-self-contained");
            return ProgramRun.RunIsolated(workspace.Program(output, "Console"), "Float32");
        }

        // An emulator has no .NET of its own.
        workspace.Publish("Console", output, "-r", rid, "--self-contained");
        string program = workspace.At(Path.Combine(output, rid.StartsWith("win-", StringComparison.Ordinal) ? "Console.exe" : "Console"));
        return ProgramRun.RunBy(runner, workspace.At(output), program, "Float32");
    }
}
