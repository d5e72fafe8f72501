using System.Buffers;
using System.Text;
using System.Text.Json;
using StellaInterop.Server.Errors;

namespace StellaInterop.Server.Fields;

/// <summary>The texts of a request, as positions in its body. A string is made when a text is used. Not thread-safe.</summary>
/// <remarks>
/// Only every 64th text has its position in memory; the others are found from there. A position of each would cost more than the body if its
/// texts are short. Texts in order are found at once, because the last one is remembered.
/// </remarks>
internal sealed class TextList
{
    /// <summary>The number of texts from one remembered position to the next.</summary>
    private const int Interval = 64;

    private readonly ReadOnlyMemory<byte> body;
    private readonly List<int> starts = [];
    private int lastIndex = -1;
    private Position last;

    /// <summary>A text in the body, without its quotation marks.</summary>
    private readonly record struct Position(int Start, int Length, bool IsEscaped);

    /// <param name="body">The body of the request in UTF-8, without the bytes that a reader has already left behind.</param>
    /// <param name="isSingle">Whether the request has one text and not a list.</param>
    private TextList(ReadOnlyMemory<byte> body, bool isSingle)
    {
        this.body = body;
        IsSingle = isSingle;
    }

    public int Count { get; private set; }

    /// <summary>Gets whether the request has one text and not a list.</summary>
    public bool IsSingle { get; }

    public string this[int index] => Decode(Find(index));

    /// <summary>Reads a string or an array of strings.</summary>
    /// <exception cref="ServerException">The value is of another type, is token ids, or has an unpaired surrogate.</exception>
    public static TextList Read(ref Utf8JsonReader reader, ReadOnlyMemory<byte> body, string field)
    {
        if (reader.TokenType == JsonTokenType.String)
        {
            var single = new TextList(body, isSingle: true);
            single.Add(ref reader, field);
            return single;
        }

        if (reader.TokenType != JsonTokenType.StartArray)
        {
            throw WrongType(field);
        }

        var list = new TextList(body, isSingle: false);
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            switch (reader.TokenType)
            {
                case JsonTokenType.String:
                    list.Add(ref reader, field);
                    break;
                case JsonTokenType.Number or JsonTokenType.StartArray:
                    throw new ServerException(
                        ErrorKind.InvalidRequest,
                        $"'{field}' has token ids, which are those of another model's tokenizer. Send texts. LangChain sends them with check_embedding_ctx_length=False (Python) "
                        + "or from a class without tiktoken.",
                        field);
                default:
                    throw WrongType(field);
            }
        }

        return list;
    }

    /// <summary>Returns the bytes of a text in the body: an upper bound of its bytes in UTF-8.</summary>
    public int GetByteLength(int index) => Find(index).Length;

    /// <summary>Returns whether a text is ASCII without escape sequences, so that it has at most one token for each byte.</summary>
    public bool IsPlainAscii(int index)
    {
        Position text = Find(index);
        return !text.IsEscaped && Ascii.IsValid(Bytes(text));
    }

    /// <summary>Counts the characters of all texts, as Unicode defines them.</summary>
    public long CountCharacters()
    {
        long count = 0;
        for (int i = 0; i < Count; i++)
        {
            Position text = Find(i);
            count += text.IsEscaped ? Characters.Count(Decode(text)) : Characters.Count(Bytes(text));
        }

        return count;
    }

    /// <summary>Returns some texts as strings.</summary>
    public string[] Take(int start, int count)
    {
        var strings = new string[count];
        for (int i = 0; i < count; i++)
        {
            strings[i] = Decode(Find(start + i));
        }

        return strings;
    }

    private void Add(ref Utf8JsonReader reader, string field)
    {
        if (reader.ValueIsEscaped)
        {
            CheckEscapes(ref reader, field, Count);
        }

        if (Count % Interval == 0)
        {
            // The reader stands on the quotation mark.
            starts.Add((int)reader.TokenStartIndex + 1);
        }

        Count++;
    }

    /// <summary>Finds a text, from the one before it or from the nearest remembered position.</summary>
    private Position Find(int index)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)index, (uint)Count);
        if (lastIndex < 0 || index < lastIndex || index / Interval > lastIndex / Interval)
        {
            lastIndex = index / Interval * Interval;
            last = Measure(starts[index / Interval]);
        }

        for (; lastIndex < index; lastIndex++)
        {
            // After the quotation mark of a text, there are only a comma and white space before that of the next.
            int end = last.Start + last.Length + 1;
            last = Measure(end + body.Span[end..].IndexOf((byte)'"') + 1);
        }

        return last;
    }

    /// <summary>Measures a text of the body, which is valid JSON.</summary>
    private Position Measure(int start)
    {
        ReadOnlySpan<byte> rest = body.Span[start..];
        int length = 0;
        bool isEscaped = false;
        while (true)
        {
            length += rest[length..].IndexOfAny((byte)'"', (byte)'\\');
            if (rest[length] == '"')
            {
                return new Position(start, length, isEscaped);
            }

            // A backslash and the character after it.
            isEscaped = true;
            length += 2;
        }
    }

    /// <summary>Refuses an escaped surrogate without its partner: no string in UTF-8 has one.</summary>
    private static void CheckEscapes(ref Utf8JsonReader reader, string field, int index)
    {
        byte[] scratch = ArrayPool<byte>.Shared.Rent(reader.ValueSpan.Length);
        try
        {
            _ = reader.CopyString(scratch);
        }
        catch (InvalidOperationException e)
        {
            throw new ServerException(
                new ServerError(ErrorKind.InvalidRequest, $"Text {index} of '{field}' has a surrogate without a partner. Send whole characters.") { Field = field }, e);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(scratch);
        }
    }

    private string Decode(Position text)
    {
        if (!text.IsEscaped)
        {
            return Encoding.UTF8.GetString(Bytes(text));
        }

        // With its quotation marks.
        var reader = new Utf8JsonReader(body.Span.Slice(text.Start - 1, text.Length + 2));
        _ = reader.Read();
        return reader.GetString()!;
    }

    private ReadOnlySpan<byte> Bytes(Position text) => body.Span.Slice(text.Start, text.Length);

    private static ServerException WrongType(string field) =>
        new(ErrorKind.InvalidRequest, $"'{field}' must be a string or an array of strings.", field);
}
