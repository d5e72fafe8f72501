using System.Collections.Frozen;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace StellaInterop;

/// <summary>A file of a published Stella model.</summary>
/// <param name="Repository">The repository, such as <c>NovaSearch/stella_en_400M_v5</c>.</param>
/// <param name="Revision">A commit that holds the file. Others may hold it too.</param>
/// <param name="Path">Its path in the repository.</param>
/// <param name="Sha256">Its SHA-256, in lower case hexadecimal digits.</param>
/// <param name="Size">Its length in bytes, where that is known.</param>
public sealed record StellaPublishedFile(string Repository, string Revision, string Path, string Sha256, long? Size = null);

/// <summary>Published Stella files whose hashes are known, so that a download is recognised whatever its folder is called.</summary>
/// <remarks>The weights and every head of the two Stella v5 models. The list says nothing about files that are not in it.</remarks>
public static class StellaPublishedFiles
{
    private static readonly Lazy<FrozenDictionary<string, StellaPublishedFile>> BySha256 = new(Read);

    /// <summary>The files that are known.</summary>
    public static IReadOnlyCollection<StellaPublishedFile> All => BySha256.Value.Values;

    /// <summary>The file with a hash, or <see langword="null"/> where none is known.</summary>
    /// <param name="sha256">A SHA-256 in hexadecimal digits.</param>
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
