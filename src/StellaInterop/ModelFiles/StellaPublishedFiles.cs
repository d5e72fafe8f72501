using System.Collections.Frozen;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace StellaInterop.ModelFiles;

/// <summary>Represents a file of a published Stella model.</summary>
public sealed record StellaPublishedFile
{
    /// <summary>Gets the repository, such as <c>NovaSearch/stella_en_400M_v5</c>.</summary>
    public required string Repository { get; init; }

    /// <summary>Gets a commit that contains the file. Other commits may contain it too.</summary>
    public required string Revision { get; init; }

    /// <summary>Gets the path of the file in the repository.</summary>
    public required string Path { get; init; }

    /// <summary>Gets the SHA-256 of the file, 64 lower case hexadecimal digits.</summary>
    public required string Sha256 { get; init; }

    /// <summary>Gets the length of the file in bytes; <see langword="null"/> if it is not known.</summary>
    public long? Size { get; init; }
}

/// <summary>Lists published Stella files by hash, so that a download is recognized under any folder name.</summary>
/// <remarks>
/// The list has the weights and every head of the two Stella v5 models, Stella 400M and Stella 1.5B, and no other files. Thread-safe.
/// </remarks>
public static class StellaPublishedFiles
{
    private static readonly Lazy<FrozenDictionary<string, StellaPublishedFile>> BySha256 = new(Read);

    /// <summary>Gets all files of the list.</summary>
    public static IReadOnlyCollection<StellaPublishedFile> All => BySha256.Value.Values;

    /// <summary>Returns the file with a hash.</summary>
    /// <param name="sha256">A SHA-256 in hexadecimal digits of either case.</param>
    /// <returns>The file; <see langword="null"/> if the list has none with this hash.</returns>
    public static StellaPublishedFile? Find(string sha256)
    {
        ArgumentNullException.ThrowIfNull(sha256);
        return BySha256.Value.GetValueOrDefault(sha256);
    }

    private static FrozenDictionary<string, StellaPublishedFile> Read()
    {
        using Stream json = typeof(StellaPublishedFiles).Assembly.GetManifestResourceStream("StellaPublishedFiles.json")!;
        return JsonSerializer.Deserialize(json, PublishedFilesContext.Default.StellaPublishedFileArray)!
            .ToFrozenDictionary(file => file.Sha256, StringComparer.OrdinalIgnoreCase);
    }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
[JsonSerializable(typeof(StellaPublishedFile[]))]
internal sealed partial class PublishedFilesContext : JsonSerializerContext;
