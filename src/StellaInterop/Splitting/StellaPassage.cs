namespace StellaInterop;

/// <summary>A part of a text that fits a number of tokens.</summary>
/// <param name="Text">The characters of the passage. It neither begins nor ends with white space.</param>
/// <param name="Start">Position of the first character in the whole text, in UTF-16 units.</param>
/// <param name="TokenCount">
/// Tokens of the passage, special tokens and prompt included: the same number that <see cref="StellaModel.Tokenize(string, StellaEmbedOptions?)"/>
/// returns for <paramref name="Text"/>.
/// </param>
public sealed record StellaPassage(string Text, long Start, int TokenCount)
{
    /// <summary>Gets the position after the last character in the whole text, in UTF-16 units.</summary>
    public long End => Start + Text.Length;

    /// <summary>Returns the range of the passage in the whole text, for <see cref="StellaModel.EmbedParts"/> and for slices of a string.</summary>
    /// <exception cref="OverflowException">The passage ends beyond the characters that a string can have.</exception>
    public Range ToRange() => checked((int)Start..(int)End);
}
