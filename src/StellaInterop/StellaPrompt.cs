using System.ComponentModel;
using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace StellaInterop;

/// <summary>The use of a text, by the name of the model's prompt that is put before it.</summary>
/// <remarks>
/// <para>
/// A model folder names its prompts, and <see cref="StellaModelInfo.Prompts"/> lists them; their text counts towards a text's
/// tokens. Two of them are well known, those of Stella. A model with Stella's heads that lacks one of the two uses the text of the
/// model card, and any other model refuses it.
/// </para>
/// <para>
/// The default value is <see cref="Unnamed"/>. Equality compares names by their characters. In JSON and in configuration it is its name,
/// and null, or an empty name, is <see cref="Unnamed"/>.
/// </para>
/// </remarks>
[JsonConverter(typeof(JsonName))]
[TypeConverter(typeof(ConfiguredName))]
public readonly struct StellaPrompt : IEquatable<StellaPrompt>
{
    private readonly string? name;
    private readonly byte[]? utf8;

    private StellaPrompt(string name)
    {
        this.name = name;
        utf8 = Encoding.UTF8.GetBytes(name);
    }

    /// <summary>Nobody names a prompt, so that the model's default stands before the text, or nothing if it has none.</summary>
    public static StellaPrompt Unnamed => default;

    /// <summary>
    /// A document, or a text that carries its own prompt: nothing stands before it, unless the model has a prompt of the name
    /// <c>document</c>.
    /// </summary>
    public static StellaPrompt Document { get; } = new("document");

    /// <summary>A search query, to be compared with documents: <c>s2p</c>, in Stella's folders <c>s2p_query</c>.</summary>
    public static StellaPrompt SearchQuery { get; } = new("s2p");

    /// <summary>
    /// A sentence, to be compared with sentences that carry this prompt too: <c>s2s</c>, in Stella's folders <c>s2s_query</c>.
    /// </summary>
    public static StellaPrompt SentenceSimilarity { get; } = new("s2s");

    /// <summary>The name; <see langword="null"/> for <see cref="Unnamed"/>.</summary>
    public string? Name => name;

    /// <summary>The name as native code takes it; empty for <see cref="Unnamed"/>.</summary>
    internal ReadOnlySpan<byte> Utf8 => utf8;

    /// <summary>The prompt of a name.</summary>
    /// <param name="name">
    /// A name of <see cref="StellaModelInfo.Prompts"/>; or <c>document</c>, <c>s2p</c> or <c>s2s</c>, case ignored, unless the model has
    /// a prompt of that very name. Whether the model has the prompt shows when a text is embedded:
    /// <see cref="StellaErrorCode.UnknownPrompt"/>.
    /// </param>
    /// <exception cref="ArgumentException">The name is empty.</exception>
    public static StellaPrompt Named(string name)
    {
        ArgumentException.ThrowIfNullOrEmpty(name);
        return new StellaPrompt(name);
    }

    /// <summary>Whether both have the same name.</summary>
    /// <param name="left">One.</param>
    /// <param name="right">The other.</param>
    public static bool operator ==(StellaPrompt left, StellaPrompt right) => left.Equals(right);

    /// <summary>Whether their names differ.</summary>
    /// <param name="left">One.</param>
    /// <param name="right">The other.</param>
    public static bool operator !=(StellaPrompt left, StellaPrompt right) => !left.Equals(right);

    /// <inheritdoc/>
    public bool Equals(StellaPrompt other) => string.Equals(name, other.name, StringComparison.Ordinal);

    /// <inheritdoc/>
    public override bool Equals([NotNullWhen(true)] object? obj) => obj is StellaPrompt other && Equals(other);

    /// <inheritdoc/>
    public override int GetHashCode() => name is null ? 0 : StringComparer.Ordinal.GetHashCode(name);

    /// <summary>The name, as a line of text; empty for <see cref="Unnamed"/>.</summary>
    public override string ToString() => name is null ? "" : Printable.Line(name);

    private static StellaPrompt Parse(string? name) => string.IsNullOrEmpty(name) ? Unnamed : new StellaPrompt(name);

    private sealed class JsonName : JsonConverter<StellaPrompt>
    {
        public override bool HandleNull => true;

        public override StellaPrompt Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
            reader.TokenType is JsonTokenType.String or JsonTokenType.Null
                ? Parse(reader.GetString())
                : throw new JsonException("A prompt must be its name, or null.");

        public override void Write(Utf8JsonWriter writer, StellaPrompt value, JsonSerializerOptions options) =>
            writer.WriteStringValue(value.name);
    }

    private sealed class ConfiguredName : TypeConverter
    {
        public override bool CanConvertFrom(ITypeDescriptorContext? context, Type sourceType) => sourceType == typeof(string);

        public override object? ConvertFrom(ITypeDescriptorContext? context, CultureInfo? culture, object value) =>
            value is string text ? Parse(text) : base.ConvertFrom(context, culture, value);
    }
}
