using StellaInterop.Server.Errors;

namespace StellaInterop.Server.Keys;

/// <summary>The state of the limits of a key, for headers.</summary>
/// <param name="Limit">The limit.</param>
/// <param name="Remaining">The rest of it, not negative.</param>
/// <param name="Reset">The time until the whole limit is free again.</param>
internal readonly record struct BudgetState(long Limit, long Remaining, TimeSpan Reset);

/// <summary>
/// Counts the requests and the tokens of a key. The tokens are a bucket that fills evenly in a minute. A request is let in while the bucket is
/// not empty, and its tokens are taken when they are known, so the bucket may go below zero: the next requests wait for it. Thread-safe.
/// </summary>
internal sealed class KeyBudget(ApiKey key, TimeProvider clock)
{
    private static readonly TimeSpan Window = TimeSpan.FromMinutes(1);

    private readonly Lock gate = new();
    private double tokens = key.TokensPerMinute ?? 0;
    private long updated = clock.GetTimestamp();
    private int running;

    public ApiKey Key { get; private set; } = key;

    /// <summary>Gets the state of the tokens; <see langword="null"/> without a limit.</summary>
    public BudgetState? Tokens
    {
        get
        {
            lock (gate)
            {
                if (Key.TokensPerMinute is not { } limit)
                {
                    return null;
                }

                Refill(limit);
                return new BudgetState(limit, (long)Math.Max(0, tokens), Window * ((limit - tokens) / limit));
            }
        }
    }

    /// <summary>Gets the state of the requests; <see langword="null"/> without a limit. A request that ends frees its place at once.</summary>
    public BudgetState? Requests
    {
        get
        {
            lock (gate)
            {
                return Key.Concurrent is { } limit ? new BudgetState(limit, Math.Max(0, limit - running), TimeSpan.FromSeconds(running > 0 ? 1 : 0)) : null;
            }
        }
    }

    /// <summary>Lets a request in.</summary>
    /// <exception cref="ServerException">The key has used up one of its limits.</exception>
    public void Enter()
    {
        lock (gate)
        {
            if (Key.Concurrent is { } concurrent && running >= concurrent)
            {
                throw new ServerException(new ServerError(
                    ErrorKind.RateLimited, $"The key '{Key.Name}' has {running} requests at a time, its limit. Wait for one of them to end.")
                {
                    RetryAfter = TimeSpan.FromSeconds(1),
                });
            }

            if (Key.TokensPerMinute is { } limit)
            {
                Refill(limit);
                if (tokens <= 0)
                {
                    throw new ServerException(new ServerError(
                        ErrorKind.RateLimited, $"The key '{Key.Name}' has used its {limit} tokens per minute. Wait, or ask for a higher limit.")
                    {
                        RetryAfter = (Window * ((1 - tokens) / limit)) + TimeSpan.FromMilliseconds(1),
                    });
                }
            }

            running++;
        }
    }

    /// <summary>Ends a request.</summary>
    /// <param name="used">The tokens that it used.</param>
    public void Leave(long used)
    {
        lock (gate)
        {
            running--;
            if (Key.TokensPerMinute is { } limit)
            {
                Refill(limit);
                tokens -= used;
            }
        }
    }

    /// <summary>Takes the limits of a changed file, and keeps the counts.</summary>
    public void Change(ApiKey changed)
    {
        lock (gate)
        {
            if (changed.TokensPerMinute is { } limit)
            {
                tokens = Key.TokensPerMinute is null ? limit : Math.Min(tokens, limit);
            }

            Key = changed;
        }
    }

    private void Refill(int limit)
    {
        long now = clock.GetTimestamp();
        tokens = Math.Min(limit, tokens + (limit * (clock.GetElapsedTime(updated, now) / Window)));
        updated = now;
    }
}
