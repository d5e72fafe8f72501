using System.Buffers;
using System.Text;
using System.Text.Json;
using StellaInterop.Server.Errors;

namespace StellaInterop.Server.Fields;

/// <summary>The texts of a request, as positions in its body. A string is made when a text is used. Not thread-safe.</summary>
/// <remarks>A list of strings would cost about 30 bytes for each text besides its characters; a position costs 8.</remarks>
internal sealed class TextList
{
    /// <summary>Marks a text with escape sequences in <see cref="Position.Length"/>.</summary>
    private const int EscapedFlag = 1 << 31;

    private readonly ReadOnlyMemory<byte> body;
    private readonly List<Position> texts = [];

    private readonly record struct Position(int Start, int Length)
    {
        public bool IsEscaped => (Length & EscapedFlag) != 0;

        public int ByteLength => Length & ~EscapedFlag;
    }

    /// <param name="body">The body of the request in UTF-8, without the bytes that a reader has already left behind.</param>
    /// <param name="isSingle">Whether the request has one text and not a list.</param>
    private TextList(ReadOnlyMemory<byte> body, bool isSingle)
    {
        this.body = body;
        IsSingle = isSingle;
    }

    public int Count => texts.Count;

    /// <summary>Gets whether the request has one text and not a list.</summary>
    public bool IsSingle { get; }

    public string this[int index] => Decode(texts[index]);

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
    public int GetByteLength(int index) => texts[index].ByteLength;

    /// <summary>Returns whether a text is ASCII without escape sequences, so that it has at most one token for each byte.</summary>
    public bool IsPlainAscii(int index) => !texts[index].IsEscaped && Ascii.IsValid(Bytes(texts[index]));

    /// <summary>Returns some texts as strings.</summary>
    public string[] Take(int start, int count)
    {
        var strings = new string[count];
        for (int i = 0; i < count; i++)
        {
            strings[i] = Decode(texts[start + i]);
        }

        return strings;
    }

    private void Add(ref Utf8JsonReader reader, string field)
    {
        int length = reader.ValueSpan.Length;
        if (reader.ValueIsEscaped)
        {
            CheckEscapes(ref reader, field, texts.Count);
            length |= EscapedFlag;
        }

        // The reader stands on the quotation mark.
        texts.Add(new Position((int)reader.TokenStartIndex + 1, length));
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
        var reader = new Utf8JsonReader(body.Span.Slice(text.Start - 1, text.ByteLength + 2));
        _ = reader.Read();
        return reader.GetString()!;
    }

    private ReadOnlySpan<byte> Bytes(Position text) => body.Span.Slice(text.Start, text.ByteLength);

    private static ServerException WrongType(string field) =>
        new(ErrorKind.InvalidRequest, $"'{field}' must be a string or an array of strings.", field);
}
