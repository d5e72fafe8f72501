using System.Reflection;

namespace StellaInterop.Server.Options;

/// <summary>Provides the version of the server.</summary>
internal static class ServerVersion
{
    /// <summary>Gets the version of the package, without the commit.</summary>
    public static string Text { get; } = typeof(ServerVersion).Assembly
        .GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion.Split('+')[0] ?? "0";
}
