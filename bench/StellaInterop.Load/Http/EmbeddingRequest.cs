using System.Buffers.Text;
using System.Text;

namespace StellaInterop.Load.Http;

/// <summary>The bytes of a request with texts that differ each time: equal texts of a queue would be computed once. Not thread-safe.</summary>
internal sealed class EmbeddingRequest
{
    private const string Number = "00000000";

    /// <summary>A text of about 24 tokens.</summary>
    private const string Text = $"Question {Number}: how do I set a new password for my account if I can no longer read my old mail?";

    private readonly byte[] bytes;
    private readonly int[] numbers;

    /// <param name="texts">The number of texts.</param>
    /// <param name="encoding">The format of the vectors, base64 or float.</param>
    /// <param name="key">The API key; <see langword="null"/> for none.</param>
    public EmbeddingRequest(int texts, string encoding, string? key)
    {
        string body = $$"""{"input":[{{string.Join(',', Enumerable.Repeat($"\"{Text}\"", texts))}}],"encoding_format":"{{encoding}}"}""";
        string head = $"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {body.Length}\r\n"
            + (key is null ? "" : $"Authorization: Bearer {key}\r\n");
        string request = $"{head}\r\n{body}";
        bytes = Encoding.ASCII.GetBytes(request);
        numbers = new int[texts];
        int position = head.Length;
        for (int i = 0; i < texts; i++)
        {
            position = request.IndexOf(Number, position, StringComparison.Ordinal);
            numbers[i] = position;
            position += Number.Length;
        }
    }

    /// <summary>Returns the text with a number.</summary>
    public static string TextOf(int number) => Text.Replace(Number, number.ToString("D8", System.Globalization.CultureInfo.InvariantCulture), StringComparison.Ordinal);

    /// <summary>Returns the request with new texts. The memory is used again by the next call.</summary>
    /// <param name="first">The number of the first text.</param>
    public ReadOnlyMemory<byte> Next(int first)
    {
        for (int i = 0; i < numbers.Length; i++)
        {
            _ = Utf8Formatter.TryFormat(first + i, bytes.AsSpan(numbers[i], Number.Length), out _, new System.Buffers.StandardFormat('D', (byte)Number.Length));
        }

        return bytes;
    }
}
