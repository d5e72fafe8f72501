using System.Buffers;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Serialization;
using StellaInterop.Interop;

namespace StellaInterop;

/// <summary>Sizes and hashes of the files of a model: what a folder held when somebody vouched for it.</summary>
/// <remarks>
/// It is kept beside the model, as <see cref="FileName"/>. Instances do not change. One whose files have nothing but
/// SHA-256 is written as version 1 of the format, one with BLAKE3 as version 2, which readers of version 1 refuse.
/// </remarks>
public sealed class StellaManifest
{
    /// <summary>The name under which a manifest lies in its model's folder.</summary>
    public const string FileName = "stella.manifest.json";

    /// <summary>Knows SHA-256 alone.</summary>
    private const int Version1 = 1;

    /// <summary>Knows BLAKE3 too, for any of its files.</summary>
    private const int Version2 = 2;

    /// <summary>Far above the manifest of any model; a file beyond it is something else.</summary>
    private const long MaxFileBytes = 4 << 20;

    private readonly SortedDictionary<string, StellaManifestFile> files;

    /// <summary>Makes a manifest of files whose hashes are known.</summary>
    /// <param name="files">Paths relative to the model folder, with forward slashes, and what each is.</param>
    /// <exception cref="ArgumentException">There are no files, or one has a path that leads out, a size below 1 or a hash that is none.</exception>
    public StellaManifest(IEnumerable<KeyValuePair<string, StellaManifestFile>> files)
    {
        ArgumentNullException.ThrowIfNull(files);
        this.files = new SortedDictionary<string, StellaManifestFile>(files.ToDictionary(), StringComparer.Ordinal);
        if (Defect(this.files) is { } defect)
        {
            throw new ArgumentException(defect, nameof(files));
        }
    }

    /// <summary>The repository that the files come from, such as <c>NovaSearch/stella_en_400M_v5</c>.</summary>
    public string? Model { get; init; }

    /// <summary>The commit of that repository.</summary>
    public string? Revision { get; init; }

    /// <summary>What the files are, by their paths relative to the model folder, in ordinal order.</summary>
    public IReadOnlyDictionary<string, StellaManifestFile> Files => files;

    /// <summary>Hashes the files of a model.</summary>
    /// <param name="folder">The model's folder.</param>
    /// <param name="progress">Told as bytes are hashed.</param>
    /// <param name="cancellationToken">Stops the hashing.</param>
    /// <exception cref="StellaModelFolderException">The folder holds no file of a model, or one that cannot be read.</exception>
    public static StellaManifest Create(
        string folder, IProgress<StellaHashProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        IReadOnlyList<string> paths = StellaModelFiles.In(folder);
        if (paths.Count == 0)
        {
            throw new StellaModelFolderException(
                StellaErrorCode.ModelFileMissing, $"{folder} holds no file of a model, such as config.json or model.safetensors");
        }

        var hashing = new Hashing(paths.Sum(path => FileHash.Length(Path.Combine(folder, path))), progress, cancellationToken);
        return new StellaManifest(paths.Select(path =>
            KeyValuePair.Create(path, hashing.Hash(path, Path.Combine(folder, path)))));
    }

    /// <summary>Reads a manifest.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="StellaModelFolderException">The file is missing, or it is no manifest of this version.</exception>
    public static StellaManifest Read(string path)
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

