using System.Buffers;
using System.Text.Json;
using StellaInterop.Bulk.Commit;
using StellaInterop.Bulk.Inputs;
using StellaInterop.Bulk.Outputs;

namespace StellaInterop.Bulk.Jobs;

/// <summary>Writes the rows of one chunk: those with vectors into a part, those at fault beside it.</summary>
internal sealed class ChunkWriter : IDisposable
{
    private readonly PartSchema schema;
    private readonly PartInHand part;
    private readonly IPartWriter writer;
    private readonly int maxTokens;
    private readonly ArrayBufferWriter<byte> line = new();
    private PartCounts counts;

    public ChunkWriter(PartInHand part, IPartFormat format, PartSchema schema, int maxTokens)
    {
        this.part = part;
        this.schema = schema;
        this.maxTokens = maxTokens;
        try
        {
            writer = format.Create(schema, [.. part.Files.Select(file => file.Content)], part.OpenScratch);
        }
        catch
        {
            part.Dispose();
            throw;
        }
    }

    /// <summary>Gets the last fault, for a message.</summary>
    public string? LastFault { get; private set; }

    /// <summary>Writes rows.</summary>
    /// <param name="rows">The rows.</param>
    /// <param name="block">The vectors of the rows that had no fault when they were read, in their order.</param>
    public void Write(List<RowInHand> rows, TextBlock block)
    {
        var ids = new List<string>();
        var tokens = new List<int>();
        var truncated = new List<bool>();
        int text = 0;
        foreach (RowInHand row in rows)
        {
            RowFault? fault = row.Row.Fault;
            int index = text;
            if (fault is null)
            {
                text++;
                fault = block.Faults[index] is { } kind ? row.Refusal(kind, maxTokens)
                    : IsInRange(block, index) ? null
                    : row.OutOfRange();
            }

            if (fault is not null)
            {
                WriteFault(row, fault);
                continue;
            }

            // The vectors after a row at fault move up, so that there is no gap.
            for (int head = 0; head < schema.Dimensions.Count && ids.Count != index; head++)
            {
                int dimension = schema.Dimensions[head];
                block.Vectors[head].AsSpan(index * dimension, dimension).CopyTo(block.Vectors[head].AsSpan(ids.Count * dimension));
            }

            ids.Add(row.Id);
            tokens.Add(block.TokenCounts[index].Kept);
            truncated.Add(block.TokenCounts[index].IsTruncated);
        }

        if (ids.Count > 0)
        {
            writer.Write(new PartRows
            {
                Count = ids.Count,
                Ids = ids,
                Tokens = tokens,
                Truncated = truncated,
                Vectors = [.. schema.Dimensions.Select((dimension, head) => (ReadOnlyMemory<float>)block.Vectors[head].AsMemory(0, ids.Count * dimension))],
            });
            counts += new PartCounts(ids.Count, tokens.Sum(count => (long)count), truncated.Count(isTruncated => isTruncated), 0);
        }
    }

    /// <summary>Ends the files, and commits the part.</summary>
    /// <param name="output">The output.</param>
    /// <param name="claim">The file that decides, as for <see cref="JobOutput.Commit"/>.</param>
    /// <returns>The counts; whether this process made the part.</returns>
    public (PartCounts Counts, bool IsCommitted) Commit(JobOutput output, string? claim = null)
    {
        writer.Complete();
        return (counts, output.Commit(part, counts, claim));
    }

    public void Dispose()
    {
        writer.Dispose();
        part.Dispose();
    }

    /// <summary>Returns whether the format has numbers as large as those of a vector. Only vectors that are not scaled may be too large.</summary>
    private bool IsInRange(TextBlock block, int index)
    {
        if (schema.VectorType != StellaBulkVectorType.Half)
        {
            return true;
        }

        for (int head = 0; head < schema.Dimensions.Count; head++)
        {
            int dimension = schema.Dimensions[head];
            foreach (float number in block.Vectors[head].AsSpan(index * dimension, dimension))
            {
                if (!Half.IsFinite((Half)number))
                {
                    return false;
                }
            }
        }

        return true;
    }

    private void WriteFault(in RowInHand row, RowFault fault)
    {
        line.ResetWrittenCount();
        using (var json = new Utf8JsonWriter(line))
        {
            json.WriteStartObject();
            json.WriteString("file", row.FileName);
            json.WriteNumber("row", row.Row.Number);
            json.WriteString("id", row.Id);
            json.WriteString("reason", fault.Reason);
            json.WriteString("message", fault.Message);
            if (fault.TextLength is { } length)
            {
                json.WriteNumber("text_length", length);
            }
            else
            {
                json.WriteNull("text_length");
            }

            json.WriteEndObject();
        }

        line.Write("\n"u8);
        part.OpenErrors().Write(line.WrittenSpan);
        counts += new PartCounts(0, 0, 0, 1);
        LastFault = $"row {row.Row.Number.ToString(System.Globalization.CultureInfo.InvariantCulture)} of '{row.FileName}': {fault.Message}";
    }
}
