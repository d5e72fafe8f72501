using System.Text.Json;
using StellaInterop.Server.Errors;

namespace StellaInterop.Server.Fields;

/// <summary>Specifies the JSON type of a field.</summary>
internal enum FieldType
{
    /// <summary>A string.</summary>
    Text,

    /// <summary>A string or an array of strings.</summary>
    Texts,

    /// <summary>A whole number.</summary>
    Whole,

    /// <summary>A whole number, or an array of them, or an array of arrays.</summary>
    Ids,

    /// <summary>true or false.</summary>
    Flag,

    /// <summary>An object with fields of its own.</summary>
    Group,

    /// <summary>Any value; it has no effect.</summary>
    Unused,
}

/// <summary>Stores the value of a field on which the reader stands, and leaves the reader at the end of the value.</summary>
internal delegate void FieldReader<in T>(T request, ref Utf8JsonReader reader, ReadOnlyMemory<byte> body);

/// <summary>Describes one field of a request: how it is read, and how it is documented.</summary>
/// <param name="Name">The name in JSON.</param>
/// <param name="Type">The type.</param>
/// <param name="Description">The meaning, for the API description.</param>
/// <param name="Read">Stores the value.</param>
internal sealed record Field<T>(string Name, FieldType Type, string Description, FieldReader<T> Read) : IFieldSchema
{
    /// <summary>Gets whether a request must have the field.</summary>
    public bool IsRequired { get; init; }

    /// <summary>Gets the allowed values of a field of text; <see langword="null"/> for any.</summary>
    public IReadOnlyList<string>? Choices { get; init; }

    /// <summary>Gets the fields of a <see cref="FieldType.Group"/>.</summary>
    public FieldTable<T>? Group { get; init; }

    IReadOnlyList<IFieldSchema> IFieldSchema.Fields => Group?.Schema ?? [];
}

/// <summary>Makes the fields of a request.</summary>
internal static class Field
{
    public static Field<T> Texts<T>(string name, string description, Action<T, TextList> store) => new(
        name,
        FieldType.Texts,
        description,
        (T request, ref Utf8JsonReader reader, ReadOnlyMemory<byte> body) => store(request, TextList.Read(ref reader, body, name)))
    {
        IsRequired = true,
    };

    public static Field<T> Text<T>(string name, string description, Action<T, string> store) => new(
        name,
        FieldType.Text,
        description,
        (T request, ref Utf8JsonReader reader, ReadOnlyMemory<byte> _) => store(request, ReadText(ref reader, name)));

    /// <summary>Makes a field whose value is one of some names. Names are compared in lower case.</summary>
    public static Field<T> Choice<T, TValue>(string name, string description, Action<T, TValue> store, params (string Name, TValue Value)[] choices) => new(
        name,
        FieldType.Text,
        description,
        (T request, ref Utf8JsonReader reader, ReadOnlyMemory<byte> _) =>
        {
            string given = ReadText(ref reader, name);
            int index = Array.FindIndex(choices, choice => string.Equals(choice.Name, given, StringComparison.OrdinalIgnoreCase));
            store(request, index >= 0 ? choices[index].Value : throw new ServerException(
                ErrorKind.InvalidRequest,
                $"'{name}' is '{Shorten(given)}'; it must be one of {string.Join(", ", choices.Select(choice => choice.Name))}.",
                name));
        })
    {
        Choices = [.. choices.Select(choice => choice.Name)],
    };

    public static Field<T> Whole<T>(string name, string description, int minimum, int maximum, Action<T, int> store) => new(
        name,
        FieldType.Whole,
        description,
        (T request, ref Utf8JsonReader reader, ReadOnlyMemory<byte> _) => store(
            request,
            reader.TokenType == JsonTokenType.Number && reader.TryGetInt32(out int value) && value >= minimum && value <= maximum
                ? value
                : throw new ServerException(ErrorKind.InvalidRequest, $"'{name}' must be a whole number from {minimum} to {maximum}.", name)));

