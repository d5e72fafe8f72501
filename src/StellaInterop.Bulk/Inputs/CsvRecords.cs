using System.Buffers;

namespace StellaInterop.Bulk.Inputs;

/// <summary>Specifies how a record of a CSV file ended.</summary>
internal enum CsvEnd
{
    /// <summary>The file ended before the record.</summary>
    File,

    /// <summary>The record is complete.</summary>
    Record,

    /// <summary>A quoted field has more text after its closing quote. The record ends with the next line end.</summary>
    TextAfterQuote,

    /// <summary>A quoted field has no closing quote in reach. The record ends with its first line end.</summary>
    MissingQuote,

    /// <summary>The record is longer than the limit.</summary>
    TooLong,
}

/// <summary>
/// Splits a file into records by RFC 4180: a field may be in quotes, and then has delimiters, line breaks and doubled quotes as text. A
/// quote inside a field without quotes is text. A record ends with LF, CRLF or CR.
/// </summary>
/// <param name="blocks">The content.</param>
/// <param name="delimiter">The byte between fields.</param>
/// <param name="maxRowBytes">The longest record.</param>
internal sealed class CsvRecords(BlockReader blocks, byte delimiter, int maxRowBytes)
{
    private const byte Quote = (byte)'"';
    private const byte CarriageReturn = (byte)'\r';
    private const byte LineFeed = (byte)'\n';

    private readonly SearchValues<byte> fieldEnds = SearchValues.Create([delimiter, CarriageReturn, LineFeed]);
    private readonly SearchValues<byte> lineEnds = SearchValues.Create([CarriageReturn, LineFeed]);
    private readonly List<Field> fields = [];
    private byte[] unquoted = [];

    /// <summary>Gets the number of fields of the record.</summary>
    public int Count => fields.Count;

    /// <summary>Gets whether the record is an empty line.</summary>
    public bool IsBlank => fields is [{ Length: 0, Start: 0 }];

    /// <summary>Returns the bytes of a field without its quotes, valid until the next call of a method.</summary>
    public ReadOnlySpan<byte> GetField(int index)
    {
        Field field = fields[index];
        ReadOnlySpan<byte> bytes = blocks.Kept.Slice(field.Start, field.Length);
        if (!field.HasQuotes)
        {
            return bytes;
        }

        // Two quotes stand for one.
        if (unquoted.Length < bytes.Length)
        {
            unquoted = new byte[bytes.Length];
        }

        int length = 0;
        while (!bytes.IsEmpty)
        {
            int quote = bytes.IndexOf(Quote);
            int copied = quote < 0 ? bytes.Length : quote + 1;
            bytes[..copied].CopyTo(unquoted.AsSpan(length));
            length += copied;
            bytes = bytes[(quote < 0 ? copied : copied + 1)..];
        }

        return unquoted.AsSpan(0, length);
    }

    /// <summary>Finds the next record, whose fields are readable until <see cref="Skip"/>.</summary>
    /// <param name="length">Receives the number of its bytes, with its line end.</param>
    public CsvEnd Find(out int length)
    {
        fields.Clear();
        length = 0;
        if (!Has(0))
        {
            return CsvEnd.File;
        }

        while (true)
        {
            bool isQuoted = Has(length) && blocks.Kept[length] == Quote;
            CsvEnd end = isQuoted ? FindQuotedField(ref length) : FindField(ref length);
            if (end != CsvEnd.Record)
            {
                return end;
            }

            if (!Has(length))
            {
                return CsvEnd.Record;
            }

            if (blocks.Kept[length] != delimiter)
            {
                SkipLineEnd(ref length);
                return CsvEnd.Record;
            }

            length++;
        }
    }

    /// <summary>Gives up the record, so that the next one can be found.</summary>
    public void Skip(int length) => blocks.Skip(length);

