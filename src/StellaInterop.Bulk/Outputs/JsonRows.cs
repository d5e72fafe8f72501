using System.Buffers;
using System.Text.Json;

namespace StellaInterop.Bulk.Outputs;

/// <summary>Writes rows as JSON Lines to a stream.</summary>
internal sealed class JsonRows : IDisposable
{
    /// <summary>The number of buffered bytes after which rows are written to the stream.</summary>
    private const int BlockBytes = 64 << 10;

    private readonly Stream output;
    private readonly ArrayBufferWriter<byte> block = new(BlockBytes);
    private readonly Utf8JsonWriter json;

    public JsonRows(Stream output)
    {
        this.output = output;
        json = new Utf8JsonWriter(block);
    }

    /// <summary>Writes one object, which begins with the id, the number of tokens, and whether the text was truncated.</summary>
    /// <param name="rows">The rows.</param>
    /// <param name="row">The index of the row.</param>
    /// <param name="writeVectors">Writes the other properties.</param>
    public void Write(PartRows rows, int row, Action<Utf8JsonWriter> writeVectors)
    {
        json.Reset();
        json.WriteStartObject();
        json.WriteString("id", rows.Ids[row]);
        json.WriteNumber("tokens", rows.Tokens[row]);
        json.WriteBoolean("truncated", rows.Truncated[row]);
        writeVectors(json);
        json.WriteEndObject();
        json.Flush();
        block.Write("\n"u8);
        if (block.WrittenCount >= BlockBytes)
        {
            Flush();
        }
    }

    /// <summary>Writes the buffered rows to the stream.</summary>
    public void Flush()
    {
        output.Write(block.WrittenSpan);
        block.ResetWrittenCount();
    }

    public void Dispose() => json.Dispose();
}
