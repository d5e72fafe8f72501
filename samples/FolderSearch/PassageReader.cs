using System.Security.Cryptography;
using System.Text;

namespace StellaInterop.Samples.FolderSearch;

/// <summary>Cuts a text file into passages: paragraphs, put together while they are short.</summary>
internal static class PassageReader
{
    /// <summary>Characters of a passage, unless one paragraph has more: some 200 tokens.</summary>
    public const int Length = 800;

    /// <summary>Reads a file of a folder.</summary>
    public static IReadOnlyList<Passage> Read(string folder, string path)
    {
        byte[] bytes = File.ReadAllBytes(Path.Combine(folder, path));
        return Cut(path, HashOf(bytes), Encoding.UTF8.GetString(bytes));
    }

    /// <summary>SHA-256 of a file of a folder, in hexadecimal digits.</summary>
    public static string Hash(string folder, string path) => HashOf(File.ReadAllBytes(Path.Combine(folder, path)));

    internal static IReadOnlyList<Passage> Cut(string path, string hash, string text)
    {
        var passages = new List<Passage>();
        var passage = new StringBuilder();
        int begin = 0;
        foreach ((int line, string paragraph) in Paragraphs(text))
        {
            // A heading begins a passage, so that it stands with what follows it.
            if (passage.Length > 0 && (passage.Length + paragraph.Length > Length || paragraph[0] == '#'))
            {
                End();
            }

            begin = passage.Length == 0 ? line : begin;
            passage.Append(passage.Length == 0 ? string.Empty : "\n\n").Append(paragraph);
        }

        End();
        return passages;

        void End()
        {
            if (passage.Length > 0)
            {
                passages.Add(new Passage
                {
                    Key = $"{path}#{passages.Count}",
                    Path = path,
                    Line = begin,
                    FileHash = hash,
                    Text = passage.ToString(),
                });
                passage.Clear();
            }
        }
    }

    private static IEnumerable<(int Line, string Text)> Paragraphs(string text)
    {
        var paragraph = new StringBuilder();
        (int number, int begin) = (0, 0);
        foreach (string line in text.ReplaceLineEndings("\n").Split('\n').Append(string.Empty))
        {
            number++;
            if (!string.IsNullOrWhiteSpace(line))
            {
                begin = paragraph.Length == 0 ? number : begin;
                paragraph.Append(paragraph.Length == 0 ? string.Empty : "\n").Append(line.TrimEnd());
            }
            else if (paragraph.Length > 0)
            {
                yield return (begin, paragraph.ToString());
                paragraph.Clear();
            }
        }
    }

    private static string HashOf(byte[] bytes) => Convert.ToHexStringLower(SHA256.HashData(bytes));
}
