namespace StellaInterop;

/// <summary>Provides the service keys of the generators for queries.</summary>
/// <remarks>
/// The generator for documents has the key of its model, or no key. The key of a model must not start with <see cref="Query"/>, so
/// that the keys of services are unique.
/// </remarks>
public static class StellaServiceKeys
{
    /// <summary>The key of the query generator of the model without a key.</summary>
    public const string Query = "stella:query";

    /// <summary>Returns the key of the query generator of a model.</summary>
    /// <remarks>
    /// In an attribute, the key of a model <c>Models.Compact</c> is <c>$"{StellaServiceKeys.Query}:{nameof(Models.Compact)}"</c>.
    /// </remarks>
    /// <param name="serviceKey">The key of the model, or <see langword="null"/> for the model without a key.</param>
    /// <returns><see cref="Query"/>, followed by a colon and the text of the key if there is a key.</returns>
    /// <exception cref="ArgumentException">The text of the key is blank or starts with <see cref="Query"/>.</exception>
    public static string GetQueryKey(object? serviceKey)
    {
        string name = GetOptionsName(serviceKey);
        return name.Length == 0 ? Query : $"{Query}:{name}";
    }

    /// <summary>
    /// Returns the name of the <see cref="StellaEmbeddingServiceOptions"/> of a model, for <c>services.Configure</c>: the text of
    /// its key, or the empty default name.
    /// </summary>
    /// <param name="serviceKey">The key of the model, or <see langword="null"/> for the model without a key.</param>
    /// <returns>The name of the options.</returns>
    /// <exception cref="ArgumentException">The text of the key is blank or starts with <see cref="Query"/>.</exception>
    public static string GetOptionsName(object? serviceKey)
    {
        if (serviceKey is null)
        {
            return "";
        }

        string? name = serviceKey.ToString();
        if (string.IsNullOrWhiteSpace(name))
        {
            throw new ArgumentException("The text of a model's key must not be blank. Use another key, or null.", nameof(serviceKey));
        }

        if (name.StartsWith(Query, StringComparison.Ordinal))
        {
            throw new ArgumentException(
                $"The model key '{name}' starts with '{Query}', which is reserved for the keys of query generators. Use another key.",
                nameof(serviceKey));
        }

        return name;
    }
}
