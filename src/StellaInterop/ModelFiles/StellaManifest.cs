using System.Text.Json;

namespace StellaInterop.ModelFiles;

/// <summary>Represents the sizes and hashes of the files of a model, against which a folder can be verified.</summary>
/// <remarks>
/// A manifest is kept beside the model, as <see cref="FileName"/>. Immutable and thread-safe. A manifest without a BLAKE3
/// is written as version 1 of the format, and any other as version 2, which readers of version 1 refuse.
/// </remarks>
public sealed class StellaManifest
{
    /// <summary>The name of the manifest's file in the folder of its model.</summary>
    public const string FileName = "stella.manifest.json";

    /// <summary>The version with SHA-256 only.</summary>
    private const int Version1 = 1;

    /// <summary>The version in which each file may also have a BLAKE3.</summary>
    private const int Version2 = 2;

    /// <summary>The largest size of a manifest, far above that of any model. A larger file is not a manifest.</summary>
    private const long MaxFileBytes = 4 << 20;

    private readonly SortedDictionary<string, StellaManifestFile> files;

    /// <summary>Initializes a manifest of files whose hashes are known.</summary>
    /// <param name="files">The files by path relative to the model folder, with forward slashes.</param>
    /// <exception cref="ArgumentException">
    /// There are no files; or a path leads out of the folder, a size is below 1, or a hash is not 64 lower case hexadecimal digits.
    /// </exception>
    public StellaManifest(IEnumerable<KeyValuePair<string, StellaManifestFile>> files)
    {
        ArgumentNullException.ThrowIfNull(files);
        this.files = new SortedDictionary<string, StellaManifestFile>(files.ToDictionary(), StringComparer.Ordinal);
        if (Defect(this.files) is { } defect)
        {
            throw new ArgumentException($"The manifest {defect}", nameof(files));
        }
    }

    /// <summary>
    /// Gets the repository of the files, such as <c>NovaSearch/stella_en_400M_v5</c>; <see langword="null"/> if it is not known.
    /// </summary>
    public string? Repository { get; init; }

    /// <summary>Gets the commit of the repository; <see langword="null"/> if it is not known.</summary>
    public string? Revision { get; init; }

    /// <summary>Gets the files by path relative to the model folder, with forward slashes, in ordinal order.</summary>
    public IReadOnlyDictionary<string, StellaManifestFile> Files => files;

    /// <summary>Hashes the files of a model. Blocks for about 1 to 2 seconds per gigabyte.</summary>
    /// <param name="folder">The folder of the model.</param>
    /// <param name="progress">Receives the progress after each read.</param>
    /// <param name="cancellationToken">A token that stops the hashing.</param>
    /// <returns>A manifest of all files in the folder that belong to the model.</returns>
    /// <exception cref="ArgumentException"><paramref name="folder"/> is null or empty.</exception>
    /// <exception cref="StellaModelFolderException">
    /// The folder does not exist or has no file of a model, or a file in it is empty or cannot be read.
    /// </exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled.</exception>
    public static StellaManifest Create(
        string folder, IProgress<StellaHashProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        IReadOnlyList<string> paths = StellaModelFiles.GetFiles(folder);
        if (paths.Count == 0)
        {
            throw new StellaModelFolderException(
                StellaErrorCode.ModelFileMissing, $"{folder} has no file of a model, such as config.json or model.safetensors. Pass the folder of a model.");
        }

        var hashing = new Hashing(paths.Sum(path => FileHash.Length(Path.Combine(folder, path))), progress, cancellationToken);
        return new StellaManifest(paths.Select(path =>
            KeyValuePair.Create(path, hashing.Hash(path, Path.Combine(folder, path)))));
    }