            return Defect(json.Files) is { } defect
                ? throw Invalid(path, defect)
                : new StellaManifest(json.Files) { Model = json.Model, Revision = json.Revision };
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
    /// Writes the manifest. A file with content is replaced at once or not at all. A device, a pipe and an empty file are written in
    /// place.
    /// </summary>
    /// <param name="path">The file.</param>
    /// <exception cref="StellaModelFolderException">The file cannot be written.</exception>
    public void Write(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        string temporary = $"{path}.{Guid.NewGuid():N}.tmp";
        try
        {
            byte[] json = JsonSerializer.SerializeToUtf8Bytes(
                new ManifestJson
                {
                    Version = files.Values.Any(file => file.Blake3 is not null) ? Version2 : Version1,
                    Model = Model,
                    Revision = Revision,
                    Files = files,
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
    /// <param name="folder">The model's folder.</param>
    /// <param name="progress">Told as bytes are hashed.</param>
    /// <param name="cancellationToken">Stops the hashing.</param>
    /// <returns>Every file of the manifest, and every file of a model that is in the folder but not in the manifest.</returns>
    /// <exception cref="StellaModelFolderException">The folder does not exist, or a file in it cannot be read.</exception>
    public StellaVerification Verify(
        string folder, IProgress<StellaHashProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        IReadOnlyList<string> present = StellaModelFiles.In(folder);
        var hashing = new Hashing(files.Values.Sum(file => file.Size), progress, cancellationToken);
        IEnumerable<StellaVerifiedFile> listed = files.Select(file =>
            new StellaVerifiedFile(file.Key, StateOf(file.Key, file.Value, Path.Combine(folder, file.Key), hashing)));
        IEnumerable<StellaVerifiedFile> unlisted = present
            .Where(path => !files.ContainsKey(path))
            .Select(path => new StellaVerifiedFile(path, StellaFileState.Unlisted));
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
            (true, true) => StellaFileState.Good,
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
            read => progress?.Report(new StellaHashProgress(path, done += read, total)),
            cancellationToken);
    }
}

/// <summary>What a file of a model is.</summary>
/// <param name="Size">Its length in bytes.</param>
/// <param name="Sha256">Its SHA-256, in lower case hexadecimal digits.</param>
public sealed record StellaManifestFile(long Size, string Sha256)
{
    /// <summary>
    /// Its BLAKE3, in lower case hexadecimal digits, or <see langword="null"/>. A load compares this one where it is given,
    /// because it costs a fraction of the other.
    /// </summary>
    public string? Blake3 { get; init; }

    /// <summary>Hashes a file.</summary>
    /// <param name="path">The file.</param>
    /// <param name="cancellationToken">Stops the hashing.</param>
    /// <exception cref="StellaModelFolderException">The file is missing, empty or cannot be read.</exception>
    public static StellaManifestFile Of(string path, CancellationToken cancellationToken = default)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        return FileHash.Compute(path, _ => { }, cancellationToken);
    }
}

/// <summary>How far the hashing of a model is.</summary>
/// <param name="Path">The file that is being hashed.</param>
/// <param name="BytesDone">Bytes hashed, of all files together.</param>
/// <param name="BytesTotal">Bytes that all files have together.</param>
public readonly record struct StellaHashProgress(string Path, long BytesDone, long BytesTotal);

/// <summary>How a file compares with a manifest.</summary>
public enum StellaFileState
{
    /// <summary>Size and hash are those of the manifest.</summary>
    Good = 0,

    /// <summary>The manifest lists it, and it is not there.</summary>
    Missing = 1,

    /// <summary>Its size differs; it was not hashed.</summary>
    WrongSize = 2,

    /// <summary>Its hash differs, or both of them where the manifest has two.</summary>
    WrongHash = 3,

    /// <summary>A model would be loaded from it, and the manifest does not list it.</summary>
    Unlisted = 4,

    /// <summary>Its SHA-256 differs, though its BLAKE3 is right: one of them was not made from these bytes.</summary>
    WrongSha256 = 5,

    /// <summary>Its BLAKE3 differs, though its SHA-256 is right: one of them was not made from these bytes.</summary>
    WrongBlake3 = 6,
}

/// <summary>One file that was compared with a manifest.</summary>
/// <param name="Path">Its path relative to the model folder.</param>
/// <param name="State">How it compares.</param>
public sealed record StellaVerifiedFile(string Path, StellaFileState State);

/// <summary>What the comparison of a folder with a manifest gave.</summary>
public sealed class StellaVerification
{
    internal StellaVerification(IReadOnlyList<StellaVerifiedFile> files) => Files = files;

    /// <summary>The files of the manifest in its order, then those that it does not list.</summary>
    public IReadOnlyList<StellaVerifiedFile> Files { get; }

    /// <summary>Whether every file is there as the manifest says, and no other.</summary>
    public bool IsGood => Files.All(file => file.State == StellaFileState.Good);
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

            return new StellaManifestFile(size, Convert.ToHexStringLower(sha256.GetHashAndReset())) { Blake3 = blake3.Finish() };
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

    public required IReadOnlyDictionary<string, StellaManifestFile> Files { get; init; }
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
