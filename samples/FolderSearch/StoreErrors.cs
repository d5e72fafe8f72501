using System.Data.Common;
using Microsoft.Data.Sqlite;

namespace StellaInterop.Samples.FolderSearch;

/// <summary>Describes database errors for the user.</summary>
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

    /// <summary>Returns a message that describes an error and its remedy.</summary>
    /// <param name="file">The path of the SQLite store.</param>
    /// <param name="error">The error.</param>
    public static string Describe(string file, DbException error)
    {
        if (error is not SqliteException sqlite)
        {
            return $"PostgreSQL: {error.Message}";
        }

        string store = $"The store {Terminal.Escape(file)}";
        return sqlite.SqliteErrorCode switch
        {
            Busy => $"{store} is used by another program. Wait until it has finished.",
            ReadOnly => $"{store} cannot be written: the file or its folder is read-only.",
            InputOutput or Full => $"{store} cannot be written: the disk is full or failed ({error.Message}). The next run completes the index.",
            Corrupt => $"{store} is damaged. Delete it and index again.",
            NotADatabase => $"{store} is not a store of folder-search. Index into another file.",
            CannotOpen when Directory.Exists(file) => $"{store} is a folder. Name a file.",
            CannotOpen when Path.GetDirectoryName(Path.GetFullPath(file)) is { } folder && !Directory.Exists(folder) =>
                $"{store} cannot be opened: there is no folder {Terminal.Escape(folder)}.",
            CannotOpen => $"{store} cannot be opened, or its folder cannot be written. Check the permissions.",
            _ => $"{store} cannot be used: {error.Message}",
        };
    }
}
