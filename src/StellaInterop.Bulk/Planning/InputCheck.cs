using StellaInterop.Bulk.Files;
using StellaInterop.Bulk.Inputs;

namespace StellaInterop.Bulk.Planning;

/// <summary>Checks that the input files are those of a plan.</summary>
internal static class InputCheck
{
    /// <summary>Checks the files of a job when it continues and at its end. A file whose stamp differs is hashed.</summary>
    /// <returns>The stamps of the files now.</returns>
    /// <exception cref="StellaBulkException">A file is not the planned one, or cannot be read.</exception>
    public static IReadOnlyList<FileStamp> Check(
        IReadOnlyList<InputFile> files, IReadOnlyList<PlannedFile> planned, IReadOnlyList<FileStamp> stamps, CancellationToken cancellationToken)
    {
        ThrowIfOthers(files, planned);
        var now = new FileStamp[files.Count];
        for (int i = 0; i < files.Count; i++)
        {
            now[i] = files[i].ReadStamp();
            if (now[i] != stamps[i] && (now[i].Length != planned[i].Length || files[i].Hash(cancellationToken).Sha256 != planned[i].Sha256))
            {
                throw Changed(files[i], "since the job began");
            }
        }

        return now;
    }

    public static StellaBulkException Changed(InputFile file, string when) => new(
        StellaBulkErrorCode.InputChanged,
        $"The input file '{file.Path}' has changed {when}, and its vectors must all be of one content. "
        + "Bring back the file that the job began with and run again, or begin anew in another output folder.");

    private static void ThrowIfOthers(IReadOnlyList<InputFile> files, IReadOnlyList<PlannedFile> planned)
    {
        if (files.Select(file => file.Name).SequenceEqual(planned.Select(file => file.Name)))
        {
            return;
        }

        string[] added = [.. files.Select(file => file.Name).Except(planned.Select(file => file.Name))];
        string[] missing = [.. planned.Select(file => file.Name).Except(files.Select(file => file.Name))];
        string difference = added.Length > 0 ? $"'{added[0]}' is new{More(added)}"
            : missing.Length > 0 ? $"'{missing[0]}' is missing{More(missing)}"
            : "the files have another order";
        throw new StellaBulkException(
            StellaBulkErrorCode.SettingsDiffer,
            $"The output folder belongs to a job with other input files: {difference}. Run the job with the same inputs, or name another output folder.");
    }

    private static string More(string[] names) => names.Length > 1
        ? string.Create(System.Globalization.CultureInfo.InvariantCulture, $", and {names.Length - 1} more")
        : "";
}
