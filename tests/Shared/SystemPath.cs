namespace StellaInterop.Tests;

/// <summary>Paths in the form of this system.</summary>
internal static class SystemPath
{
    /// <summary>Replaces each <c>/</c> by the separator of this system.</summary>
    public static string Of(string path) => path.Replace('/', Path.DirectorySeparatorChar);
}
