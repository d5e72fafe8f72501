namespace StellaInterop.Bulk.Inputs;

/// <summary>Specifies how a format reads the stream of its file.</summary>
internal enum InputAccess
{
    /// <summary>From the begin to the end. A stream that cannot seek is read up to the place at which reading begins.</summary>
    Sequential,

    /// <summary>At any place. The stream always can seek.</summary>
    Random,
}

/// <summary>Represents the columns of the rows that a job uses.</summary>
/// <param name="Text">The name of the column with the text.</param>
/// <param name="Id">
/// The name of the column with the id. <see langword="null"/> takes the column <see cref="DefaultId"/> of the files and rows that have it.
/// A column that was named must be in every CSV and Parquet file; a row of JSON Lines may lack it.
/// </param>
internal sealed record InputColumns(string Text = InputColumns.DefaultText, string? Id = null)
{
    public const string DefaultText = "text";
    public const string DefaultId = "id";
}

/// <summary>Represents a file format of inputs.</summary>
/// <remarks>Text lines have neither columns nor ids. Formats are stateless and thread-safe.</remarks>
internal interface IInputFormat
{
    /// <summary>Gets the name for messages, such as <c>JSON Lines</c>.</summary>
    string Name { get; }

    /// <summary>Gets the ends of file names in lower case, such as <c>.jsonl</c> and <c>.jsonl.gz</c>.</summary>
    IReadOnlyList<string> Extensions { get; }

    InputAccess Access { get; }

    /// <summary>Opens a reader.</summary>
    /// <param name="fileName">The name of the file, for messages.</param>
    /// <param name="content">The uncompressed content of the file, at its begin. The reader disposes it, also if this throws.</param>
    /// <param name="columns">The columns of the rows.</param>
    /// <param name="from">The place at which reading begins: a <see cref="RowReader.Position"/> of a reader of the same content.</param>
    /// <exception cref="StellaBulkException">The file as a whole is at fault.</exception>
    RowReader Open(string fileName, Stream content, InputColumns columns, RowPosition from);
}
