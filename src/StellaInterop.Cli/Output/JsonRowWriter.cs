using System.Buffers;
using System.CommandLine;
using System.Text.Json;
using StellaInterop.Cli.Errors;
using StellaInterop.Cli.Options;
using StellaInterop.Cli.Streams;

namespace StellaInterop.Cli.Output;

/// <summary>Specifies the format of an output with many rows.</summary>
internal enum RowFormat
{
    /// <summary>One JSON object per line.</summary>
    JsonLines,

    /// <summary>One JSON array.</summary>
    Json,
}

/// <summary>Writes rows of JSON to standard output. Only complete rows are written.</summary>
internal sealed class JsonRowWriter : IDisposable
{
    /// <summary>The number of buffered bytes at which rows are flushed automatically.</summary>
    private const int BlockBytes = 64 << 10;

    private readonly RowFormat format;
    private readonly Stream output = StandardStreams.OpenOutput();
    private readonly ArrayBufferWriter<byte> row = new();
    private readonly ArrayBufferWriter<byte> pending = new(BlockBytes);
    private readonly Utf8JsonWriter writer;
    private bool isEmpty = true;
    private bool isCompleted;

    public JsonRowWriter(RowFormat format)
    {
        this.format = format;
        writer = new Utf8JsonWriter(row);
    }

    /// <summary>Creates the option --format of commands that write rows.</summary>
    public static EnumOption<RowFormat> CreateFormatOption() => new(
        "--format",
        "jsonl writes one JSON object per line, json one array.",
        ("jsonl", RowFormat.JsonLines),
        ("json", RowFormat.Json));

    /// <summary>Writes one object. If <paramref name="properties"/> throws, nothing of the object is written.</summary>
    public void Write(Action<Utf8JsonWriter> properties)
    {
        row.ResetWrittenCount();
        writer.Reset();
        writer.WriteStartObject();
        properties(writer);
        writer.WriteEndObject();
        writer.Flush();
        if (format == RowFormat.Json)
        {
            pending.Write(isEmpty ? "[\n"u8 : ",\n"u8);
        }

        isEmpty = false;
        pending.Write(row.WrittenSpan);
        if (format == RowFormat.JsonLines)
        {
            pending.Write("\n"u8);
        }

        if (pending.WrittenCount >= BlockBytes)
        {
            Flush();
        }
    }

    /// <summary>Writes the properties of a token count.</summary>
    public static void WriteTokenCount(Utf8JsonWriter json, StellaTokenCount count)
    {
        json.WriteNumber("tokens", count.Kept);
        json.WriteNumber("total_tokens", count.Total);
        json.WriteBoolean("truncated", count.IsTruncated);
    }

    /// <summary>Writes the buffered rows to standard output, so that a reader sees them while the next rows are computed.</summary>
    public void Flush()
    {
        // A failed write may have written some of the bytes, and a retry would repeat them.
        isCompleted = true;
        output.Write(pending.WrittenSpan);
        isCompleted = false;
        pending.ResetWrittenCount();
    }

    /// <summary>Flushes the rows and ends the output.</summary>
    public void Complete()
    {
        if (format == RowFormat.Json)
        {
            pending.Write(isEmpty ? "[]\n"u8 : "\n]\n"u8);
        }

        Flush();
        isCompleted = true;
    }

    /// <summary>Writes the buffered rows and ends the output, even if the command fails.</summary>
    public void Dispose()
    {
        writer.Dispose();
        try
        {
            if (!isCompleted)
            {
                Complete();
            }
        }
        catch (Exception e) when (e is BrokenPipeException or CliException)
        {
            // The error that ended the command is reported instead.
        }

        output.Dispose();
    }
}
