namespace StellaInterop;

/// <summary>The keys under which services are registered beside those without a key.</summary>
/// <remarks>
/// The generator of documents of a named model has the model's name as its key. No name begins with <see cref="Query"/>, so
/// that no two services have the same key.
/// </remarks>
public static class StellaServiceKeys
{
    /// <summary>The key of the query generator of the model without a name.</summary>
    public const string Query = "stella:query";

    /// <summary>Returns the key of the query generator of a named model.</summary>
    /// <param name="name">The name that the model was registered by.</param>
    /// <exception cref="ArgumentException">The name is blank, or begins with <see cref="Query"/>.</exception>
    public static string QueryOf(string name)
    {
        CheckName(name);
        return $"{Query}:{name}";
    }

    /// <summary>Refuses a name that is the key of another service, or could be taken for the model without a name.</summary>
    internal static void CheckName(string name)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(name);
        if (name.StartsWith(Query, StringComparison.Ordinal))
        {
            throw new ArgumentException(
                $"The model name '{name}' begins with '{Query}', which is reserved for the keys of query generators. Choose another name.",
                nameof(name));
        }
    }
}
