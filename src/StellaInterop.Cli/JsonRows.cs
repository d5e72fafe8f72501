using System.CommandLine;
using System.Text.Json;

namespace StellaInterop.Cli;

/// <summary>The form of an output of many rows.</summary>
internal enum RowFormat
{
    /// <summary>One JSON object a line.</summary>
    JsonLines,

    /// <summary>One JSON array.</summary>
    Json,
}

/// <summary>Nobody reads standard output any more.</summary>
internal sealed class BrokenPipeException(Exception innerException) : Exception("standard output was closed", innerException);

/// <summary>Writes rows of JSON to standard output as they come.</summary>
internal sealed class JsonRows : IDisposable
{
    private readonly RowFormat format;
    private readonly Stream output = new BufferedStream(Console.OpenStandardOutput(), 64 << 10);
    private readonly Utf8JsonWriter writer;
    private int rows;

    public JsonRows(RowFormat format)
    {
        this.format = format;
        writer = new Utf8JsonWriter(output);
    }

    /// <summary>--format of the commands that write rows.</summary>
    public static Choice<RowFormat> FormatChoice() => new(
        "--format",
        "jsonl writes one JSON object a line, json one array.",
        ("jsonl", RowFormat.JsonLines),
        ("json", RowFormat.Json));

    /// <summary>Writes one object.</summary>
    public void Write(Action<Utf8JsonWriter> properties) => Guard(() =>
    {
        if (format == RowFormat.Json)
        {
            output.Write(rows == 0 ? "[\n"u8 : ",\n"u8);
        }

        writer.WriteStartObject();
        properties(writer);
        writer.WriteEndObject();
        writer.Flush();
        writer.Reset();
        if (format == RowFormat.JsonLines)
        {
            output.WriteByte((byte)'\n');
        }

        rows++;
    });

    /// <summary>Sends on what was written, so that a reader sees it while the next rows are computed.</summary>
    public void Flush() => Guard(output.Flush);

    /// <summary>Ends the output.</summary>
    public void Complete() => Guard(() =>
    {
        if (format == RowFormat.Json)
        {
            output.Write(rows == 0 ? "[]\n"u8 : "\n]\n"u8);
        }

        output.Flush();
    });

    /// <summary>Sends on the rows that are whole, also when the command ends in an error.</summary>
    public void Dispose()
    {
        writer.Dispose();
        try
        {
            output.Dispose();
        }
        catch (IOException)
        {
            // The reader is gone. Whoever wrote last has been told by Guard.
        }
    }

    private static void Guard(Action write)
    {
        try
        {
            write();
        }
        catch (IOException e)
        {
            throw new BrokenPipeException(e);
        }
    }
}
