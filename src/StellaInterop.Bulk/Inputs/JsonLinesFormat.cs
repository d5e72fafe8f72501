using System.Text;
using System.Text.Json;

namespace StellaInterop.Bulk.Inputs;

/// <summary>Reads files with one JSON object per line.</summary>
internal sealed class JsonLinesFormat : IInputFormat
{
    public string Name => "JSON Lines";

    public IReadOnlyList<string> Extensions { get; } = CompressedContent.Extend(".jsonl", ".ndjson");

    public InputAccess Access => InputAccess.Sequential;

    public RowReader Open(string fileName, Stream content, InputColumns columns, RowPosition from) =>
        Open(new BlockReader(fileName, content), columns, from, RowReader.MaxRowBytes);

    /// <summary>Opens a reader with another limit for the length of a line.</summary>
    internal static RowReader Open(BlockReader blocks, InputColumns columns, RowPosition from, int maxRowBytes) =>
        OpenedContent.Use(blocks, () => new Reader(blocks, columns, from, maxRowBytes));

    private sealed class Reader(BlockReader blocks, InputColumns columns, RowPosition from, int maxRowBytes) : LineReader(blocks, from, maxRowBytes)
    {
        private readonly byte[] textName = Encoding.UTF8.GetBytes(columns.Text);
        private readonly byte[] idName = Encoding.UTF8.GetBytes(columns.Id ?? InputColumns.DefaultId);

        protected override bool TryParse(long number, ReadOnlySpan<byte> line, out InputRow row)
        {
            if (line.Trim(" \t\r"u8).IsEmpty)
            {
                row = default;
                return false;
            }

            try
            {
                row = Parse(number, line);
            }
            catch (JsonException e)
            {
                row = RowTexts.AtFault(
                    number, null, RowFaultKind.InvalidRow, RowTexts.Format($"The line is not valid JSON at byte {e.BytePositionInLine}. Write one JSON object per line."));
            }

            return true;
        }

        private InputRow Parse(long number, ReadOnlySpan<byte> line)
        {
            var json = new Utf8JsonReader(line);
            json.Read();
            if (json.TokenType != JsonTokenType.StartObject)
            {
                return RowTexts.AtFault(number, null, RowFaultKind.InvalidRow, "The line is not a JSON object. Write one JSON object per line.");
            }

            JsonValue text = default, id = default;
            while (json.Read() && json.TokenType == JsonTokenType.PropertyName)
            {
                if (json.ValueTextEquals(textName))
                {
                    text = JsonValue.Read(ref json);
                }
                else if (json.ValueTextEquals(idName))
                {
                    id = JsonValue.Read(ref json);
                }
                else
                {
                    json.Skip();
                }
            }

            // The reader fails if anything follows the object.
            json.Read();
            return ToRow(number, text, id);
        }

        private InputRow ToRow(long number, JsonValue text, JsonValue id)
        {
            string? idText = id.Kind is JsonTokenType.String or JsonTokenType.Number && id.Text is { Length: > 0 } given ? given : null;
            return text.Kind switch
            {
                _ when id.Kind is not (JsonTokenType.None or JsonTokenType.Null or JsonTokenType.String or JsonTokenType.Number) || id.IsNotUnicode => RowTexts.AtFault(
                    number, null, RowFaultKind.InvalidRow, "The id is neither a string nor a number. Name another field with --id."),
                JsonTokenType.None => RowTexts.AtFault(
                    number, idText, RowFaultKind.MissingText, $"The line has no field '{columns.Text}'. Name the field with the text with --text."),
                JsonTokenType.Null => RowTexts.AtFault(number, idText, RowFaultKind.NullText, $"The field '{columns.Text}' is null. Give the row a text, or remove it."),
                JsonTokenType.String when text.IsNotUnicode => RowTexts.AtFault(
                    number, idText, RowFaultKind.NotUnicode, $"The field '{columns.Text}' is not valid UTF-8, or has half of a surrogate pair. Write the whole character.", text.Length),
                JsonTokenType.String => new InputRow(number, idText, text.Text, null),
                _ => RowTexts.AtFault(
                    number, idText, RowFaultKind.TextNotString, $"The field '{columns.Text}' is not a string. Name the field with the text with --text."),
            };
        }
    }

    /// <summary>Represents the value of a field.</summary>
    /// <param name="Kind">The kind; <see cref="JsonTokenType.None"/> if there is no such field.</param>
    /// <param name="Text">The string, or the text of a number.</param>
    /// <param name="Length">The length of the value in bytes, as the line has it.</param>
    private readonly record struct JsonValue(JsonTokenType Kind, string? Text, int Length)
    {
        /// <summary>Gets whether a string cannot be converted to UTF-16.</summary>
        public bool IsNotUnicode => Kind == JsonTokenType.String && Text is null;

        /// <summary>Reads the value after the name of the field.</summary>
        public static JsonValue Read(ref Utf8JsonReader json)
        {
            json.Read();
            JsonTokenType kind = json.TokenType;
            int length = json.ValueSpan.Length;
            string? text = kind switch
            {
                JsonTokenType.String => ToString(ref json),
                JsonTokenType.Number => Encoding.UTF8.GetString(json.ValueSpan),
                _ => null,
            };
            json.Skip();
            return new JsonValue(kind, text, length);
        }

        private static string? ToString(ref Utf8JsonReader json)
        {
            try
            {
                return json.GetString();
            }
            catch (InvalidOperationException)
            {
                return null;
            }
        }
    }
}
