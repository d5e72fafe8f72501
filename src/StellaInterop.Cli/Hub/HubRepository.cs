using System.Text.Json;
using System.Text.Json.Serialization;
using StellaInterop.Cli.Errors;

namespace StellaInterop.Cli.Hub;

/// <summary>Represents the answer of the server about a revision of a repository.</summary>
internal sealed record HubRepository
{
    /// <summary>Gets the commit of the revision.</summary>
    public required string Sha { get; init; }

    /// <summary>Gets the entries of all files of the commit, unparsed. Entries that are not needed may be invalid.</summary>
    public required IReadOnlyList<JsonElement> Siblings { get; init; }

    /// <summary>Returns the path of an entry; <see langword="null"/> if the entry has none.</summary>
    public static string? GetPath(JsonElement sibling) =>
        sibling.ValueKind == JsonValueKind.Object && sibling.TryGetProperty("rfilename", out JsonElement path) && path.ValueKind == JsonValueKind.String
            ? path.GetString()
            : null;

    /// <summary>Parses the entry of a file.</summary>
    /// <exception cref="CliException">The entry is invalid.</exception>
    public static HubFile ParseFile(JsonElement sibling)
    {
        HubFile? file = null;
        JsonException? cause = null;
        try
        {
            file = sibling.Deserialize(HubJsonContext.Default.HubFile);
        }
        catch (JsonException e)
        {
            cause = e;
        }

        return file is { HasValidHash: true }
            ? file
            : throw new CliException(
                ExitCode.Network, $"The server returned an invalid size or hash of {GetPath(sibling)}. Is it a Hugging Face endpoint?", cause);
    }
}

/// <summary>Represents a file of a repository.</summary>
internal sealed record HubFile
{
    [JsonPropertyName("rfilename")]
    public required string Path { get; init; }

    public long? Size { get; init; }

    /// <summary>Gets git's SHA-1. It is that of the content only if <see cref="Lfs"/> is <see langword="null"/>.</summary>
    public string? BlobId { get; init; }

    /// <summary>Gets the entry of the file in Git LFS; <see langword="null"/> for a file that is stored in git itself.</summary>
    public HubLfs? Lfs { get; init; }

    /// <summary>Gets the published size in bytes.</summary>
    [JsonIgnore]
    public long? PublishedSize => Lfs?.Size ?? Size;

    /// <summary>
    /// Gets the published hash, which also names the blob in the cache: a SHA-256 of 64 digits, or git's SHA-1 of 40 digits.
    /// </summary>
    [JsonIgnore]
    public string? PublishedHash => Lfs?.Sha256 ?? BlobId;

    /// <summary>Gets whether the hashes have a valid form. They become file names.</summary>
    [JsonIgnore]
    public bool HasValidHash => this is { BlobId: null or { Length: 40 }, Lfs: null or { Sha256.Length: 64, Size: > 0 } }
        && (PublishedHash ?? "").All(char.IsAsciiHexDigitLower);
}

/// <summary>Represents a file in Git LFS.</summary>
internal sealed record HubLfs
{
    public required string Sha256 { get; init; }

    public required long Size { get; init; }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, RespectNullableAnnotations = true)]
[JsonSerializable(typeof(HubRepository))]
[JsonSerializable(typeof(HubFile))]
internal sealed partial class HubJsonContext : JsonSerializerContext;
