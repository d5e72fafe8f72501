namespace StellaInterop.Cluster.Membership;

/// <summary>Reads the parts of a URL, without percent encoding.</summary>
internal static class UrlParts
{
    /// <returns>The user and the password; an empty string for a part that is missing.</returns>
    public static (string User, string Password) Credentials(Uri url)
    {
        string[] parts = url.UserInfo.Split(':', 2);
        return (Uri.UnescapeDataString(parts[0]), parts.Length > 1 ? Uri.UnescapeDataString(parts[1]) : "");
    }

    /// <returns>The path without its first slash.</returns>
    public static string Path(Uri url) => Uri.UnescapeDataString(url.AbsolutePath.TrimStart('/'));

    /// <exception cref="FormatException">An option has no value.</exception>
    public static IEnumerable<(string Name, string Value)> Query(Uri url)
    {
        foreach (string option in url.Query.TrimStart('?').Split('&', StringSplitOptions.RemoveEmptyEntries))
        {
            string[] parts = option.Split('=', 2);
            yield return parts.Length == 2
                ? (Uri.UnescapeDataString(parts[0]), Uri.UnescapeDataString(parts[1]))
                : throw new FormatException($"the option '{Uri.UnescapeDataString(option)}' has no value");
        }
    }
}
