namespace StellaInterop;

/// <summary>The keys under which services are registered beside those without a key.</summary>
public static class StellaServiceKeys
{
    /// <summary>The generator of queries of the model that has no name.</summary>
    public const string Query = "stella:query";

    /// <summary>The generator of queries of a named model.</summary>
    /// <param name="name">The name that the model was registered by.</param>
    public static string QueryOf(string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        return name + ":query";
    }
}
