using System.Text.Json.Serialization;

namespace StellaInterop.Cli.Hub;

/// <summary>What the server says about a revision of a repository.</summary>
internal sealed record HubRepository
{
    /// <summary>The commit.</summary>
    public required string Sha { get; init; }

    /// <summary>Every file of the commit.</summary>
    public required IReadOnlyList<HubFile> Siblings { get; init; }
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
}

/// <summary>A file in git's large file storage.</summary>
internal sealed record HubLfs
{
    public required string Sha256 { get; init; }

    public required long Size { get; init; }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, RespectNullableAnnotations = true)]
[JsonSerializable(typeof(HubRepository))]
internal sealed partial class HubJsonContext : JsonSerializerContext;
