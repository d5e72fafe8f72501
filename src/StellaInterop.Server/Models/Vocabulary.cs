using System.Buffers;
using System.Text;
using System.Text.Json;
using StellaInterop.Server.Errors;

namespace StellaInterop.Server.Models;

/// <summary>The text of each token of a model, from its <c>tokenizer.json</c>. Immutable and thread-safe.</summary>
/// <remarks>
/// Two tokenizers exist among the models: WordPiece, whose continued words begin with a prefix, and byte-level BPE, which writes each byte
/// as one printable character.
/// </remarks>
internal sealed class Vocabulary
{
    /// <summary>The prefix of a token that continues a word in WordPiece.</summary>
    private const string Continuation = "##";

    private static readonly Dictionary<char, byte> ByteOfCharacter = BytesByCharacter();

    private readonly string?[] tokens;
    private readonly HashSet<int> special;
    private readonly bool isByteLevel;

    private Vocabulary(string?[] tokens, HashSet<int> special, bool isByteLevel) =>
        (this.tokens, this.special, this.isByteLevel) = (tokens, special, isByteLevel);

    /// <summary>Reads the vocabulary of a model.</summary>
    public static Vocabulary Load(string folder)
    {
        using var json = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(folder, "tokenizer.json")));
        JsonElement model = json.RootElement.GetProperty("model");
        var entries = new List<(int Id, string Text)>();
        foreach (JsonProperty entry in model.GetProperty("vocab").EnumerateObject())
        {
            entries.Add((entry.Value.GetInt32(), entry.Name));
        }

        var special = new HashSet<int>();
        foreach (JsonElement added in json.RootElement.GetProperty("added_tokens").EnumerateArray())
        {
            int id = added.GetProperty("id").GetInt32();
            entries.Add((id, added.GetProperty("content").GetString()!));
            if (added.GetProperty("special").GetBoolean())
            {
                _ = special.Add(id);
            }
        }

        var tokens = new string?[entries.Max(entry => entry.Id) + 1];
        foreach ((int id, string text) in entries)
        {
            tokens[id] = text;
        }

        return new Vocabulary(tokens, special, model.GetProperty("type").GetString() == "BPE");
    }

    public bool IsSpecial(int id) => special.Contains(id);

    /// <summary>Returns the token as the vocabulary writes it.</summary>
    /// <exception cref="ServerException">The vocabulary has no such id.</exception>
    public string GetToken(int id) => id >= 0 && id < tokens.Length && tokens[id] is { } text
        ? text
        : throw new ServerException(ErrorKind.InvalidRequest, $"The id {id} is not one of the {tokens.Length} tokens of the model.", "ids");

    /// <summary>Checks the ids of a sequence.</summary>
    /// <exception cref="ServerException">The vocabulary has no such id.</exception>
    public void Check(ReadOnlySpan<int> ids)
    {
        foreach (int id in ids)
        {
            _ = GetToken(id);
        }
    }

    /// <summary>Returns the text of a sequence of tokens.</summary>
    /// <exception cref="ServerException">The vocabulary has no such id.</exception>
    public string Decode(ReadOnlySpan<int> ids, bool skipsSpecialTokens)
    {
        var text = new StringBuilder();
        var bytes = new ArrayBufferWriter<byte>();
        foreach (int id in ids)
        {
            string token = GetToken(id);
            bool isSpecial = IsSpecial(id);
            if (isSpecial && skipsSpecialTokens)
            {
                continue;
            }

            if (isByteLevel && !isSpecial)
            {
                foreach (char character in token)
                {
                    bytes.Write([ByteOfCharacter[character]]);
                }

                continue;
            }

            Flush();
            if (isByteLevel)
            {
                _ = text.Append(token);
            }
            else if (token.StartsWith(Continuation, StringComparison.Ordinal) && text.Length > 0)
            {
                _ = text.Append(token, Continuation.Length, token.Length - Continuation.Length);
            }
            else
            {
                _ = text.Append(text.Length > 0 ? " " : "").Append(token);
            }
        }

        Flush();
        return isByteLevel ? text.ToString() : CleanUp(text.ToString());

        // The bytes of one character may be in several tokens.
        void Flush()
        {
            _ = text.Append(Encoding.UTF8.GetString(bytes.WrittenSpan));
            bytes.Clear();
        }
    }

    /// <summary>Removes the blanks that WordPiece puts before punctuation, by the rules of the tokenizers library.</summary>
    private static string CleanUp(string text) => text
        .Replace(" .", ".", StringComparison.Ordinal)
        .Replace(" ?", "?", StringComparison.Ordinal)
        .Replace(" !", "!", StringComparison.Ordinal)
        .Replace(" ,", ",", StringComparison.Ordinal)
        .Replace(" ' ", "'", StringComparison.Ordinal)
        .Replace(" n't", "n't", StringComparison.Ordinal)
        .Replace(" 'm", "'m", StringComparison.Ordinal)
        .Replace(" do not", " don't", StringComparison.Ordinal)
        .Replace(" 's", "'s", StringComparison.Ordinal)
        .Replace(" 've", "'ve", StringComparison.Ordinal)
        .Replace(" 're", "'re", StringComparison.Ordinal);

    /// <summary>Byte-level BPE keeps printable bytes and moves the others to U+0100 and up, in their order.</summary>
    private static Dictionary<char, byte> BytesByCharacter()
    {
        var bytes = new Dictionary<char, byte>();
        int moved = 0x100;
        for (int value = 0; value <= byte.MaxValue; value++)
        {
            bool isPrintable = value is (>= '!' and <= '~') or (>= 0xA1 and <= 0xAC) or >= 0xAE;
            bytes[(char)(isPrintable ? value : moved++)] = (byte)value;
        }

        return bytes;
    }
}
