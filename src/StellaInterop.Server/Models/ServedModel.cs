using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using StellaInterop.ModelFiles;

namespace StellaInterop.Server.Models;

/// <summary>Represents a model under the name that clients send. Thread-safe.</summary>
internal sealed class ServedModel(string name, string folder, StellaEmbeddingPool pool, StellaPoolOptions poolOptions)
{
    private readonly Lazy<Vocabulary> vocabulary = new(() => Vocabulary.Load(folder));
    private readonly Lazy<string> license = new(() => ModelLicense.Read(folder));

    /// <summary>Gets the name that clients send.</summary>
    public string Name { get; } = name;

    /// <summary>Gets the organization before the name; <c>stella</c> for a name without one.</summary>
    public string Owner { get; } = name.Split('/') is [var organization, ..] and not [_] ? organization : "stella";

    public StellaEmbeddingPool Pool { get; } = pool;

    /// <summary>Gets the options of the pool. They are not changed.</summary>
    public StellaPoolOptions PoolOptions { get; } = poolOptions;

    /// <summary>Gets a number that changes with the name and the files of the model: 64 hexadecimal digits.</summary>
    public string Digest { get; } = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(string.Join('\n', StellaModelFiles.GetFiles(folder)
        .Select(file => new FileInfo(Path.Combine(folder, file)))
        .Select(file => $"{file.Name} {file.Length} {file.LastWriteTimeUtc.Ticks}")
        .Prepend(name)))));

    /// <summary>Gets the time at which the files of the model were written.</summary>
    public DateTimeOffset Created { get; } = File.GetLastWriteTimeUtc(Path.Combine(folder, StellaModelFiles.ModulesFileName));

    /// <summary>Gets the size of the files of the model in bytes.</summary>
    public long SizeBytes { get; } = StellaModelFiles.GetFiles(folder).Sum(file => new FileInfo(Path.Combine(folder, file)).Length);

    /// <summary>Gets the text of each token. The first use reads a file of the model.</summary>
    public Vocabulary Vocabulary => vocabulary.Value;

    /// <summary>Gets the text or the name of the license; empty if the folder has neither. The first use reads a file of the model.</summary>
    public string License => license.Value;

    /// <summary>Gets the state of the model in words.</summary>
#pragma warning disable CA1308 // The words are lower case by contract.
    public string State => Pool.GetHealth().ModelState.ToString().ToLowerInvariant();
#pragma warning restore CA1308

    /// <summary>Returns the properties of the model, and loads it if it was never loaded.</summary>
    public async ValueTask<StellaModelInfo> GetInfoAsync(CancellationToken cancellationToken) =>
        Pool.Info ?? await Pool.WarmUpAsync(cancellationToken).ConfigureAwait(false);

    /// <summary>Returns the number of parameters as Ollama writes it, such as 434M.</summary>
    public static string FormatParameters(long count) => count switch
    {
        >= 1_000_000_000 => (count / 1e9).ToString("0.##", CultureInfo.InvariantCulture) + "B",
        >= 1_000_000 => (count / 1e6).ToString("0.##", CultureInfo.InvariantCulture) + "M",
        _ => count.ToString(CultureInfo.InvariantCulture),
    };
}
