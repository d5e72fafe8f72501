using System.Text.Json.Serialization;

namespace StellaInterop.ModelFiles;

/// <summary>The JSON of a manifest.</summary>
internal sealed record ManifestJson
{
    public required int Version { get; init; }

    public string? Model { get; init; }

    public string? Revision { get; init; }

    public required IReadOnlyDictionary<string, ManifestFileJson> Files { get; init; }
}

/// <summary>The JSON of one file. A missing size or hash is reported later, with the path of the file.</summary>
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

/// <summary>The part of the JSON that every version of the format has.</summary>
internal sealed record ManifestVersion
{
    public required int Version { get; init; }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, AllowDuplicateProperties = false)]
[JsonSerializable(typeof(ManifestVersion))]
internal sealed partial class ManifestVersionContext : JsonSerializerContext;
