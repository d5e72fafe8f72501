using System.Data.Common;
using Microsoft.Data.Sqlite;

namespace StellaInterop.Samples.FolderSearch;

/// <summary>Errors of databases as sentences for a person.</summary>
internal static class StoreErrors
{
    // https://sqlite.org/rescode.html
    private const int Busy = 5;
    private const int ReadOnly = 8;
    private const int InputOutput = 10;
    private const int Corrupt = 11;
    private const int Full = 13;
    private const int CannotOpen = 14;
    private const int NotADatabase = 26;

    /// <summary>Describes the fault of a store, with advice.</summary>
    /// <param name="file">The store, if it is a file.</param>
    /// <param name="error">The error.</param>
    public static string Describe(string file, DbException error)
    {
        if (error is not SqliteException sqlite)
        {
            return $"PostgreSQL: {error.Message}";
        }

        string store = $"The store {Terminal.Line(file)}";
        return sqlite.SqliteErrorCode switch
        {
            Busy => $"{store} is used by another program. Wait until it has finished.",
            ReadOnly => $"{store} cannot be written: the file or its folder is read-only.",
            InputOutput or Full => $"{store} cannot be written: the disk is full or failed ({error.Message}). The next run completes the index.",
            Corrupt => $"{store} is damaged. Delete it and index again.",
            NotADatabase => $"{store} is not a store of folder-search. Index into another file.",
            CannotOpen when Directory.Exists(file) => $"{store} is a folder. Name a file.",
            CannotOpen when Path.GetDirectoryName(Path.GetFullPath(file)) is { } folder && !Directory.Exists(folder) =>
                $"{store} cannot be opened: there is no folder {Terminal.Line(folder)}.",
            CannotOpen => $"{store} cannot be opened, or its folder cannot be written: check the rights.",
            _ => $"{store} cannot be used: {error.Message}",
        };
    }
}
