using System.Globalization;
using System.Text;
using StellaInterop.Bulk.Inputs;

namespace StellaInterop.Bulk.Jobs;

/// <summary>Represents a row between input and output.</summary>
/// <param name="FileName">The name of its file.</param>
/// <param name="Row">The row. A blank text is a fault.</param>
internal readonly record struct RowInHand(string FileName, InputRow Row)
{
    /// <summary>Gets the id of the row, or one that is made from file and row.</summary>
    public string Id => Row.Id ?? string.Create(CultureInfo.InvariantCulture, $"{FileName}:{Row.Number}");

    /// <summary>Returns the row of an input file.</summary>
    public static RowInHand Of(string fileName, in InputRow row) => new(
        fileName,
        row.Text is { } text && string.IsNullOrWhiteSpace(text)
            ? row with { Text = null, Fault = new RowFault(RowFaultKind.EmptyText, "The text is empty. Give the row a text, or remove it.", Encoding.UTF8.GetByteCount(text)) }
            : row);

    /// <summary>Returns the fault of a text whose vector has a number beyond the range of 16-bit floats.</summary>
    public RowFault OutOfRange() => new(
        RowFaultKind.NoVector, "A number of the vector exceeds the range of 16-bit floats. Use 32-bit floats, or scale vectors to length 1.", Encoding.UTF8.GetByteCount(Row.Text!));

    /// <summary>Returns the fault of a text that the model refused.</summary>
    /// <param name="kind">The kind.</param>
    /// <param name="maxTokens">The largest number of tokens of a text.</param>
    public RowFault Refusal(RowFaultKind kind, int maxTokens) => new(
        kind,
        kind switch
        {
            RowFaultKind.TooManyTokens => string.Create(CultureInfo.InvariantCulture, $"The text has more tokens than the limit of {maxTokens}. Split it into several rows, or use --on-long-text truncate with another output folder."),
            RowFaultKind.EndsProcess => "Each node that computed the text ended or failed. Report the text, or shorten it.",
            RowFaultKind.NotUnicode => "The text has half of a surrogate pair. Write the whole character.",
            _ => "The model has no vector for the text. Look at its tokens with 'stella tokenize'.",
        },
        Encoding.UTF8.GetByteCount(Row.Text!));
}
