using System.Diagnostics.Metrics;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using StellaInterop.ModelFiles;
using StellaInterop.Server.Errors;

namespace StellaInterop.Server.Models;

/// <summary>Holds the models of the server by name, under one memory budget. Thread-safe.</summary>
internal sealed class ModelRegistry : IAsyncDisposable
{
    /// <summary>The tag that clients of Ollama append to a name without a tag.</summary>
    public const string DefaultTag = ":latest";

    private readonly Dictionary<string, ServedModel> byName;

    /// <summary>Finds the folders of the models. Loads nothing.</summary>
    /// <exception cref="StellaModelFolderException">A folder is missing, or the cache has no such model.</exception>
    public ModelRegistry(
        IOptions<StellaServerOptions> options, ILoggerFactory loggers, IMeterFactory meters, TimeProvider? clock = null)
    {
        StellaServerOptions server = options.Value;
        DrainTimeout = server.DrainTimeout;
        Governor = new StellaMemoryGovernor(new StellaMemoryGovernorOptions
        {
            LimitBytes = server.MemoryLimitBytes,
            TimeProvider = clock ?? TimeProvider.System,
        });
        var models = new List<ServedModel>();
        try
        {
            foreach (StellaServedModelOptions model in server.Models)
            {
                models.Add(Create(model, Governor, loggers, meters, clock ?? TimeProvider.System));
            }
        }
        catch
        {
            models.ForEach(model => model.Pool.Dispose());
            throw;
        }

        All = models;
        byName = models.ToDictionary(model => model.Name, StringComparer.Ordinal);
    }

    /// <summary>Gets the models in the order of the options. The first is the default.</summary>
    public IReadOnlyList<ServedModel> All { get; }

    public ServedModel Default => All[0];

    public StellaMemoryGovernor Governor { get; }

    /// <summary>Gets how long a stop waits for accepted calls.</summary>
    public TimeSpan DrainTimeout { get; }

    /// <summary>Returns a model by the name that a client sent; the default model if it sent none.</summary>
    /// <exception cref="ServerException">There is no model of that name.</exception>
    public ServedModel Get(string? name)
    {
        if (string.IsNullOrEmpty(name))
        {
            return Default;
        }

        if (byName.TryGetValue(name, out ServedModel? model)
            || (name.EndsWith(DefaultTag, StringComparison.Ordinal) && byName.TryGetValue(name[..^DefaultTag.Length], out model)))
        {
            return model;
        }

        throw new ServerException(
            ErrorKind.UnknownModel,
            $"The model '{Shorten(name)}' does not exist. This server has {string.Join(", ", All.Select(each => each.Name))}.",
            "model");
    }

    /// <summary>Stops taking calls, and answers the accepted ones within <see cref="DrainTimeout"/>.</summary>
    public Task DrainAsync() => Task.WhenAll(All.Select(model => model.Pool.DrainAsync(DrainTimeout)));

    public async ValueTask DisposeAsync()
    {
        foreach (ServedModel model in All)
        {
            await model.Pool.DisposeAsync().ConfigureAwait(false);
        }
    }

    private static ServedModel Create(
        StellaServedModelOptions options, StellaMemoryGovernor governor, ILoggerFactory loggers, IMeterFactory meters, TimeProvider clock)
    {
        string name = options.Name ?? options.Path;
        string folder = Directory.Exists(options.Path) || !HuggingFaceCache.IsModelName(options.Path)
            ? options.Path
            : HuggingFaceCache.FromEnvironment().GetModelFolder(options.Path, options.Revision ?? HuggingFaceCache.DefaultRevision);
        StellaModelOptions model = options.Model with { Name = name, LoggerFactory = options.Model.LoggerFactory ?? loggers };
        StellaPoolOptions pool = options.Pool with
        {
            Governor = governor,
            TimeProvider = clock,
            MeterFactory = options.Pool.MeterFactory ?? meters,
            LoggerFactory = options.Pool.LoggerFactory ?? loggers,
        };

        // Reads headers and settings, so that a model that cannot be loaded ends the start and not the first request.
        _ = StellaEmbeddingPool.EstimateMemory(folder, model, pool);
#pragma warning disable CA2000 // The registry disposes the pools.
        return new ServedModel(name, folder, new StellaEmbeddingPool(folder, model, pool), pool);
#pragma warning restore CA2000
    }

    private static string Shorten(string name) => Printable.Line(name.Length > 100 ? name[..100] + "…" : name);
}
