using System.Globalization;

namespace StellaInterop.PackageTests;

/// <summary>The output of the programs: the length of the question's vector, then three texts with their similarity to the question.</summary>
internal static class Ranking
{
    private static readonly (string Text, double Score)[] Expected =
    [
        ("Steps to recover access to your account", 0.62),
        ("Where to change the settings of a phone", 0.26),
        ("Banana bread with walnuts", 0.03),
    ];

    /// <summary>Asserts that a program exited with code 0 and printed the ranking of the shipped model.</summary>
    public static void AssertWrittenBy(ProgramRun run)
    {
        Assert.That(run.ExitCode, Is.Zero, $"{run.Output}{run.Errors}");
        AssertIs(run.Lines);
    }

    /// <summary>Asserts that lines are the ranking of the shipped model.</summary>
    public static void AssertIs(string[] lines)
    {
        Assert.That(lines, Has.Length.EqualTo(Expected.Length + 1), string.Join('\n', lines));
        Assert.That(double.Parse(lines[0], CultureInfo.InvariantCulture), Is.EqualTo(1).Within(1e-3), "length of a vector");
        for (int i = 0; i < Expected.Length; i++)
        {
            string[] parts = lines[i + 1].Split(' ', 2);
            Assert.That(parts[1], Is.EqualTo(Expected[i].Text));
            // The tolerance allows for every precision that Auto may choose.
            Assert.That(double.Parse(parts[0], CultureInfo.InvariantCulture), Is.EqualTo(Expected[i].Score).Within(0.02));
        }
    }
}
