using System.Text;

namespace StellaInterop.Server.Models;

/// <summary>Finds the license of a model in its folder.</summary>
internal static class ModelLicense
{
    private const string ReadmeFileName = "README.md";

    /// <summary>The line before and after the settings at the beginning of a model card.</summary>
    private const string Fence = "---";

    private const string LicenseKey = "license:";

    /// <summary>The largest part of a file that is read.</summary>
    private const int MaxBytes = 256 << 10;

    private static readonly string[] FileNames = ["LICENSE", "LICENSE.txt", "LICENSE.md"];

    /// <summary>Returns the text of the license, or its name in the model card if there is no text; empty if the folder has neither.</summary>
    public static string Read(string folder)
    {
        string? file = FileNames.Select(name => Path.Combine(folder, name)).FirstOrDefault(File.Exists);
        string card = Path.Combine(folder, ReadmeFileName);
        try
        {
            return file is not null ? ReadBeginning(file) : File.Exists(card) ? FindName(ReadBeginning(card)) : "";
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // The model works without these files.
            return "";
        }
    }

    private static string ReadBeginning(string path)
    {
        using FileStream file = File.OpenRead(path);
        byte[] bytes = new byte[MaxBytes];
        return Encoding.UTF8.GetString(bytes, 0, file.ReadAtLeast(bytes, MaxBytes, throwOnEndOfStream: false));
    }

    /// <summary>Returns the name in the settings of a model card.</summary>
    private static string FindName(string card)
    {
        string[] lines = card.Split('\n', StringSplitOptions.TrimEntries);
        return lines[0] != Fence ? "" : lines.Skip(1)
            .TakeWhile(line => line != Fence)
            .Where(line => line.StartsWith(LicenseKey, StringComparison.Ordinal))
            .Select(line => line[LicenseKey.Length..].Trim(' ', '"', '\''))
            .FirstOrDefault("");
    }
}
