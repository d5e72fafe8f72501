using System.Security.Cryptography;
using System.Text;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using StellaInterop.Server.Errors;
using StellaInterop.Server.Telemetry;

namespace StellaInterop.Server.Keys;

/// <summary>Holds the keys of the server and knows the key of a request. Reads the file again after it has changed. Thread-safe.</summary>
internal sealed class KeyRing
{
    /// <summary>The shortest time between two looks at the file.</summary>
    private static readonly TimeSpan CheckInterval = TimeSpan.FromSeconds(1);

    private readonly string? path;
    private readonly TimeProvider clock;
    private readonly ILogger logger;
    private readonly Lock gate = new();
    private volatile Entry[] entries = [];
    private long checkedAt;
    private (DateTime Written, long Length) stamp;

    private sealed record Entry(byte[] Hash, KeyBudget Budget);

    /// <summary>Reads the file of the options.</summary>
    /// <exception cref="InvalidDataException">The file cannot be read, or is not a file of keys.</exception>
    public KeyRing(IOptions<StellaServerOptions> options, ILoggerFactory loggers, TimeProvider? clock = null)
    {
        path = options.Value.KeyFile is { Length: > 0 } file ? Path.GetFullPath(file) : null;
        this.clock = clock ?? TimeProvider.System;
        logger = loggers.CreateLogger("StellaInterop.Server");
        checkedAt = this.clock.GetTimestamp();
        if (path is not null)
        {
            stamp = GetStamp(path);
            Take(Load(path));
        }
    }

    /// <summary>Gets whether requests need a key.</summary>
    public bool IsEnabled => path is not null;

    /// <summary>Returns the budget of the key of a request; <see langword="null"/> if the server has no keys.</summary>
    /// <exception cref="ServerException">The request has no key, or a wrong one.</exception>
    public KeyBudget? Identify(HttpRequest request)
    {
        if (path is null)
        {
            return null;
        }

        ReloadIfChanged(path);
        string given = GetKey(request);
        if (given.Length == 0)
        {
            throw new ServerException(ErrorKind.InvalidKey, "The request has no API key. Send one in the header Authorization: Bearer KEY.");
        }

        byte[] hash = SHA256.HashData(Encoding.UTF8.GetBytes(given));
        KeyBudget? found = null;
        // All are compared, so that the time tells nothing about the keys.
        foreach (Entry entry in entries)
        {
            found = CryptographicOperations.FixedTimeEquals(entry.Hash, hash) ? entry.Budget : found;
        }

        return found ?? throw new ServerException(ErrorKind.InvalidKey, "The API key is not one of this server. Check the key, or ask the operator for one.");
    }

    /// <summary>Returns the key in a header: that of OpenAI, or that of Azure.</summary>
    private static string GetKey(HttpRequest request)
    {
        const string Scheme = "Bearer ";
        string authorization = request.Headers.Authorization.ToString();
        return authorization.StartsWith(Scheme, StringComparison.OrdinalIgnoreCase)
            ? authorization[Scheme.Length..].Trim()
            : request.Headers["api-key"].ToString();
    }

    private void ReloadIfChanged(string file)
    {
        lock (gate)
        {
            if (clock.GetElapsedTime(checkedAt) < CheckInterval)
            {
                return;
            }

            checkedAt = clock.GetTimestamp();
            (DateTime Written, long Length) current = GetStamp(file);
            if (current == stamp)
            {
                return;
            }

            // The stamp first: a broken file is reported once and not with each request.
            stamp = current;
            try
            {
                Take(Load(file));
                ServerLog.KeysReloaded(logger, entries.Length);
            }
            catch (InvalidDataException e)
            {
                ServerLog.KeysBroken(logger, Printable.Line(e.Message));
            }
        }
    }

    private void Take(IReadOnlyList<ApiKey> keys)
    {
        var known = entries.ToDictionary(entry => entry.Budget.Key.Name, entry => entry.Budget, StringComparer.Ordinal);
        entries =
        [
            .. keys.Select(key =>
            {
                if (known.TryGetValue(key.Name, out KeyBudget? budget))
                {
                    budget.Change(key);
                }

                return new Entry(Convert.FromHexString(key.Sha256), budget ?? new KeyBudget(key, clock));
            }),
        ];
    }

    private static IReadOnlyList<ApiKey> Load(string file)
    {
        try
        {
            return KeyFile.Load(file);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or InvalidDataException)
        {
            throw new InvalidDataException($"The file of keys '{Printable.Line(file)}' cannot be used. {e.Message}", e);
        }
    }

    private static (DateTime Written, long Length) GetStamp(string file)
    {
        var info = new FileInfo(file);
        return info.Exists ? (info.LastWriteTimeUtc, info.Length) : default;
    }
}
