using System.Buffers;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

namespace StellaInterop.Server.Keys;

/// <summary>Reads and writes the file with the hashes of the keys.</summary>
/// <remarks>
/// A key has 256 random bits, so one SHA-256 protects it: a slow hash is for passwords that can be guessed.
/// </remarks>
internal static class KeyFile
{
    /// <summary>The beginning of every key, so that people and scanners recognize one.</summary>
    public const string KeyPrefix = "sk-stella-";

    private const int KeyBytes = 32;
    private const int HashLength = 64;
    private const string Bulk = "bulk";

    /// <summary>Makes a key.</summary>
    public static string CreateKey() => KeyPrefix + Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(KeyBytes));

    /// <summary>Returns the stored form of a key.</summary>
    public static string Hash(string key) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(key)));

    /// <summary>Reads the keys of a file.</summary>
    /// <exception cref="IOException">The file cannot be read.</exception>
    /// <exception cref="UnauthorizedAccessException">The file must not be read.</exception>
    /// <exception cref="InvalidDataException">The file is not a file of keys. The message names the fault.</exception>
    public static IReadOnlyList<ApiKey> Load(string path)
    {
        try
        {
            using var json = JsonDocument.Parse(File.ReadAllBytes(path));
            ApiKey[] keys = [.. json.RootElement.GetProperty("keys").EnumerateArray().Select(Read)];
            return keys.Length == keys.Select(key => key.Name).Distinct().Count()
                ? keys
                : throw new InvalidDataException("Two keys have the same name.");
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or KeyNotFoundException or FormatException)
        {
            throw new InvalidDataException($"The file is not a list of keys: {e.Message}", e);
        }
    }

    /// <summary>Writes the keys, so that a reader sees the old file or the new one. Only the owner may read the file.</summary>
    public static void Save(string path, IEnumerable<ApiKey> keys)
    {
        var buffer = new ArrayBufferWriter<byte>();
        using (var json = new Utf8JsonWriter(buffer, new JsonWriterOptions { Indented = true }))
        {
            json.WriteStartObject();
            json.WriteStartArray("keys");
            foreach (ApiKey key in keys)
            {
                Write(json, key);
            }

            json.WriteEndArray();
            json.WriteEndObject();
        }

        string temporary = $"{path}.{Guid.NewGuid():N}.tmp";
        var options = new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write };
        if (!OperatingSystem.IsWindows())
        {
            options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        }

        using (var file = new FileStream(temporary, options))
        {
            file.Write(buffer.WrittenSpan);
            file.Flush(flushToDisk: true);
        }

        File.Move(temporary, path, overwrite: true);
    }

    private static ApiKey Read(JsonElement json)
    {
        string name = json.GetProperty("name").GetString() ?? "";
        string hash = json.GetProperty("sha256").GetString() ?? "";
        string? priority = json.TryGetProperty("priority", out JsonElement value) ? value.GetString() : null;
        return name.Length == 0 ? throw new FormatException("A key has no name.")
            : hash.Length != HashLength || !hash.All(char.IsAsciiHexDigitLower) ? throw new FormatException($"The hash of '{name}' is not 64 hexadecimal digits in lower case.")
            : priority is not (null or Bulk) ? throw new FormatException($"The priority of '{name}' is '{priority}'; it must be {Bulk} or missing.")
            : new ApiKey
            {
                Name = name,
                Sha256 = hash,
                TokensPerMinute = ReadLimit(json, "tokens_per_minute"),
                Concurrent = ReadLimit(json, "concurrent"),
                Priority = priority is null ? null : StellaPriority.Bulk,
            };
    }

    private static int? ReadLimit(JsonElement json, string name) =>
        !json.TryGetProperty(name, out JsonElement limit) ? null
            : limit.GetInt32() is > 0 and var number ? number
            : throw new FormatException($"{name} must be 1 or more.");

    private static void Write(Utf8JsonWriter json, ApiKey key)
    {
        json.WriteStartObject();
        json.WriteString("name", key.Name);
        json.WriteString("sha256", key.Sha256);
        if (key.TokensPerMinute is { } tokens)
        {
            json.WriteNumber("tokens_per_minute", tokens);
        }

        if (key.Concurrent is { } concurrent)
        {
            json.WriteNumber("concurrent", concurrent);
        }

        if (key.Priority == StellaPriority.Bulk)
        {
            json.WriteString("priority", Bulk);
        }

        json.WriteEndObject();
    }
}