    /// <summary>Makes a field of token ids: an array of numbers, or an array of such arrays.</summary>
    public static Field<T> Ids<T>(string name, string description, Action<T, IReadOnlyList<int[]>> store) => new(
        name,
        FieldType.Ids,
        description,
        (T request, ref Utf8JsonReader reader, ReadOnlyMemory<byte> _) => store(request, ReadIds(ref reader, name)))
    {
        IsRequired = true,
    };

    public static Field<T> Flag<T>(string name, string description, Action<T, bool> store) => new(
        name,
        FieldType.Flag,
        description,
        (T request, ref Utf8JsonReader reader, ReadOnlyMemory<byte> _) => store(
            request,
            reader.TokenType is JsonTokenType.True or JsonTokenType.False
                ? reader.GetBoolean()
                : throw new ServerException(ErrorKind.InvalidRequest, $"'{name}' must be true or false.", name)));

    /// <summary>Makes a field that has an effect in other servers of the protocol and none here. The answer lists it as ignored.</summary>
    public static Field<T> Unused<T>(string name, string description)
        where T : FieldRequest => new(
        name,
        FieldType.Unused,
        description,
        (T request, ref Utf8JsonReader reader, ReadOnlyMemory<byte> _) =>
        {
            reader.Skip();
            request.Ignore(name);
        });

    /// <summary>Makes a field that changes no answer in any server of the protocol, so that the answer does not list it as ignored.</summary>
    public static Field<T> Note<T>(string name, string description) => new(
        name, FieldType.Unused, description, (T _, ref Utf8JsonReader reader, ReadOnlyMemory<byte> _) => reader.Skip());

    public static Field<T> Group<T>(string name, string description, FieldTable<T> fields) => new(
        name,
        FieldType.Group,
        description,
        (T request, ref Utf8JsonReader reader, ReadOnlyMemory<byte> body) => fields.ReadObject(request, ref reader, body, name))
    {
        Group = fields,
    };

    private static List<int[]> ReadIds(ref Utf8JsonReader reader, string name)
    {
        var sequences = new List<int[]>();
        if (reader.TokenType != JsonTokenType.StartArray)
        {
            throw WrongIds(name);
        }

        _ = reader.Read();
        if (reader.TokenType != JsonTokenType.StartArray)
        {
            int[] ids = ReadSequence(ref reader, name);
            return ids.Length == 0 ? sequences : [ids];
        }

        while (reader.TokenType == JsonTokenType.StartArray)
        {
            _ = reader.Read();
            sequences.Add(ReadSequence(ref reader, name));
            _ = reader.Read();
        }

        return reader.TokenType == JsonTokenType.EndArray ? sequences : throw WrongIds(name);
    }

    /// <summary>Reads numbers until the end of an array.</summary>
    private static int[] ReadSequence(ref Utf8JsonReader reader, string name)
    {
        var ids = new List<int>();
        while (reader.TokenType != JsonTokenType.EndArray)
        {
            ids.Add(reader.TokenType == JsonTokenType.Number && reader.TryGetInt32(out int id) ? id : throw WrongIds(name));
            _ = reader.Read();
        }

        return [.. ids];
    }

    private static ServerException WrongIds(string name) =>
        new(ErrorKind.InvalidRequest, $"'{name}' must be an array of token ids, or an array of such arrays.", name);

    private static string ReadText(ref Utf8JsonReader reader, string name)
    {
        try
        {
            return reader.TokenType == JsonTokenType.String
                ? reader.GetString()!
                : throw new ServerException(ErrorKind.InvalidRequest, $"'{name}' must be a string.", name);
        }
        catch (InvalidOperationException e)
        {
            throw new ServerException(
                new ServerError(ErrorKind.InvalidRequest, $"'{name}' has a surrogate without a partner. Send whole characters.") { Field = name }, e);
        }
    }

    private static string Shorten(string text) => Printable.Line(text.Length > 60 ? text[..60] + "…" : text);
}
