namespace StellaInterop.Bulk.Inputs;

/// <summary>Specifies why a row has no vector. <see cref="RowFault.ReasonOf"/> has the name of each in <c>_errors</c>.</summary>
internal enum RowFaultKind
{
    /// <summary>The row has no text: the field is missing.</summary>
    MissingText,

    /// <summary>The text is null.</summary>
    NullText,

    /// <summary>The text is a number, an object or anything else that is not a string.</summary>
    TextNotString,

    /// <summary>The text is empty, or has only white space.</summary>
    EmptyText,

    /// <summary>The row or its text is not valid UTF-8 or not valid Unicode.</summary>
    NotUnicode,

    /// <summary>The row is not valid in its format, such as a line that is not a JSON object, or a CSV row with another number of columns.</summary>
    InvalidRow,

    /// <summary>The row is longer than <see cref="RowReader.MaxRowBytes"/>.</summary>
    RowTooLong,

    /// <summary>The text has too many tokens, and long texts are errors.</summary>
    TooManyTokens,

    /// <summary>The model has no vector for the text.</summary>
    NoVector,

    /// <summary>The process ended, or the model failed, each time that it computed the text. Only a cluster goes on after that.</summary>
    EndsProcess,
}

/// <summary>Represents the reason why a row has no vector. It is data: the job goes on.</summary>
/// <param name="Kind">The kind of the fault.</param>
/// <param name="Message">A sentence with the fault. The same row has the same message on every machine and in every run.</param>
/// <param name="TextLength">The length of the text in UTF-8 bytes; <see langword="null"/> if the row has no text.</param>
internal sealed record RowFault(RowFaultKind Kind, string Message, long? TextLength = null)
{
    /// <summary>Gets the name of the kind in <c>_errors</c>. The names are a contract with readers.</summary>
    public string Reason => ReasonOf(Kind);

    public static string ReasonOf(RowFaultKind kind) => kind switch
    {
        RowFaultKind.MissingText => "missing_text",
        RowFaultKind.NullText => "null_text",
        RowFaultKind.TextNotString => "text_not_string",
        RowFaultKind.EmptyText => "empty_text",
        RowFaultKind.NotUnicode => "not_unicode",
        RowFaultKind.InvalidRow => "invalid_row",
        RowFaultKind.RowTooLong => "row_too_long",
        RowFaultKind.TooManyTokens => "too_many_tokens",
        RowFaultKind.NoVector => "no_vector",
        RowFaultKind.EndsProcess => "ends_process",
        _ => throw new ArgumentOutOfRangeException(nameof(kind), kind, null),
    };
}
