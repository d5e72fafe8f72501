using System.Text;
using StellaInterop.Bulk.Inputs;

namespace StellaInterop.Bulk.Planning;

/// <summary>Estimates the tokens of a row by a fixed rule, so that planning does not tokenize and every machine cuts equal chunks.</summary>
internal static class TokenEstimate
{
    /// <summary>The special tokens of a text, and the work of a row that is at fault.</summary>
    private const int TokensPerRow = 2;

    /// <summary>The usual length of a token in UTF-8.</summary>
    private const int BytesPerToken = 4;

    /// <param name="row">The row.</param>
    /// <param name="maxTokens">The largest number of tokens of a text, at which it is truncated.</param>
    public static long Of(in InputRow row, int maxTokens) => row.Text is not { } text
        ? TokensPerRow
        : Math.Min(maxTokens, TokensPerRow + ((Encoding.UTF8.GetByteCount(text) + BytesPerToken - 1L) / BytesPerToken));
}
