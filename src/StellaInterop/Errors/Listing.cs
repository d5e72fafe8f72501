namespace StellaInterop;

/// <summary>Lists in messages. A folder or a cache may hold thousands of names, and a message is read by a person.</summary>
internal static class Listing
{
    /// <summary>Names that a message shows.</summary>
    public const int MaxShown = 20;

    /// <summary>Returns the first names, and the number of the others.</summary>
    public static string Of<T>(IReadOnlyCollection<T> names, string separator = ", ")
    {
        string shown = string.Join(separator, names.Take(MaxShown));
        return names.Count <= MaxShown ? shown : $"{shown} and {names.Count - MaxShown} more";
    }
}
