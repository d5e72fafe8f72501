using System.Globalization;
using System.Security.Cryptography;

namespace StellaInterop.Samples.FolderSearch;

/// <summary>Reads text files as passages. The memory does not depend on the length of a file.</summary>
/// <param name="folder">The folder that paths are relative to.</param>
/// <param name="splitter">The splitter of texts.</param>
internal sealed class PassageReader(string folder, StellaTextSplitter splitter)
{
    /// <summary>
    /// The maximum number of tokens of a passage: few enough for one subject, and enough to be understood without its context.
    /// </summary>
    private const int PassageTokens = 128;

    /// <summary>Creates the splitter for the passages of a store.</summary>
    public static StellaTextSplitter CreateSplitter(StellaModel model)
    {
        int tokens = Math.Min(PassageTokens, model.Info.MaxTokens);
        return new StellaTextSplitter(model, new StellaTextSplitterOptions { MaxTokens = tokens, OverlapTokens = tokens / 8, Prompt = StellaPrompt.Document });
    }

    /// <summary>
    /// Returns whether a file has bytes. Pipes and devices have length 0, and opening a pipe would wait for a writer.
    /// </summary>
    public bool HasBytes(string path)
    {
        var file = new FileInfo(Path.Combine(folder, path));

        // Length is that of the link itself, and throws if the file does not exist.
        return file.LinkTarget is null ? file.Length > 0 : file.ResolveLinkTarget(returnFinalTarget: true) is FileInfo { Length: > 0 };
    }

    /// <summary>Computes the SHA-256 of a file as hexadecimal digits, and checks that the file is UTF-8 text.</summary>
    /// <exception cref="TextFileException">The file is not UTF-8 text.</exception>
    public string ComputeHash(string path)
    {
        using var sha = SHA256.Create();
        using FileStream file = Open(path);
        using var hashed = new CryptoStream(file, sha, CryptoStreamMode.Read);
        using var reader = new Utf8Reader(hashed, Terminal.Escape(path));
        char[] buffer = new char[8192];
        while (reader.Read(buffer) > 0)
        {
        }

        return Convert.ToHexStringLower(sha.Hash!);
    }

    /// <summary>Reads the passages of a file.</summary>
    /// <param name="path">The file.</param>
    /// <param name="hash">The hash of the file.</param>
    /// <param name="cancellationToken">Stops the enumeration between two passages.</param>
    public IEnumerable<Passage> Read(string path, string hash, CancellationToken cancellationToken)
    {
        using FileStream file = Open(path);
        using var text = new Utf8Reader(file, Terminal.Escape(path));
        using var reader = new LineCounter(text);
        int number = 0;
        foreach (StellaPassage passage in splitter.Split(reader, cancellationToken))
        {
            yield return new Passage
            {
                Key = CreateKey(path, number++),
                Path = path,
                Line = reader.GetLine(passage.Start),
                FileHash = hash,
                Text = passage.Text,
            };
        }
    }

    /// <summary>Returns the key of a passage in a store.</summary>
    public static string CreateKey(string path, int number) => string.Create(CultureInfo.InvariantCulture, $"{path}#{number}");

    /// <summary>Returns the number of a passage in its file.</summary>
    public static int GetNumber(string key) => int.Parse(key.AsSpan(key.LastIndexOf('#') + 1), CultureInfo.InvariantCulture);

    private FileStream Open(string path) => new(
        Path.Combine(folder, path), FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, bufferSize: 0, FileOptions.SequentialScan);
}
