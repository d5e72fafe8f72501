namespace StellaInterop;

/// <summary>Represents a part of a text that fits a number of tokens.</summary>
public sealed record StellaPassage
{
    /// <summary>Gets the characters of the passage, without white space at the beginning and the end.</summary>
    public required string Text { get; init; }

    /// <summary>Gets the position of the first character in the whole text, in UTF-16 units.</summary>
    public required long Start { get; init; }

    /// <summary>
    /// Gets the number of tokens of the passage, special tokens and prompt included: the same number that
    /// <see cref="StellaModel.Tokenize(string, StellaEmbedOptions?)"/> returns for <see cref="Text"/>.
    /// </summary>
    public required int TokenCount { get; init; }

    /// <summary>Gets the position after the last character in the whole text, in UTF-16 units.</summary>
    public long End => Start + Text.Length;

    /// <summary>
    /// Returns the range of the passage in the whole text, for <see cref="StellaModel.EmbedParts"/> and for slices of a string.
    /// </summary>
    /// <exception cref="OverflowException">The passage ends beyond the largest length of a string.</exception>
    public Range ToRange() => checked((int)Start..(int)End);
}
