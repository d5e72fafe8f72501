namespace StellaInterop.Bulk.Inputs;

/// <summary>Creates the errors of an input file as a whole.</summary>
internal static class InputError
{
    /// <param name="fileName">The name of the file.</param>
    /// <param name="problem">The rest of a sentence whose subject is the file, and the remedy.</param>
    /// <param name="cause">The cause.</param>
    public static StellaBulkException Create(string fileName, string problem, Exception? cause = null) =>
        new(StellaBulkErrorCode.InputUnreadable, $"The input file '{fileName}' {problem}", cause);

    /// <summary>Creates the error for a column that the file does not have.</summary>
    /// <param name="fileName">The name of the file.</param>
    /// <param name="option">The option that names the column.</param>
    /// <param name="column">The name that is missing.</param>
    /// <param name="columns">The columns of the file.</param>
    public static StellaBulkException NoColumn(string fileName, string option, string column, IEnumerable<string> columns) => Create(
        fileName, $"has no column '{column}'. Its columns are {string.Join(", ", columns.Select(name => $"'{name}'"))}. Name one of them with {option}.");
}
