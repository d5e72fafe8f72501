using StellaInterop.Cli.Options;

namespace StellaInterop.Cli.Terminal;

/// <summary>Specifies the amount of text on standard error.</summary>
internal enum Verbosity
{
    Quiet,
    Normal,
    Debug,
}

/// <summary>Provides the option --verbosity, which all commands share.</summary>
internal static class VerbosityOption
{
    public static EnumOption<Verbosity> Instance { get; } = new(
        "--verbosity",
        "Amount of text on standard error. quiet omits progress and warnings; debug adds the library's log and stack traces.",
        ("normal", Verbosity.Normal),
        ("quiet", Verbosity.Quiet),
        ("debug", Verbosity.Debug));
}
