using System.Buffers;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Serialization;
using StellaInterop.Interop;

namespace StellaInterop.ModelFiles;

/// <summary>Represents the sizes and hashes of the files of a model, against which a folder can be verified.</summary>
/// <remarks>
/// A manifest is kept beside the model, as <see cref="FileName"/>. Immutable and thread-safe. A manifest of which no file has a
/// BLAKE3 is written as version 1 of the format, any other as version 2, which readers of version 1 refuse.
/// </remarks>
public sealed class StellaManifest
{
    /// <summary>The name of the manifest's file in the folder of its model.</summary>
    public const string FileName = "stella.manifest.json";

    /// <summary>Knows SHA-256 alone.</summary>
    private const int Version1 = 1;

    /// <summary>Knows BLAKE3 too, for any of its files.</summary>
    private const int Version2 = 2;

    /// <summary>Far above the manifest of any model; a file beyond it is something else.</summary>
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
            throw new ArgumentException(defect, nameof(files));
        }
    }

    /// <summary>Gets the repository of the files, such as <c>NovaSearch/stella_en_400M_v5</c>; <see langword="null"/> if it is not known.</summary>
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
                StellaErrorCode.ModelFileMissing, $"{folder} holds no file of a model, such as config.json or model.safetensors");
        }

        var hashing = new Hashing(paths.Sum(path => FileHash.Length(Path.Combine(folder, path))), progress, cancellationToken);
        return new StellaManifest(paths.Select(path =>
            KeyValuePair.Create(path, hashing.Hash(path, Path.Combine(folder, path)))));
    }

    /// <summary>Reads a manifest from a file.</summary>
    /// <param name="path">The path of the file.</param>
    /// <exception cref="ArgumentException"><paramref name="path"/> is null or empty.</exception>
    /// <exception cref="StellaModelFolderException">The file is missing, cannot be read, or is not a manifest of version 1 or 2.</exception>
    public static StellaManifest Load(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        byte[] content = [];
        try
        {
            // Asked before the file is opened, as by FileHash.Compute: to read a pipe is to wait for who writes to it.
            switch (FileHash.Length(path))
            {
                case 0:
                    throw Invalid(path, "is empty or not a regular file");
                case var length and > MaxFileBytes:
                    throw Invalid(path, $"has {length} bytes; a manifest has at most {MaxFileBytes}");
            }

            content = File.ReadAllBytes(path);
            // Read first, so that a newer format is refused by its number, whatever else it holds.
            if (JsonSerializer.Deserialize(content, ManifestVersionContext.Default.ManifestVersion)
                is { Version: not (Version1 or Version2) and var version })
            {
                throw Invalid(path, $"has version {version}; this library reads versions {Version1} and {Version2}");
            }

            ManifestJson json = JsonSerializer.Deserialize(content, ManifestJsonContext.Default.ManifestJson)
                ?? throw Invalid(path, "is null");
            if (json.Version == Version1 && json.Files.Values.Any(file => file?.Blake3 is not null))
            {
                throw Invalid(path, "gives a blake3, which version 1 does not know");
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
            // The parser's message quotes names of the file.
            var cause = new JsonException(Printable.Line(e.Message), path: null, e.LineNumber, e.BytePositionInLine);
            throw Invalid(path, WrongFile.Recognize(content) ?? "is not the JSON of a manifest", cause);
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
            // Where the folder is missing there is nothing to delete, and Delete would throw for it.
            if (File.Exists(temporary))
            {
                File.Delete(temporary);
            }

            throw new StellaModelFolderException(StellaErrorCode.ModelFileUnreadable, $"{path} cannot be written", e);
        }
    }

    /// <summary>Writes to a file that has nothing to lose. To replace it would put a file where a device or a pipe was.</summary>
    private static bool TryWriteInPlace(string path, byte[] content)
    {
        // Without a share of everything, .NET locks the file; the lock of /dev/null would be that of every process.
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
    /// <returns>The state of every file of the manifest, and of every file of a model that is in the folder but not in the manifest.</returns>
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
        // What the manifest does not say cannot differ.
        return (found.Sha256 == expected.Sha256, expected.Blake3 is null || found.Blake3 == expected.Blake3) switch
        {
            (true, true) => StellaFileState.Valid,
            (true, false) => StellaFileState.WrongBlake3,
            (false, true) when expected.Blake3 is not null => StellaFileState.WrongSha256,
            _ => StellaFileState.WrongHash,
        };
    }

    /// <summary>What makes the list of files unusable.</summary>
    private static string? Defect(IReadOnlyDictionary<string, StellaManifestFile> files)
    {
        foreach (var (path, file) in files)
        {
            if (!StellaModelFiles.IsPlainPath(path))
            {
                return $"lists '{Printable.Line(path)}', which is not a plain path inside the model folder";
            }

            if (file is not { Size: > 0 } || !IsHash(file.Sha256))
            {
                return $"lists '{path}' without a size above 0 and a sha256 of 64 lower case hexadecimal digits";
            }

            if (file.Blake3 is { } blake3 && !IsHash(blake3))
            {
                return $"lists '{path}' with a blake3 that is not 64 lower case hexadecimal digits";
            }
        }

        return files.Count == 0 ? "lists no files" : null;
    }

    private static bool IsHash(string digits) => digits is { Length: 64 } && digits.All(char.IsAsciiHexDigitLower);

    private static StellaModelFolderException Invalid(string path, string reason, Exception? cause = null) =>
        new(StellaErrorCode.ModelFileInvalid, $"{path} {reason}", cause);

    /// <summary>Hashes one file after the other and tells how far it is.</summary>
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
    /// Gets the number of bytes of all files. In a verification that is the sum of the manifest, of which missing files and files of
    /// another size are not hashed.
    /// </summary>
    public required long TotalBytes { get; init; }
}

