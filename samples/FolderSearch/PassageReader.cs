using System.Globalization;
using System.Security.Cryptography;

namespace StellaInterop.Samples.FolderSearch;

/// <summary>Reads a text file as passages. A file of any length takes the same memory.</summary>
/// <param name="folder">The folder that paths begin in.</param>
/// <param name="splitter">What cuts texts.</param>
internal sealed class PassageReader(string folder, StellaTextSplitter splitter)
{
    /// <summary>
    /// Tokens of a passage: short enough that one subject decides about its vector, and long enough to be understood by itself.
    /// </summary>
    private const int PassageTokens = 128;

    /// <summary>Makes the splitter that passages of a store are cut with.</summary>
    public static StellaTextSplitter SplitterOf(StellaModel model)
    {
        int tokens = Math.Min(PassageTokens, model.Info.MaxTokens);
        return new StellaTextSplitter(model, new StellaTextSplitterOptions { MaxTokens = tokens, OverlapTokens = tokens / 8, Prompt = StellaPrompt.Document });
    }

    /// <summary>Whether a file has bytes. A pipe and a device have none before they are opened, and opening a pipe waits for its writer.</summary>
    public bool HasBytes(string path)
    {
        var file = new FileInfo(Path.Combine(folder, path));

        // The attributes of a link are its own, and those of a missing file throw here.
        return file.LinkTarget is null ? file.Length > 0 : file.ResolveLinkTarget(returnFinalTarget: true) is FileInfo { Length: > 0 };
    }

    /// <summary>Computes the SHA-256 of a file in hexadecimal digits, and checks that all of it is text.</summary>
    /// <exception cref="TextFileException">It is not.</exception>
    public string Hash(string path)
    {
        using var sha = SHA256.Create();
        using FileStream file = Open(path);
        using var hashed = new CryptoStream(file, sha, CryptoStreamMode.Read);
        using var reader = new Utf8Reader(hashed, Terminal.Line(path));
        char[] buffer = new char[8192];
        while (reader.Read(buffer) > 0)
        {
        }

        return Convert.ToHexStringLower(sha.Hash!);
    }

    /// <summary>Reads the passages of a file.</summary>
    /// <param name="path">The file.</param>
    /// <param name="hash">Its hash.</param>
    /// <param name="cancellationToken">Stops between two passages.</param>
    public IEnumerable<Passage> Read(string path, string hash, CancellationToken cancellationToken)
    {
        using FileStream file = Open(path);
        using var text = new Utf8Reader(file, Terminal.Line(path));
        using var reader = new LineCounter(text);
        int number = 0;
        foreach (StellaPassage passage in splitter.Split(reader, cancellationToken))
        {
            yield return new Passage
            {
                Key = Key(path, number++),
                Path = path,
                Line = reader.LineAt(passage.Start),
                FileHash = hash,
                Text = passage.Text,
            };
        }
    }

    /// <summary>Returns the key of a passage in a store.</summary>
    public static string Key(string path, int number) => string.Create(CultureInfo.InvariantCulture, $"{path}#{number}");

    /// <summary>Returns the number of a passage in its file.</summary>
    public static int Number(string key) => int.Parse(key.AsSpan(key.LastIndexOf('#') + 1), CultureInfo.InvariantCulture);

    private FileStream Open(string path) => new(
        Path.Combine(folder, path), FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, bufferSize: 0, FileOptions.SequentialScan);
}
