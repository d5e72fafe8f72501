using StellaInterop.Threading;

namespace StellaInterop;

/// <summary>Loads a model on a dedicated thread, because a load takes seconds and the thread pool has few threads.</summary>
internal static class ModelLoading
{
    /// <exception cref="StellaThreadException">The system refused the thread.</exception>
    public static async Task<StellaModel> RunAsync(Func<StellaModel> load, CancellationToken cancellationToken)
    {
        var loaded = new Signal<StellaModel>();
        var thread = new PoolThread("stella load", () => Load(load, loaded), loaded.Fail);
        thread.Start(static thread => thread.UnsafeStart());
        using CancellationTokenRegistration registration = cancellationToken.UnsafeRegister(
            static (state, token) => ((Signal<StellaModel>)state!).Fail(new OperationCanceledException(token)), loaded);
        return await loaded.WaitAsync().ConfigureAwait(false);
    }

    private static void Load(Func<StellaModel> load, Signal<StellaModel> loaded)
    {
        StellaModel model = load();
        if (!loaded.TrySet(model))
        {
            // The wait was cancelled, so no caller takes the model.
            model.Dispose();
        }
    }
}
