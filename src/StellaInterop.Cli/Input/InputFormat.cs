namespace StellaInterop.Cli.Input;

/// <summary>Specifies the format of an input file.</summary>
internal enum InputFormat
{
    /// <summary>One text per line.</summary>
    Lines,

    /// <summary>One JSON object per line, with <c>text</c> and optionally <c>prompt</c>.</summary>
    JsonLines,
}