    /// <summary>Finds the end of a field without quotes.</summary>
    private CsvEnd FindField(ref int length)
    {
        int start = length;
        CsvEnd end = MoveToAny(fieldEnds, ref length);
        fields.Add(new Field(start, length - start, HasQuotes: false));
        return end;
    }

    private CsvEnd FindQuotedField(ref int length)
    {
        int start = ++length;
        bool hasQuotes = false;
        while (true)
        {
            if (!MoveTo(Quote, ref length))
            {
                return EndAtFirstLine(out length);
            }

            length++;
            if (Has(length) && blocks.Kept[length] == Quote)
            {
                hasQuotes = true;
                length++;
                continue;
            }

            fields.Add(new Field(start, length - 1 - start, hasQuotes));
            return !Has(length) || fieldEnds.Contains(blocks.Kept[length]) ? CsvEnd.Record : EndAtNextLine(ref length);
        }
    }

    /// <summary>
    /// Ends a record with a quote that is never closed. The rest of the file is not a part of it, because one such quote would otherwise take
    /// all rows after it.
    /// </summary>
    private CsvEnd EndAtFirstLine(out int length)
    {
        length = 0;
        CsvEnd end = MoveToAny(lineEnds, ref length);
        SkipLineEnd(ref length);
        return end == CsvEnd.Record ? CsvEnd.MissingQuote : end;
    }

    private CsvEnd EndAtNextLine(ref int length)
    {
        CsvEnd end = MoveToAny(lineEnds, ref length);
        SkipLineEnd(ref length);
        return end == CsvEnd.Record ? CsvEnd.TextAfterQuote : end;
    }

    private void SkipLineEnd(ref int length)
    {
        if (!Has(length))
        {
            return;
        }

        bool isReturn = blocks.Kept[length] == CarriageReturn;
        length++;
        if (isReturn && Has(length) && blocks.Kept[length] == LineFeed)
        {
            length++;
        }
    }

    /// <summary>Moves to the next byte of a set, or to the end of the file.</summary>
    private CsvEnd MoveToAny(SearchValues<byte> set, ref int length)
    {
        while (true)
        {
            int found = blocks.Kept[length..].IndexOfAny(set);
            length = found < 0 ? blocks.Kept.Length : length + found;
            if (length > maxRowBytes)
            {
                return GiveUp(ref length);
            }

            if (found >= 0 || !blocks.Fill())
            {
                return CsvEnd.Record;
            }
        }
    }

    /// <summary>Skips a record that is too long, up to its line end.</summary>
    private CsvEnd GiveUp(ref int length)
    {
        blocks.Skip(length);
        length = 0;
        while (true)
        {
            int found = blocks.Kept.IndexOfAny(lineEnds);
            blocks.Skip(found < 0 ? blocks.Kept.Length : found);
            if (found >= 0 || !blocks.Fill())
            {
                SkipLineEnd(ref length);
                return CsvEnd.TooLong;
            }
        }
    }

    /// <returns><see langword="false"/> if the byte is neither in the file nor within the limit.</returns>
    private bool MoveTo(byte value, ref int length)
    {
        while (true)
        {
            int found = blocks.Kept[length..].IndexOf(value);
            length = found < 0 ? blocks.Kept.Length : length + found;
            if (length > maxRowBytes)
            {
                return false;
            }

            if (found >= 0)
            {
                return true;
            }

            if (!blocks.Fill())
            {
                return false;
            }
        }
    }

    /// <summary>Returns whether the file has so many more bytes than an index.</summary>
    private bool Has(int index)
    {
        while (blocks.Kept.Length <= index)
        {
            if (!blocks.Fill())
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>Represents a field.</summary>
    /// <param name="Start">Its begin in the record, after the opening quote.</param>
    /// <param name="Length">Its length, without the closing quote.</param>
    /// <param name="HasQuotes">Whether it has doubled quotes.</param>
    private readonly record struct Field(int Start, int Length, bool HasQuotes);
}