/// <summary>Specifies how a file compares with a manifest.</summary>
public enum StellaFileState
{
    /// <summary>Size and hashes are those of the manifest.</summary>
    Valid = 0,

    /// <summary>The manifest lists the file, and the folder does not have it.</summary>
    Missing = 1,

    /// <summary>The size differs; the file was not hashed.</summary>
    WrongSize = 2,

    /// <summary>The hash differs; both hashes if the manifest has two.</summary>
    WrongHash = 3,

    /// <summary>The file belongs to the model, and the manifest does not list it.</summary>
    Unlisted = 4,

    /// <summary>The SHA-256 differs and the BLAKE3 does not: one of the two was not computed from these bytes.</summary>
    WrongSha256 = 5,

    /// <summary>The BLAKE3 differs and the SHA-256 does not: one of the two was not computed from these bytes.</summary>
    WrongBlake3 = 6,
}

/// <summary>Represents a file that was compared with a manifest.</summary>
public sealed record StellaVerifiedFile
{
    internal StellaVerifiedFile()
    {
    }

    /// <summary>Gets the path of the file relative to the model folder, with forward slashes.</summary>
    public required string Path { get; init; }

    /// <summary>Gets the state of the file, compared with the manifest.</summary>
    public required StellaFileState State { get; init; }
}

/// <summary>Represents the result of comparing a folder with a manifest. Immutable and thread-safe.</summary>
public sealed class StellaVerification
{
    internal StellaVerification(IReadOnlyList<StellaVerifiedFile> files) => Files = files;

    /// <summary>Gets the files of the manifest in its order, then the files that the manifest does not list.</summary>
    public IReadOnlyList<StellaVerifiedFile> Files { get; }

    /// <summary>Gets whether the folder has every file as the manifest states it, and no other file of a model.</summary>
    public bool IsValid => Files.All(file => file.State == StellaFileState.Valid);
}

/// <summary>Hashes of files of any size.</summary>
internal static class FileHash
{
    private const int BufferBytes = 1 << 20;

    /// <summary>The length of a file, links followed. What is no regular file has none.</summary>
    public static long Length(string path)
    {
        try
        {
            var file = new FileInfo(path);
            return (file.ResolveLinkTarget(returnFinalTarget: true) as FileInfo ?? file).Length;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw Unreadable(path, e);
        }
    }

    /// <summary>Hashes a file; <paramref name="onRead"/> is told the bytes of each read.</summary>
    public static StellaManifestFile Compute(string path, Action<int> onRead, CancellationToken cancellationToken)
    {
        // Asked before the open: pipes and devices have length 0, and opening a pipe waits for a writer.
        if (Length(path) == 0)
        {
            throw new StellaModelFolderException(StellaErrorCode.ModelFileInvalid, $"{path} is empty or not a regular file");
        }

        byte[] buffer = ArrayPool<byte>.Shared.Rent(BufferBytes);
        try
        {
            using var sha256 = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
            using var blake3 = new HasherHandle();
            using var stream = new FileStream(
                path, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 0, FileOptions.SequentialScan);
            long size = 0;
            while (stream.Read(buffer) is var read and > 0)
            {
                cancellationToken.ThrowIfCancellationRequested();
                sha256.AppendData(buffer, 0, read);
                blake3.Append(buffer.AsSpan(0, read));
                size += read;
                onRead(read);
            }

            return new StellaManifestFile
            {
                Size = size,
                Sha256 = Convert.ToHexStringLower(sha256.GetHashAndReset()),
                Blake3 = blake3.Finish(),
            };
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw Unreadable(path, e);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    public static StellaModelFolderException Unreadable(string path, Exception cause) =>
        cause is FileNotFoundException or DirectoryNotFoundException
            ? new(StellaErrorCode.ModelFileMissing, $"{path} does not exist", cause)
            : new(StellaErrorCode.ModelFileUnreadable, $"{path} cannot be read", cause);
}

/// <summary>The file's form.</summary>
internal sealed record ManifestJson
{
    public required int Version { get; init; }

    public string? Model { get; init; }

    public string? Revision { get; init; }

    public required IReadOnlyDictionary<string, ManifestFileJson> Files { get; init; }
}

/// <summary>The form of one file. The check of the list reports a missing size or hash with the path.</summary>
internal sealed record ManifestFileJson
{
    public long Size { get; init; }

    public string? Sha256 { get; init; }

    public string? Blake3 { get; init; }
}

[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
    UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
    AllowDuplicateProperties = false,
    RespectNullableAnnotations = true,
    WriteIndented = true,
    NewLine = "\n")]
[JsonSerializable(typeof(ManifestJson))]
internal sealed partial class ManifestJsonContext : JsonSerializerContext;

/// <summary>What every version of the form has.</summary>
internal sealed record ManifestVersion
{
    public required int Version { get; init; }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, AllowDuplicateProperties = false)]
[JsonSerializable(typeof(ManifestVersion))]
internal sealed partial class ManifestVersionContext : JsonSerializerContext;
