using System.ComponentModel;
using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace StellaInterop;

/// <summary>
/// Represents the purpose of a text, such as a search query, by the name of the prompt that the model puts before the text.
/// </summary>
/// <remarks>
/// <para>
/// A model folder names its prompts, and <see cref="StellaModelInfo.Prompts"/> lists them. The tokens of a prompt count towards the
/// tokens of a text. <see cref="SearchQuery"/> and <see cref="SentenceSimilarity"/> are the prompts of Stella. If a folder with Stella's
/// heads lacks one of the two, the model uses the text of the model card. Other models throw <see cref="StellaOptionException"/> for a
/// prompt that they lack.
/// </para>
/// <para>
/// Immutable and thread-safe. The default value is <see cref="Default"/>. Equality is ordinal equality of names, case included. JSON and
/// configuration have the name; null and an empty name are <see cref="Default"/>.
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

    /// <summary>Gets the prompt without a name: the model's default prompt, or no prompt if the model has no default.</summary>
    public static StellaPrompt Default => default;

    /// <summary>
    /// Gets the prompt of a document, or of a text that already has its own prompt. The model puts nothing before the text, unless it has
    /// a prompt of the name <c>document</c>.
    /// </summary>
    public static StellaPrompt Document { get; } = new("document");

    /// <summary>
    /// Gets the prompt of a search query that is compared with documents: <c>s2p</c>, in Stella's folders <c>s2p_query</c>.
    /// </summary>
    public static StellaPrompt SearchQuery { get; } = new("s2p");

    /// <summary>
    /// Gets the prompt of a sentence that is compared with sentences of the same prompt: <c>s2s</c>, in Stella's folders <c>s2s_query</c>.
    /// </summary>
    public static StellaPrompt SentenceSimilarity { get; } = new("s2s");

    /// <summary>Gets the name; <see langword="null"/> for <see cref="Default"/>.</summary>
    public string? Name => name;

    /// <summary>Gets the name in UTF-8, for native code; empty for <see cref="Default"/>.</summary>
    internal ReadOnlySpan<byte> Utf8 => utf8;

    /// <summary>Returns the prompt of a name.</summary>
    /// <remarks>
    /// A model without a prompt of the name throws <see cref="StellaOptionException"/> with the code
    /// <see cref="StellaErrorCode.UnknownPrompt"/> when a text is embedded or tokenized.
    /// </remarks>
    /// <param name="name">
    /// A name of <see cref="StellaModelInfo.Prompts"/>, case included; or <c>document</c>, <c>s2p</c> or <c>s2s</c> in any case. A prompt
    /// of the model with exactly this name has precedence.
    /// </param>
    /// <exception cref="ArgumentException"><paramref name="name"/> is null or empty.</exception>
    public static StellaPrompt FromName(string name)
    {
        ArgumentException.ThrowIfNullOrEmpty(name);
        return new StellaPrompt(name);
    }

    /// <summary>Determines whether two prompts have the same name.</summary>
    /// <param name="left">The first prompt.</param>
    /// <param name="right">The second prompt.</param>
    public static bool operator ==(StellaPrompt left, StellaPrompt right) => left.Equals(right);

    /// <summary>Determines whether two prompts have different names.</summary>
    /// <param name="left">The first prompt.</param>
    /// <param name="right">The second prompt.</param>
    public static bool operator !=(StellaPrompt left, StellaPrompt right) => !left.Equals(right);

    /// <inheritdoc/>
    public bool Equals(StellaPrompt other) => string.Equals(name, other.name, StringComparison.Ordinal);

    /// <inheritdoc/>
    public override bool Equals([NotNullWhen(true)] object? obj) => obj is StellaPrompt other && Equals(other);

    /// <inheritdoc/>
    public override int GetHashCode() => name is null ? 0 : StringComparer.Ordinal.GetHashCode(name);

    /// <summary>Returns the name with its control characters escaped; an empty string for <see cref="Default"/>.</summary>
    public override string ToString() => name is null ? "" : Printable.Line(name);

    private static StellaPrompt Parse(string? name) => string.IsNullOrEmpty(name) ? Default : new StellaPrompt(name);

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
