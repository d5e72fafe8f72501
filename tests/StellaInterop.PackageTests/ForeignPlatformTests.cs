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
