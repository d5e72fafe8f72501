using Npgsql;

namespace StellaInterop.Cluster.Membership;

/// <summary>Parses an address of PostgreSQL: <c>postgres://user:password@host:port/database?option=value</c>.</summary>
internal static class PostgresAddress
{
    /// <summary>The connections of a node, which makes few queries. A server has room for a hundred connections by default.</summary>
    private const int MaxConnections = 4;

    /// <summary>The options of libpq that Npgsql calls differently.</summary>
    private static readonly Dictionary<string, string> Options = new(StringComparer.OrdinalIgnoreCase)
    {
        ["application_name"] = "Application Name",
        ["connect_timeout"] = "Timeout",
        ["sslcert"] = "SSL Certificate",
        ["sslkey"] = "SSL Key",
        ["sslmode"] = "SSL Mode",
        ["sslpassword"] = "SSL Password",
        ["sslrootcert"] = "Root Certificate",
    };

    /// <exception cref="FormatException">The address lacks a part, or an option is not known.</exception>
    public static PostgresStore Parse(Uri address)
    {
        (string user, string password) = UrlParts.Credentials(address);
        string database = UrlParts.Path(address);
        if (address.Host.Length == 0 || database.Length == 0)
        {
            throw new FormatException(address.Host.Length == 0 ? "it names no host" : "it names no database");
        }

        var connection = new NpgsqlConnectionStringBuilder
        {
            Host = address.IdnHost.Trim('[', ']'),
            Database = database,
            ApplicationName = "stella",
            MaxPoolSize = MaxConnections,
        };
        if (address.Port >= 0)
        {
            connection.Port = address.Port;
        }

        // Without a user or a password, Npgsql looks into PGUSER, PGPASSWORD and .pgpass.
        if (user.Length > 0)
        {
            connection.Username = user;
        }

        if (password.Length > 0)
        {
            connection.Password = password;
        }

        foreach ((string name, string value) in UrlParts.Query(address))
        {
            Set(connection, name, value);
        }

        return new PostgresStore(connection);
    }

    private static void Set(NpgsqlConnectionStringBuilder connection, string name, string value)
    {
        string keyword = Options.GetValueOrDefault(name, name);
        try
        {
            // libpq writes verify-full; Npgsql writes VerifyFull.
            connection[keyword] = keyword == "SSL Mode" ? value.Replace("-", "", StringComparison.Ordinal) : value;
        }
        catch (Exception e) when (e is ArgumentException or FormatException or InvalidCastException or OverflowException or KeyNotFoundException)
        {
            throw new FormatException($"the option '{name}' is not known, or its value is not valid", e);
        }
    }
}