    /// <summary>Reads a manifest from a file.</summary>
    /// <param name="path">The path of the file.</param>
    /// <exception cref="ArgumentException"><paramref name="path"/> is null or empty.</exception>
    /// <exception cref="StellaModelFolderException">
    /// The file is missing, cannot be read, or is not a manifest of version 1 or 2.
    /// </exception>
    public static StellaManifest Load(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        byte[] content = [];
        try
        {
            // Checked before the open, as in FileHash.Compute: reading a pipe waits for a writer.
            switch (FileHash.Length(path))
            {
                case 0:
                    throw Invalid(path, "is empty or not a regular file.");
                case var length and > MaxFileBytes:
                    throw Invalid(path, $"has {length} bytes; a manifest has at most {MaxFileBytes}.");
            }

            content = File.ReadAllBytes(path);
            // The version is read first, so that a newer format is refused by its number even if its other content is unknown.
            if (JsonSerializer.Deserialize(content, ManifestVersionContext.Default.ManifestVersion)
                is { Version: not (Version1 or Version2) and var version })
            {
                throw Invalid(path, $"has version {version}; this library reads versions {Version1} and {Version2}. Update this library, or write the manifest again with: stella manifest");
            }

            ManifestJson json = JsonSerializer.Deserialize(content, ManifestJsonContext.Default.ManifestJson)
                ?? throw Invalid(path, "is null instead of a manifest.");
            if (json.Version == Version1 && json.Files.Values.Any(file => file?.Blake3 is not null))
            {
                throw Invalid(path, "has a blake3, which version 1 does not allow. Set version 2.");
            }

            var files = json.Files.ToDictionary(
                file => file.Key,
                file => new StellaManifestFile
                {
                    Size = file.Value?.Size ?? 0,
                    Sha256 = file.Value?.Sha256 ?? "",
                    Blake3 = file.Value?.Blake3,
                });
            return Defect(files) is { } defect
                ? throw Invalid(path, defect)
                : new StellaManifest(files) { Repository = json.Model, Revision = json.Revision };
        }
        catch (JsonException e)
        {
            // The message of the parser quotes names in the file.
            var cause = new JsonException(Printable.Line(e.Message), path: null, e.LineNumber, e.BytePositionInLine);
            throw Invalid(path, $"{WrongFile.Recognize(content) ?? "is not the JSON of a manifest"}.", cause);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw FileHash.Unreadable(path, e);
        }
    }

    /// <summary>
    /// Writes the manifest to a file. A file with content is replaced atomically. A device, a pipe and an empty file are written in
    /// place.
    /// </summary>
    /// <param name="path">The path of the file.</param>
    /// <exception cref="ArgumentException"><paramref name="path"/> is null or empty.</exception>
    /// <exception cref="StellaModelFolderException">The file cannot be written.</exception>
    public void Save(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        string temporary = $"{path}.{Guid.NewGuid():N}.tmp";
        try
        {
            byte[] json = JsonSerializer.SerializeToUtf8Bytes(
                new ManifestJson
                {
                    Version = files.Values.Any(file => file.Blake3 is not null) ? Version2 : Version1,
                    Model = Repository,
                    Revision = Revision,
                    Files = files.ToDictionary(
                        file => file.Key,
                        file => new ManifestFileJson { Size = file.Value.Size, Sha256 = file.Value.Sha256, Blake3 = file.Value.Blake3 }),
                },
                ManifestJsonContext.Default.ManifestJson);
            json = [.. json, (byte)'\n'];
            if (File.Exists(path) && TryWriteInPlace(path, json))
            {
                return;
            }

            File.WriteAllBytes(temporary, json);
            File.Move(temporary, path, overwrite: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // If the folder does not exist, there is nothing to delete, and Delete would throw.
            if (File.Exists(temporary))
            {
                File.Delete(temporary);
            }

            throw new StellaModelFolderException(StellaErrorCode.ModelFileUnreadable, $"{path} cannot be written.", e);
        }
    }

    /// <summary>Writes to a device, a pipe or an empty file in place. Replacing it would turn a device or a pipe into a file.</summary>
    private static bool TryWriteInPlace(string path, byte[] content)
    {
        // Without these share flags .NET locks the file, and a lock on /dev/null would affect every process.
        using var stream = new FileStream(
            path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite | FileShare.Delete, bufferSize: 0);
        if (stream.CanSeek && stream.Length > 0)
        {
            return false;
        }

        stream.Write(content);
        return true;
    }

    /// <summary>Compares a folder with the manifest. A file of the wrong size is not hashed.</summary>
    /// <param name="folder">The folder of the model.</param>
    /// <param name="progress">Receives the progress after each read.</param>
    /// <param name="cancellationToken">A token that stops the hashing.</param>
    /// <returns>
    /// The state of every file of the manifest, and of every file of a model that is in the folder but not in the manifest.
    /// </returns>
    /// <exception cref="ArgumentException"><paramref name="folder"/> is null or empty.</exception>
    /// <exception cref="StellaModelFolderException">The folder does not exist, or a file in it cannot be read.</exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled.</exception>
    public StellaVerification Verify(
        string folder, IProgress<StellaHashProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        IReadOnlyList<string> present = StellaModelFiles.GetFiles(folder);
        var hashing = new Hashing(files.Values.Sum(file => file.Size), progress, cancellationToken);
        IEnumerable<StellaVerifiedFile> listed = files.Select(file =>
            new StellaVerifiedFile { Path = file.Key, State = StateOf(file.Key, file.Value, Path.Combine(folder, file.Key), hashing) });
        IEnumerable<StellaVerifiedFile> unlisted = present
            .Where(path => !files.ContainsKey(path))
            .Select(path => new StellaVerifiedFile { Path = path, State = StellaFileState.Unlisted });
        return new StellaVerification([.. listed, .. unlisted]);
    }

    private static StellaFileState StateOf(string path, StellaManifestFile expected, string fullPath, Hashing hashing)
    {
        if (!File.Exists(fullPath))
        {
            return StellaFileState.Missing;
        }

        if (FileHash.Length(fullPath) != expected.Size)
        {
            return StellaFileState.WrongSize;
        }

        StellaManifestFile found = hashing.Hash(path, fullPath);
        // A hash that the manifest does not have cannot differ.
        return (found.Sha256 == expected.Sha256, expected.Blake3 is null || found.Blake3 == expected.Blake3) switch
        {
            (true, true) => StellaFileState.Valid,
            (true, false) => StellaFileState.WrongBlake3,
            (false, true) when expected.Blake3 is not null => StellaFileState.WrongSha256,
            _ => StellaFileState.WrongHash,
        };
    }

    /// <summary>Returns the reason why a list of files is invalid; <see langword="null"/> if it is valid.</summary>
    private static string? Defect(IReadOnlyDictionary<string, StellaManifestFile> files)
    {
        foreach (var (path, file) in files)
        {
            if (!StellaModelFiles.IsPlainPath(path))
            {
                return $"lists '{Printable.Line(path)}', which is not a plain path inside the model folder.";
            }

            if (file is not { Size: > 0 } || !IsHash(file.Sha256))
            {
                return $"lists '{path}' without a size above 0 and a sha256 of 64 lower case hexadecimal digits.";
            }

            if (file.Blake3 is { } blake3 && !IsHash(blake3))
            {
                return $"lists '{path}' with a blake3 that is not 64 lower case hexadecimal digits.";
            }
        }

        return files.Count == 0 ? "lists no files." : null;
    }

    private static bool IsHash(string digits) => digits is { Length: 64 } && digits.All(char.IsAsciiHexDigitLower);

    private static StellaModelFolderException Invalid(string path, string reason, Exception? cause = null) =>
        new(StellaErrorCode.ModelFileInvalid, $"{path} {reason}", cause);

    /// <summary>Hashes files one after the other and reports the progress.</summary>
    private sealed class Hashing(long total, IProgress<StellaHashProgress>? progress, CancellationToken cancellationToken)
    {
        private long done;

        public StellaManifestFile Hash(string path, string fullPath) => FileHash.Compute(
            fullPath,
            read => progress?.Report(new StellaHashProgress { Path = path, HashedBytes = done += read, TotalBytes = total }),
            cancellationToken);
    }
}

/// <summary>Represents the size and the hashes of a file of a model.</summary>
public sealed record StellaManifestFile
{
    /// <summary>Gets the length of the file in bytes, above 0.</summary>
    public required long Size { get; init; }

