using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using StellaInterop.Server.Errors;
using StellaInterop.Server.Telemetry;

namespace StellaInterop.Server.Keys;

/// <summary>Holds the keys of the server and their budgets, and knows the key of a request. Thread-safe.</summary>
internal sealed class KeyRing
{
    private readonly KeyLookup? lookup;
    private readonly TimeProvider clock;
    private volatile Dictionary<string, KeyBudget> budgets = new(StringComparer.Ordinal);

    /// <summary>Reads the file of the options.</summary>
    /// <exception cref="InvalidDataException">The file cannot be read, or is not a file of keys.</exception>
    public KeyRing(IOptions<StellaServerOptions> options, ILoggerFactory loggers, TimeProvider? clock = null)
    {
        this.clock = clock ?? TimeProvider.System;
        if (options.Value.KeyFile is { Length: > 0 } file)
        {
            ILogger logger = loggers.CreateLogger("StellaInterop.Server");
            lookup = new KeyLookup(file, this.clock)
            {
                Changing = keys =>
                {
                    Take(keys);
                    ServerLog.KeysReloaded(logger, keys.Count);
                },
                Broken = error => ServerLog.KeysBroken(logger, Printable.Line(error.Message)),
            };
            Take(lookup.Keys);
        }
    }

    /// <summary>Gets whether requests need a key.</summary>
    public bool IsEnabled => lookup is not null;

    /// <summary>Returns the budget of the key of a request; <see langword="null"/> if the server has no keys.</summary>
    /// <exception cref="ServerException">The request has no key, or a wrong one.</exception>
    public KeyBudget? Identify(HttpRequest request)
    {
        if (lookup is null)
        {
            return null;
        }

        string given = RequestKey.Of(request);
        if (given.Length == 0)
        {
            throw new ServerException(ErrorKind.InvalidKey, "The request has no API key. Send one in the header Authorization: Bearer KEY.");
        }

        return lookup.Find(given) is { } key && budgets.TryGetValue(key.Name, out KeyBudget? budget)
            ? budget
            : throw new ServerException(ErrorKind.InvalidKey, "The API key is not one of this server. Check the key, or ask the operator for one.");
    }

    private void Take(IReadOnlyList<ApiKey> keys)
    {
        var changed = new Dictionary<string, KeyBudget>(StringComparer.Ordinal);
        foreach (ApiKey key in keys)
        {
            if (budgets.TryGetValue(key.Name, out KeyBudget? budget))
            {
                budget.Change(key);
            }

            changed.Add(key.Name, budget ?? new KeyBudget(key, clock));
        }

        budgets = changed;
    }
}
