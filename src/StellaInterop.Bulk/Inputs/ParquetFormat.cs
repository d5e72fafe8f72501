using System.Buffers.Binary;
using System.Globalization;
using StellaInterop.Bulk.Parquet;
using ZstdSharp;

namespace StellaInterop.Bulk.Inputs;

/// <summary>Reads Parquet. The text is a column of strings; the id is a column of strings, integers or UUIDs.</summary>
internal sealed class ParquetFormat : IInputFormat
{
    public string Name => "Parquet";

    public IReadOnlyList<string> Extensions { get; } = [".parquet"];

    public InputAccess Access => InputAccess.Random;

    public RowReader Open(string fileName, Stream content, InputColumns columns, RowPosition from) =>
        OpenedContent.Use(content, () => new Reader(fileName, content, columns, from));

    private sealed class Reader : RowReader
    {
        private readonly string fileName;
        private readonly Stream content;
        private readonly ParquetReader parquet;
        private readonly int textColumn;
        private readonly int idColumn;
        private readonly Func<InputRow?> readRow;
        private long number;

        public Reader(string fileName, Stream content, InputColumns columns, RowPosition from)
        {
            this.fileName = fileName;
            this.content = content;
            string id = columns.Id ?? InputColumns.DefaultId;
            parquet = Guarded(() => ParquetReader.Open(content, [columns.Text, id]));
            textColumn = Find(columns.Text, "--text", "a text must be a string", ColumnKind.Text);
            idColumn = columns.Id is null && parquet.IndexOf(id) < 0
                ? -1
                : Find(id, "--id", "an id must be a string, an integer or a UUID", ColumnKind.Text, ColumnKind.SignedInteger, ColumnKind.UnsignedInteger, ColumnKind.Uuid);
            number = from.Number;
            readRow = ReadRow;
            Guarded(() =>
            {
                parquet.MoveTo(number);
                return true;
            });
        }

        /// <remarks>The offset is 0, because the number of a row leads to its row group.</remarks>
        public override RowPosition Position => new(number, 0);

        public override bool Read(out InputRow row)
        {
            InputRow? next = Guarded(readRow);
            row = next.GetValueOrDefault();
            return next is not null;
        }

        protected override void Dispose(bool disposing) => content.Dispose();

        private InputRow? ReadRow()
        {
            if (!parquet.MoveNext())
            {
                return null;
            }

            number++;
            ReadOnlySpan<byte> id = default, text;
            bool hasText;
            string? idText = null;
            if (idColumn == textColumn)
            {
                hasText = parquet.Read(textColumn, out text);
                idText = hasText ? RowTexts.ToId(text) : null;
            }
            else
            {
                idText = idColumn >= 0 && parquet.Read(idColumn, out id) ? ToId(parquet.GetColumn(idColumn), id) : null;
                hasText = parquet.Read(textColumn, out text);
            }

            return !hasText ? RowTexts.AtFault(number, idText, RowFaultKind.NullText, "The text is null. Give the row a text, or remove it.")
                : text.Length > MaxRowBytes ? RowTexts.TooLong(number, MaxRowBytes)
                : RowTexts.FromBytes(number, idText, text);
        }

        private int Find(string name, string option, string rule, params ColumnKind[] kinds)
        {
            FileColumn[] found = [.. parquet.AllColumns.Where(column => column.Name == name)];
            return found switch
            {
                [] => throw InputError.NoColumn(fileName, option, name, parquet.AllColumns.Select(column => column.Name)),
                [var column] when kinds.Contains(column.Kind) => parquet.IndexOf(name),
                [var column] => throw InputError.Create(fileName, $"has the column '{name}' with the type {column.TypeName}; {rule}. Name another column with {option}."),
                _ => throw InputError.Create(fileName, $"has two columns '{name}'. Rename one of them, or name another column with {option}."),
            };
        }

        private static string? ToId(FileColumn column, ReadOnlySpan<byte> value) => column.Kind switch
        {
            ColumnKind.Text => RowTexts.ToId(value),
            ColumnKind.Uuid => new Guid(value, bigEndian: true).ToString(),
            ColumnKind.UnsignedInteger => (column.ValueBytes == sizeof(int) ? BinaryPrimitives.ReadUInt32LittleEndian(value) : BinaryPrimitives.ReadUInt64LittleEndian(value))
                .ToString(CultureInfo.InvariantCulture),
            _ => (column.ValueBytes == sizeof(int) ? BinaryPrimitives.ReadInt32LittleEndian(value) : BinaryPrimitives.ReadInt64LittleEndian(value))
                .ToString(CultureInfo.InvariantCulture),
        };

        /// <summary>Reads the file. Bytes that cannot be valid fail a check of the reader or of the runtime.</summary>
        private T Guarded<T>(Func<T> read)
        {
            try
            {
                return read();
            }
            catch (Exception e) when (e is InvalidDataException or ZstdException or EndOfStreamException or ArgumentException or IndexOutOfRangeException or OverflowException)
            {
                throw InputError.Create(fileName, $"is not a Parquet file, or is damaged: {e.Message.TrimEnd('.')}. Write or copy it again.", e);
            }
        }
    }
}
