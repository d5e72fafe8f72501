using StellaInterop.Memory;
using StellaInterop.Threading;

namespace StellaInterop.Serving;

/// <summary>A loaded model and its workers. The last worker that ends frees the model.</summary>
internal sealed record LoadedModel(IPoolModel Model, WorkerGroup Workers, MemoryReservation Reservation)
{
    /// <summary>The fingerprints that were read, by dimension, 0 for the default one. Used under the lock of their reader.</summary>
    public Dictionary<int, string> Fingerprints { get; } = [];
}

/// <summary>The use of the model by one call: until it is disposed, the model is not unloaded. Only its call waits for it.</summary>
internal sealed class ModelUse(ModelLifetime lifetime, ModelLoad load) : IDisposable
{
    private readonly Signal<LoadedModel?> loaded = new();

    public ModelLoad Load { get; } = load;

    /// <summary>Waits for the model. Fails by the error of a load that failed.</summary>
    /// <returns>The model; <see langword="null"/> if the use was disposed before the end of the load.</returns>
    public Task<LoadedModel?> LoadedAsync() => loaded.WaitAsync();

    public void Set(LoadedModel? model) => loaded.Set(model);

    public void Fail(Exception error) => loaded.Fail(error);

    /// <summary>Ends the use. Runs no code of the caller.</summary>
    public void Dispose() => lifetime.End(this);
}

/// <summary>One load of a model and its result. Changed under the lock of <see cref="ModelLifetime"/>.</summary>
/// <param name="since">The time at which it began, by the pool's clock.</param>
internal sealed class ModelLoad(long since)
{
    public long Since { get; } = since;

    /// <summary>The thread of the load.</summary>
    public required PoolThread Thread { get; init; }

    /// <summary>The uses that wait for the model.</summary>
    public HashSet<ModelUse> Waiting { get; } = [];

    /// <summary>The model, from the end of a successful load on.</summary>
    public LoadedModel? Model { get; set; }

    /// <summary>Set when the load has succeeded or failed.</summary>
    public Signal Ended { get; } = new();
}
