namespace StellaInterop;

/// <summary>Shortens lists in messages. A folder or a cache may have thousands of names.</summary>
internal static class Listing
{
    /// <summary>The largest number of names that a message shows.</summary>
    public const int MaxShown = 20;

    /// <summary>Returns the first names and the number of the other names.</summary>
    public static string Of<T>(IReadOnlyCollection<T> names, string separator = ", ")
    {
        string shown = string.Join(separator, names.Take(MaxShown));
        return names.Count <= MaxShown ? shown : $"{shown} and {names.Count - MaxShown} more";
    }
}
