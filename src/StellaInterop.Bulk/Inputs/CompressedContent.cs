using ZstdSharp;

namespace StellaInterop.Bulk.Inputs;

/// <summary>Unpacks files whose names end with <c>.gz</c> or <c>.zst</c>.</summary>
internal static class CompressedContent
{
    /// <summary>The magic, the header and an empty block of zstd.</summary>
    private const int LeastZstdBytes = 9;

    private static readonly string[] Suffixes = ["", ".gz", ".zst"];

    /// <summary>Returns each extension without and with the suffixes of compressed files.</summary>
    public static IReadOnlyList<string> Extend(params string[] extensions) =>
        [.. extensions.SelectMany(extension => Suffixes.Select(suffix => extension + suffix))];

    /// <summary>Returns the uncompressed content of a file, which cannot seek if the file is compressed. The result owns the stream.</summary>
    public static Stream Unpack(string fileName, Stream content) => Path.GetExtension(fileName).ToUpperInvariant() switch
    {
        ".GZ" => new GzipContent(content),
        ".ZST" => new DecompressionStream(new WholeStream(content, LeastZstdBytes, mark: []), leaveOpen: false),
        _ => content,
    };
}
