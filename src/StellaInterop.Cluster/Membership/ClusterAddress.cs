using System.Globalization;
using System.Text.RegularExpressions;

namespace StellaInterop.Cluster.Membership;

/// <summary>Represents the address of a cluster: the server that has its members, or localhost.</summary>
/// <param name="Store">The store at the address.</param>
internal sealed partial record ClusterAddress(IClusterStore Store)
{
    private const string Examples =
        "Give 'postgres://user:password@host:5432/database', 'redis://user:password@host:6379/0', or 'localhost' to try it on one machine.";

    private static readonly Dictionary<string, Func<Uri, IClusterStore>> Schemes = new(StringComparer.OrdinalIgnoreCase)
    {
        ["postgres"] = PostgresAddress.Parse,
        ["postgresql"] = PostgresAddress.Parse,
        ["redis"] = RedisAddress.Parse,
        ["rediss"] = RedisAddress.Parse,
    };

    /// <summary>Gets the address without its password.</summary>
    public string Shown => Store.Shown;

    /// <summary>Parses an address.</summary>
    /// <exception cref="ArgumentException">The address is not valid. The message says why, and gives examples.</exception>
    public static ClusterAddress Parse(string value)
    {
        try
        {
            return new ClusterAddress(ParseStore(value));
        }
        catch (FormatException e)
        {
            throw new ArgumentException(
                Printable.Line($"The cluster address '{WithoutSecrets(value)}' is not valid: {e.Message}. {Examples}"), e);
        }
    }

    public override string ToString() => Shown;

    /// <summary>Parses a port after whose number the number of a gateway fits.</summary>
    /// <exception cref="FormatException">It is not a port.</exception>
    internal static int ParsePort(string value) =>
        int.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out int port) && port is > 0 and < ushort.MaxValue
            ? port
            : throw new FormatException($"'{value}' is not a port from 1 to {ushort.MaxValue - 1}");

    /// <summary>Returns what is left of an address when everything is gone that may be a user, a password or the value of an option.</summary>
    private static string WithoutSecrets(string value)
    {
        int scheme = value.IndexOf("://", StringComparison.Ordinal);
        int host = value.LastIndexOf('@');
        int query = value.IndexOf('?', Math.Max(host, 0));
        return scheme < 0 && host < 0 && query < 0
            ? value
            : $"{(scheme < 0 ? "" : value[..(scheme + "://".Length)])}…{(host < 0 ? "" : value[host..(query < 0 ? value.Length : query)])}";
    }

    private static IClusterStore ParseStore(string value)
    {
        if (LocalhostPattern().Match(value) is { Success: true } local)
        {
            return new LocalhostStore(local.Groups["port"] is { Success: true } port ? ParsePort(port.Value) : SiloPorts.Default);
        }

        int end = value.IndexOf("://", StringComparison.Ordinal);
        if (end < 0 || !Schemes.TryGetValue(value[..end], out Func<Uri, IClusterStore>? parse))
        {
            throw new FormatException("it begins with none of postgres://, postgresql://, redis:// and rediss://, and is not localhost");
        }

        // The parser of the runtime takes a slash or a question mark in a password for the end of the host.
        return Uri.TryCreate(value, UriKind.Absolute, out Uri? uri)
            ? parse(uri)
            : throw new FormatException("it is not a URL. Write special characters of the user and the password with a percent sign, such as %2F for a slash");
    }

    [GeneratedRegex(@"\Alocalhost(:(?<port>.*))?\z", RegexOptions.IgnoreCase | RegexOptions.ExplicitCapture | RegexOptions.Singleline)]
    private static partial Regex LocalhostPattern();
}
