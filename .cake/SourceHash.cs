#nullable enable

using System.Security.Cryptography;
using System.Text;

/// <summary>Hashes source files. The build and its tests compile this file, so it uses no type of Cake and is in no namespace.</summary>
internal static class SourceHash
{
    private static readonly UTF8Encoding StrictUtf8 = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    /// <summary>Gets the folders whose line ends git never converts (<c>-text</c> in .gitattributes).</summary>
    public static IReadOnlyList<string> Unconverted { get; } =
    [
        "native/fuzz/corpus/",
        "src/StellaInterop.Models.Mini/model/",
        "tests/fixtures/golden/",
        "tests/fixtures/models/",
    ];

    /// <summary>Returns one hash over the names and contents of files, in any order.</summary>
    /// <param name="root">The root of the source tree.</param>
    /// <param name="folder">The folder below the root to which the hashed names are relative. Empty for the root.</param>
    /// <param name="files">The paths of the files from the root, with slashes.</param>
    public static string Of(string root, string folder, IEnumerable<string> files)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (string file in files.Order(StringComparer.Ordinal))
        {
            byte[] bytes = System.IO.File.ReadAllBytes(System.IO.Path.Combine(root, file));
            // A checkout may change the line ends of text.
            string? text = Unconverted.Any(unconverted => file.StartsWith(unconverted, StringComparison.Ordinal)) ? null : Text(bytes);
            (int length, byte[] content) = text is null ? (bytes.Length, bytes) : (text.Length, Encoding.UTF8.GetBytes(text));
            hash.AppendData(Encoding.UTF8.GetBytes($"{file[folder.Length..]}\n{length}\n"));
            hash.AppendData(content);
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    /// <summary>Returns a text file with line feeds as line ends. Returns <see langword="null"/> for a binary file.</summary>
    private static string? Text(byte[] bytes)
    {
        if (bytes.AsSpan().Contains((byte)0))
        {
            return null;
        }

        try
        {
            return StrictUtf8.GetString(bytes).Replace("\r\n", "\n", StringComparison.Ordinal);
        }
        catch (DecoderFallbackException)
        {
            return null;
        }
    }
}

#nullable restore
