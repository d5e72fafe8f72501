using System.CommandLine;
using StellaInterop.Cli.Errors;
using StellaInterop.Cli.Streams;

namespace StellaInterop.Cli.Loading;

/// <summary>Names the levels of the processor, and limits the native library to one of them.</summary>
internal static class ProcessorLevel
{
    /// <summary>The variable that the native library reads once, when it is first used.</summary>
    private const string Variable = "STELLA_CPU_LEVEL";

    /// <summary>The names that the native library knows, lowest first.</summary>
    private static readonly (string Name, StellaCpuLevel Level)[] Levels =
    [
        ("portable", StellaCpuLevel.Portable),
        ("avx2", StellaCpuLevel.Avx2),
        ("avx512", StellaCpuLevel.Avx512),
        ("avx512-vnni", StellaCpuLevel.Avx512Vnni),
        ("avx512-bf16", StellaCpuLevel.Avx512Bf16),
        ("amx", StellaCpuLevel.Amx),
    ];

    /// <summary>Creates the option --level.</summary>
    public static Option<string?> CreateOption()
    {
        var option = new Option<string?>("--level")
        {
            Description = $"Level of the processor to use: {Names(Levels)}. All nodes of a job need the same one, because the levels differ in the last bits "
                + "of a vector. Default: the best one of this processor.",
            HelpName = "LEVEL",
        };
        option.CompletionSources.Add([.. Levels.Select(level => level.Name)]);
        option.Validators.Add(result =>
        {
            foreach (var token in result.Tokens.Where(token => Levels.All(level => level.Name != token.Value)))
            {
                result.AddError($"--level is '{token.Value}'; it must be one of {Names(Levels)}.");
            }
        });
        return option;
    }

    public static string NameOf(StellaCpuLevel level) => Levels[(int)level].Name;

    /// <summary>Limits the native library, which must not be loaded yet.</summary>
    public static void Set(string name)
    {
        if (OperatingSystem.IsWindows())
        {
            Environment.SetEnvironmentVariable(Variable, name);
        }
        else
        {
            Posix.SetVariable(Variable, name);
        }
    }

    /// <summary>Checks that the processor has a level: the native library takes the best one below it otherwise.</summary>
    /// <exception cref="CliException">The processor does not have the level.</exception>
    public static void Check(string name, StellaCpuLevel used)
    {
        if (NameOf(used) != name)
        {
            throw new CliException(ExitCode.Usage, $"--level is '{name}', and this processor does not have it. It has {Names(Levels.Where(level => level.Level <= used))}.");
        }
    }

    private static string Names(IEnumerable<(string Name, StellaCpuLevel Level)> levels) => string.Join(", ", levels.Select(level => level.Name));
}
