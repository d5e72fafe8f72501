using System.Globalization;
using StackExchange.Redis;

namespace StellaInterop.Cluster.Membership;

/// <summary>Parses an address of Redis: <c>redis://user:password@host:port/database</c>, or <c>rediss://</c> with TLS.</summary>
internal static class RedisAddress
{
    private const int DefaultPort = 6379;

    /// <exception cref="FormatException">The address lacks its host, or has a part that is not known.</exception>
    public static RedisStore Parse(Uri address)
    {
        (string user, string password) = UrlParts.Credentials(address);
        string database = UrlParts.Path(address);
        int number = 0;
        if (address.Host.Length == 0)
        {
            throw new FormatException("it names no host");
        }

        if (database.Length > 0 && !int.TryParse(database, NumberStyles.None, CultureInfo.InvariantCulture, out number))
        {
            throw new FormatException($"'{database}' is not the number of a database");
        }

        if (UrlParts.Query(address).FirstOrDefault() is (string option, _))
        {
            throw new FormatException($"the option '{option}' is not known");
        }

        var connection = new ConfigurationOptions
        {
            User = user.Length > 0 ? user : null,
            Password = password.Length > 0 ? password : null,
            DefaultDatabase = number,
            Ssl = address.Scheme == "rediss",
            ClientName = "stella",
        };
        connection.EndPoints.Add(address.IdnHost.Trim('[', ']'), address.Port >= 0 ? address.Port : DefaultPort);
        return new RedisStore(connection);
    }
}
