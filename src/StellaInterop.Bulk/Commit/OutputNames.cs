using StellaInterop.Bulk.Planning;

namespace StellaInterop.Bulk.Commit;

/// <summary>Provides the names of the files in an output folder. They are a contract with readers.</summary>
internal static class OutputNames
{
    /// <summary>The plan of the job, and at its end its result.</summary>
    public const string Manifest = "_manifest.json";

    /// <summary>The empty file that shows that the output is complete.</summary>
    public const string Success = "_SUCCESS";

    /// <summary>The folder of the rows without a vector.</summary>
    public const string ErrorsFolder = "_errors";

    /// <summary>The folder of the records of parts.</summary>
    public const string RecordsFolder = "_records";

    /// <summary>The file with the level of the processor and the version of the program that the parts of a cluster have. The end of the job deletes it.</summary>
    public const string Bits = RecordsFolder + "/bits";

    /// <summary>The folder of the copies of compressed inputs, which is empty at the end.</summary>
    public const string InputsFolder = "_inputs";

    /// <summary>The folder of the files that have no final name yet.</summary>
    public const string TemporaryFolder = "_tmp";

    /// <summary>The folder of what a cluster needs to continue. Only a job of a cluster has it, until its end.</summary>
    public const string ClusterFolder = "_cluster";

    /// <summary>The begin of the names of all parts.</summary>
    public const string PartPrefix = "part-";

    /// <summary>The end of the names of the files with rows at fault.</summary>
    public const string ErrorsEnd = ".jsonl";

    private const string RecordEnd = ".json";

    private const int RecordDigits = 16;

    /// <summary>Gets the folders of a job, which it creates before its plan.</summary>
    public static IReadOnlyList<string> Folders { get; } = [TemporaryFolder, ErrorsFolder, RecordsFolder, InputsFolder];

    /// <summary>Returns the name of a part without its extension: <c>part-NNNNNNNN-HASH</c>, or <c>part-NNNNNNNN.K-HASH</c> for a half.</summary>
    public static string PartOf(string shortHash, PartId part) => $"{PartPrefix}{part}-{shortHash}";

    /// <summary>Reads the name of a part without its extension.</summary>
    public static bool TryReadPart(string name, string shortHash, out PartId part)
    {
        part = default;
        return name.StartsWith(PartPrefix, StringComparison.Ordinal)
            && name.EndsWith("-" + shortHash, StringComparison.Ordinal)
            && name.Length > PartPrefix.Length + shortHash.Length
            && PartId.TryParse(name.AsSpan()[PartPrefix.Length..^(shortHash.Length + 1)], out part);
    }

    /// <summary>Returns the name of the file with the rows at fault of a part.</summary>
    public static string ErrorsOf(string part) => $"{ErrorsFolder}/{part}{ErrorsEnd}";

    /// <summary>Returns the name of the copy of an input.</summary>
    /// <param name="sha256">The hash of the input.</param>
    public static string CopyOf(string sha256) => $"{InputsFolder}/{sha256}.zst";

    /// <summary>Returns the begin of the names of the records of a part. The rest is the begin of the hash of the record.</summary>
    private static string RecordPrefixOf(string part) => part + "-";

    /// <summary>Returns the name of a record.</summary>
    /// <param name="part">The name of the part.</param>
    /// <param name="hash">The SHA-256 of the record: writers of different bits have different records.</param>
    public static string RecordOf(string part, string hash) => $"{RecordsFolder}/{RecordPrefixOf(part)}{hash[..RecordDigits]}{RecordEnd}";

    /// <summary>Returns whether a file in the folder of the records is one.</summary>
    public static bool IsRecord(string name) => name.EndsWith(RecordEnd, StringComparison.Ordinal);

    /// <summary>Returns the name of a file of a part until the part is committed.</summary>
    /// <param name="record">The name of the record, which stands for the bits of all files of the part.</param>
    /// <param name="extension">The end of the name of the file.</param>
    public static string WaitingOf(string record, string extension) => record[..^RecordEnd.Length] + extension;
}
