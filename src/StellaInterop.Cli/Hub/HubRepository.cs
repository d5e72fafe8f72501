using System.Text.Json;
using System.Text.Json.Serialization;

namespace StellaInterop.Cli.Hub;

/// <summary>What the server says about a revision of a repository.</summary>
internal sealed record HubRepository
{
    /// <summary>The commit.</summary>
    public required string Sha { get; init; }

    /// <summary>Every file of the commit, as the server sent it. Most of them are not wanted, and may have any form.</summary>
    public required IReadOnlyList<JsonElement> Siblings { get; init; }

    /// <summary>Returns the path of a file, <see langword="null"/> if the entry has none.</summary>
    public static string? PathOf(JsonElement sibling) =>
        sibling.ValueKind == JsonValueKind.Object && sibling.TryGetProperty("rfilename", out JsonElement path) && path.ValueKind == JsonValueKind.String
            ? path.GetString()
            : null;

    /// <summary>Reads the entry of a file that is wanted.</summary>
    /// <exception cref="CliException">The server describes it in a form that is not known.</exception>
    public static HubFile FileOf(JsonElement sibling)
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

        return file is { HasPlainHash: true }
            ? file
            : throw new CliException(
                ExitCode.Network, $"The server gives an invalid size or hash of {PathOf(sibling)}. Is it a Hugging Face endpoint?", cause);
    }
}

/// <summary>A file of a repository.</summary>
internal sealed record HubFile
{
    [JsonPropertyName("rfilename")]
    public required string Path { get; init; }

    public long? Size { get; init; }

    /// <summary>The SHA-1 of git, of the content itself where <see cref="Lfs"/> is absent.</summary>
    public string? BlobId { get; init; }

    /// <summary>Present for a file that git keeps outside of its own store.</summary>
    public HubLfs? Lfs { get; init; }

    /// <summary>The length that is published.</summary>
    [JsonIgnore]
    public long? PublishedSize => Lfs?.Size ?? Size;

    /// <summary>The hash that is published and by which the content is named: a SHA-256 of 64 digits, or git's SHA-1 of 40.</summary>
    [JsonIgnore]
    public string? PublishedHash => Lfs?.Sha256 ?? BlobId;

    /// <summary>Whether the hashes have the form of hashes: they become names of files.</summary>
    [JsonIgnore]
    public bool HasPlainHash => this is { BlobId: null or { Length: 40 }, Lfs: null or { Sha256.Length: 64, Size: > 0 } }
        && (PublishedHash ?? "").All(char.IsAsciiHexDigitLower);
}

/// <summary>A file in git's large file storage.</summary>
internal sealed record HubLfs
{
    public required string Sha256 { get; init; }

    public required long Size { get; init; }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, RespectNullableAnnotations = true)]
[JsonSerializable(typeof(HubRepository))]
[JsonSerializable(typeof(HubFile))]
internal sealed partial class HubJsonContext : JsonSerializerContext;
