using System.Buffers;
using System.CommandLine;
using System.Text.Json;
using StellaInterop.Cli.Streams;

namespace StellaInterop.Cli;

/// <summary>The form of an output of many rows.</summary>
internal enum RowFormat
{
    /// <summary>One JSON object a line.</summary>
    JsonLines,

    /// <summary>One JSON array.</summary>
    Json,
}

/// <summary>Writes rows of JSON to standard output. Only whole rows are sent on.</summary>
internal sealed class JsonRows : IDisposable
{
    /// <summary>Bytes after which rows are sent on by themselves.</summary>
    private const int BlockBytes = 64 << 10;

    private readonly RowFormat format;
    private readonly Stream output = StandardStreams.OpenOutput();
    private readonly ArrayBufferWriter<byte> row = new();
    private readonly ArrayBufferWriter<byte> pending = new(BlockBytes);
    private readonly Utf8JsonWriter writer;
    private bool isEmpty = true;
    private bool isEnded;

    public JsonRows(RowFormat format)
    {
        this.format = format;
        writer = new Utf8JsonWriter(row);
    }

    /// <summary>--format of the commands that write rows.</summary>
    public static Choice<RowFormat> FormatChoice() => new(
        "--format",
        "jsonl writes one JSON object a line, json one array.",
        ("jsonl", RowFormat.JsonLines),
        ("json", RowFormat.Json));

    /// <summary>Writes one object. Nothing is written of one whose properties cannot be.</summary>
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

    /// <summary>Sends on what was written, so that a reader sees it while the next rows are computed.</summary>
    public void Flush()
    {
        // A write that fails may have sent some of the bytes. Another try would double them.
        isEnded = true;
        output.Write(pending.WrittenSpan);
        isEnded = false;
        pending.ResetWrittenCount();
    }

    /// <summary>Ends the output.</summary>
    public void Complete()
    {
        if (format == RowFormat.Json)
        {
            pending.Write(isEmpty ? "[]\n"u8 : "\n]\n"u8);
        }

        Flush();
        isEnded = true;
    }

    /// <summary>Sends on the rows that are whole and ends the output, also when the command ends in an error.</summary>
    public void Dispose()
    {
        writer.Dispose();
        try
        {
            if (!isEnded)
            {
                Complete();
            }
        }
        catch (Exception e) when (e is BrokenPipeException or CliException)
        {
            // The error that ended the command is reported.
        }

        output.Dispose();
    }
}
