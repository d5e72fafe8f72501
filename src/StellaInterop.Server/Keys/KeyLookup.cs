using System.Security.Cryptography;
using System.Text;

namespace StellaInterop.Server.Keys;

/// <summary>Finds the keys of a file by their secrets. Reads the file again after it has changed. Thread-safe.</summary>
internal sealed class KeyLookup
{
    /// <summary>The shortest time between two looks at the file.</summary>
    private static readonly TimeSpan CheckInterval = TimeSpan.FromSeconds(1);

    private readonly string path;
    private readonly TimeProvider clock;
    private readonly Lock gate = new();
    private volatile Entry[] entries;
    private long checkedAt;
    private (DateTime Written, long Length) stamp;

    private sealed record Entry(byte[] Hash, ApiKey Key);

    /// <summary>Reads a file.</summary>
    /// <param name="file">The file with the hashes of the keys.</param>
    /// <param name="clock">The clock.</param>
    /// <exception cref="InvalidDataException">The file cannot be read, or is not a file of keys.</exception>
    public KeyLookup(string file, TimeProvider clock)
    {
        path = Path.GetFullPath(file);
        this.clock = clock;
        checkedAt = clock.GetTimestamp();
        stamp = GetStamp(path);
        entries = Load(path);
    }

    /// <summary>Gets the keys.</summary>
    public IReadOnlyList<ApiKey> Keys => [.. entries.Select(entry => entry.Key)];

    /// <summary>Gets the function that receives the keys of a changed file, before they are found.</summary>
    public Action<IReadOnlyList<ApiKey>>? Changing { get; init; }

    /// <summary>Gets the function that receives the error of a changed file. The keys stay as they were.</summary>
    public Action<InvalidDataException>? Broken { get; init; }

    /// <summary>Finds the key of a request.</summary>
    /// <param name="secret">The key as the client sent it.</param>
    public ApiKey? Find(string secret)
    {
        ReloadIfChanged();
        byte[] hash = SHA256.HashData(Encoding.UTF8.GetBytes(secret));
        ApiKey? found = null;
        // All are compared, so that the time tells nothing about the keys.
        foreach (Entry entry in entries)
        {
            found = CryptographicOperations.FixedTimeEquals(entry.Hash, hash) ? entry.Key : found;
        }

        return found;
    }

    private void ReloadIfChanged()
    {
        lock (gate)
        {
            if (clock.GetElapsedTime(checkedAt) < CheckInterval)
            {
                return;
            }

            checkedAt = clock.GetTimestamp();
            (DateTime Written, long Length) current = GetStamp(path);
            if (current == stamp)
            {
                return;
            }

            // The stamp first: a broken file is reported once and not with each request.
            stamp = current;
            try
            {
                Entry[] changed = Load(path);
                Changing?.Invoke([.. changed.Select(entry => entry.Key)]);
                entries = changed;
            }
            catch (InvalidDataException e)
            {
                Broken?.Invoke(e);
            }
        }
    }

    private static Entry[] Load(string file)
    {
        try
        {
            return [.. KeyFile.Load(file).Select(key => new Entry(Convert.FromHexString(key.Sha256), key))];
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
