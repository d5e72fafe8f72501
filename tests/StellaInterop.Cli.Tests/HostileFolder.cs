namespace StellaInterop.Tests;

/// <summary>Specifies the expected outcome of loading a folder.</summary>
internal enum Outcome
{
    /// <summary>The folder is refused, and the message gives the reason.</summary>
    Refused,

    /// <summary>The folder loads and gives the vectors of its fixture.</summary>
    Loaded,

    /// <summary>Both outcomes are allowed, because the change has no effect on vectors.</summary>
    Either,
}

/// <summary>Represents a fixture with one change.</summary>
/// <param name="Name">The description of the fault.</param>
/// <param name="Change">Applies the change to a copy of the fixture.</param>
/// <param name="ExpectedTexts">Texts that the error message must contain, such as the name of the file.</param>
internal sealed record HostileFolder(string Name, Action<TemporaryFolder> Change, params string[] ExpectedTexts)
{
    /// <summary>Gets the name of the fixture.</summary>
    public string Model { get; init; } = "tiny-new";

    public Outcome Outcome { get; init; }

    public override string ToString() => Name;
}
