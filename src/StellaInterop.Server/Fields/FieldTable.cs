using System.Text.Json;
using StellaInterop.Server.Errors;

namespace StellaInterop.Server.Fields;

/// <summary>A request that remembers the fields that are in no table.</summary>
internal abstract class FieldRequest
{
    /// <summary>The largest number of names that are remembered. They go into a header.</summary>
    private const int MaxIgnored = 20;

    private readonly List<string> ignored = [];

    /// <summary>Gets the names of the fields that have no effect, for the header <c>x-stella-ignored</c>.</summary>
    public IReadOnlyList<string> Ignored => ignored;

    /// <summary>Remembers a field without effect.</summary>
    public void Ignore(string name)
    {
        if (ignored.Count < MaxIgnored && !ignored.Contains(name))
        {
            ignored.Add(name);
        }
    }
}

/// <summary>The fields of a request. Reads a JSON object by them. Immutable and thread-safe.</summary>
/// <remarks>A null is the same as a missing field. Of a name that comes twice, the last value counts, as in most servers.</remarks>
internal sealed class FieldTable<T>(params Field<T>[] fields)
{
    /// <summary>Gets the fields for the API description.</summary>
    public IReadOnlyList<IFieldSchema> Schema => fields;

    /// <summary>Reads the whole body as one object.</summary>
    /// <exception cref="ServerException">The body is not a JSON object, or a field has a wrong value or is missing.</exception>
    public void Read(T request, ReadOnlyMemory<byte> body)
    {
        if (body.IsEmpty)
        {
            throw new ServerException(ErrorKind.MalformedBody, "The body is empty. Send a JSON object.");
        }

        var reader = new Utf8JsonReader(body.Span);
        try
        {
            _ = reader.Read();
            ReadObject(request, ref reader, body, null);
            // Trailing text is an error: half of the request would be lost in silence.
            _ = reader.Read();
        }
        catch (JsonException e)
        {
            throw new ServerException(
                new ServerError(ErrorKind.MalformedBody, $"The body is not valid JSON at byte {e.BytePositionInLine} of line {e.LineNumber + 1}."), e);
        }
    }

    /// <summary>Reads an object on whose beginning the reader stands.</summary>
    /// <param name="request">Receives the values.</param>
    /// <param name="reader">The reader; it stands on the end of the object afterwards.</param>
    /// <param name="body">The whole body.</param>
    /// <param name="name">The name of the field with the object; <see langword="null"/> for the body.</param>
    public void ReadObject(T request, ref Utf8JsonReader reader, ReadOnlyMemory<byte> body, string? name)
    {
        if (reader.TokenType != JsonTokenType.StartObject)
        {
            throw name is null
                ? new ServerException(ErrorKind.MalformedBody, "The body must be a JSON object.")
                : new ServerException(ErrorKind.InvalidRequest, $"'{name}' must be an object.", name);
        }

        ulong seen = 0;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            int index = Find(ref reader);
            string? unknown = index < 0 ? ReadName(ref reader) : null;
            _ = reader.Read();
            if (index < 0)
            {
                (request as FieldRequest)?.Ignore(name is null ? unknown! : $"{name}.{unknown}");
                reader.Skip();
            }
            else if (reader.TokenType != JsonTokenType.Null)
            {
                fields[index].Read(request, ref reader, body);
                seen |= 1UL << index;
            }
        }

        for (int i = 0; i < fields.Length; i++)
        {
            if (fields[i].IsRequired && (seen & (1UL << i)) == 0)
            {
                throw new ServerException(ErrorKind.InvalidRequest, $"The field '{fields[i].Name}' is missing.", fields[i].Name);
            }
        }
    }

    private int Find(ref Utf8JsonReader reader)
    {
        for (int i = 0; i < fields.Length; i++)
        {
            if (FieldName.Is(ref reader, fields[i].Name))
            {
                return i;
            }
        }

        return -1;
    }

    /// <summary>Returns the name of an unknown field, so that it is safe in a header.</summary>
    private static string ReadName(ref Utf8JsonReader reader)
    {
        const int MaxLength = 40;
        int length = Math.Min(reader.ValueSpan.Length, MaxLength);
        return string.Create(length, reader.ValueSpan[..length].ToArray(), static (name, bytes) =>
        {
            for (int i = 0; i < name.Length; i++)
            {
                name[i] = char.IsAsciiLetterOrDigit((char)bytes[i]) || bytes[i] is (byte)'_' or (byte)'-' or (byte)'.' ? (char)bytes[i] : '?';
            }
        });
    }
}
