using System.Text.RegularExpressions;

namespace StellaInterop;

/// <summary>Reads paths from environment variables, and expands them like Python's <c>expandvars(expanduser(path))</c>.</summary>
internal static partial class EnvironmentPath
{
    /// <summary>The folder of the user, which <c>USERPROFILE</c> sets on Windows, and <c>HOME</c> elsewhere.</summary>
    public static string UserFolder => OperatingSystem.IsWindows() && Environment.GetEnvironmentVariable("USERPROFILE") is { Length: > 0 } folder
        ? folder
        : Environment.GetFolderPath(Environment.SpecialFolder.UserProfile);

    /// <summary>Returns the path in a variable.</summary>
    /// <returns><see langword="null"/> if the variable is not set or empty.</returns>
    public static string? Of(string variable) =>
        Environment.GetEnvironmentVariable(variable) is { Length: > 0 } path ? Expand(path) : null;

    private static string Expand(string path)
    {
        if (path is ['~'] or ['~', '/', ..] || path.StartsWith($"~{Path.DirectorySeparatorChar}", StringComparison.Ordinal))
        {
            path = UserFolder + path[1..];
        }

        // A reference to a variable that is not set stays unchanged.
        string expanded = Reference().Replace(
            path, found => Environment.GetEnvironmentVariable(found.Groups["name"].Value) ?? found.Value);
        return OperatingSystem.IsWindows() ? Environment.ExpandEnvironmentVariables(expanded) : expanded;
    }

    [GeneratedRegex(@"\$(\{(?<name>[^{}]*)\}|(?<name>[A-Za-z0-9_]+))", RegexOptions.ExplicitCapture)]
    private static partial Regex Reference();
}