    /// <summary>Gets the SHA-256 of the file, 64 lower case hexadecimal digits.</summary>
    public required string Sha256 { get; init; }

    /// <summary>
    /// Gets the BLAKE3 of the file, 64 lower case hexadecimal digits; <see langword="null"/> if it is not known. A load compares this hash
    /// instead of <see cref="Sha256"/> if the manifest has it, because BLAKE3 takes a fraction of the time.
    /// </summary>
    public string? Blake3 { get; init; }

    /// <summary>Hashes a file. Blocks for about 1 to 2 seconds per gigabyte.</summary>
    /// <param name="path">The path of the file.</param>
    /// <param name="cancellationToken">A token that stops the hashing.</param>
    /// <returns>The size and both hashes of the file.</returns>
    /// <exception cref="ArgumentException"><paramref name="path"/> is null or empty.</exception>
    /// <exception cref="StellaModelFolderException">The file is missing, empty or cannot be read.</exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled.</exception>
    public static StellaManifestFile FromFile(string path, CancellationToken cancellationToken = default)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        return FileHash.Compute(path, _ => { }, cancellationToken);
    }
}

/// <summary>Represents the progress of hashing the files of a model.</summary>
public readonly record struct StellaHashProgress
{
    /// <summary>Gets the path of the file that is being hashed, relative to the model folder.</summary>
    public required string Path { get; init; }

    /// <summary>Gets the number of hashed bytes of all files.</summary>
    public required long HashedBytes { get; init; }

    /// <summary>
    /// Gets the number of bytes of all files. In a verification that is the sum of the manifest, although missing files and
    /// files of another size are not hashed.
    /// </summary>
    public required long TotalBytes { get; init; }
}
