namespace StellaInterop.Cluster.Membership;

/// <summary>Locates the folder of the user for files that outlive a process.</summary>
internal static class StateFolder
{
    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;

    /// <summary>Gets the path of the folder: <c>stella</c> in <c>XDG_STATE_HOME</c>, <c>~/.local/state</c>, or the local application data of Windows.</summary>
    public static string Path => System.IO.Path.Combine(Base, "stella");

    // A relative path in the variable is ignored, as the specification of the variable says.
    private static string Base =>
        Environment.GetEnvironmentVariable("XDG_STATE_HOME") is { Length: > 0 } folder && System.IO.Path.IsPathFullyQualified(folder) ? folder
        : OperatingSystem.IsWindows() ? Environment.GetFolderPath(Environment.SpecialFolder.LocalApplicationData)
        : System.IO.Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".local", "state");

    /// <summary>Creates a folder, for its owner alone, unless it is there.</summary>
    public static void Create(string folder)
    {
        if (OperatingSystem.IsWindows())
        {
            Directory.CreateDirectory(folder);
        }
        else
        {
            Directory.CreateDirectory(folder, OwnerOnly);
        }
    }
}
