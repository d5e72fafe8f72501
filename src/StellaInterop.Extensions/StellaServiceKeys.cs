namespace StellaInterop;

/// <summary>Provides the service keys of the generators of queries.</summary>
/// <remarks>
/// The generator of documents of a model has the model's own key, or none. Keys of models must not begin with <see cref="Query"/>, so that
/// no two services have the same key.
/// </remarks>
public static class StellaServiceKeys
{
    /// <summary>The key of the generator of queries of the model without a key.</summary>
    public const string Query = "stella:query";

    /// <summary>Returns the key of the generator of queries of a model.</summary>
    /// <param name="serviceKey">The key of the model; <see langword="null"/> for the model without one.</param>
    /// <returns><see cref="Query"/>, followed by a colon and the text of the key if there is one.</returns>
    /// <exception cref="ArgumentException">The text of the key is blank or begins with <see cref="Query"/>.</exception>
    public static string GetQueryKey(object? serviceKey)
    {
        string name = GetOptionsName(serviceKey);
        return name.Length == 0 ? Query : $"{Query}:{name}";
    }

    /// <summary>Returns the name of the options of a model: the text of its key, or the empty default name.</summary>
    /// <exception cref="ArgumentException">The text of the key is blank or begins with <see cref="Query"/>.</exception>
    internal static string GetOptionsName(object? serviceKey)
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
                $"The model key '{name}' begins with '{Query}', which is reserved for the keys of query generators. Use another key.",
                nameof(serviceKey));
        }

        return name;
    }
}
