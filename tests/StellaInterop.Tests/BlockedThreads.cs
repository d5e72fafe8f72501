using StellaInterop.Tests.Serving;

namespace StellaInterop.Tests;

/// <summary>
/// A program with the smallest thread pool. Its callers block every thread while they wait for vectors, a load, a fingerprint, a stream,
/// and the end of a pool.
/// </summary>
internal static class BlockedThreads
{
    /// <summary>Runs this. Argument: the folder of a model.</summary>
    public const string Command = "blocked-threads";

    /// <summary>A vector was not the right one.</summary>
    public const int Wrong = 11;

    /// <summary>Callers for each thread of the thread pool.</summary>
    private const int CallersPerThread = 8;

    /// <summary>Writes how many callers were answered.</summary>
    public static int Run(string folder)
    {
        int threads = Environment.ProcessorCount;
        if (!ThreadPool.SetMinThreads(threads, threads) || !ThreadPool.SetMaxThreads(threads, threads))
        {
            return Wrong;
        }

        float[] expected;
        using (var model = StellaModel.Load(folder))
        {
            expected = model.Embed("river");
        }

        int answered = 0;
        foreach (bool idle in new[] { true, false })
        {
            // The first callers wait for the load too.
            var pool = new StellaEmbeddingPool(folder, new StellaPoolOptions { MinWorkers = idle ? 0 : 1 });
            Task<bool>[] callers =
            [
                .. Enumerable.Range(0, threads * CallersPerThread).Select(i => Task.Run(() => Ask(pool, i, expected))),
            ];
            Task.WaitAll(callers);
            if (!callers.All(caller => caller.Result))
            {
                return Wrong;
            }

            answered += callers.Length;
            Task[] ends = [.. Enumerable.Range(0, threads).Select(i => Task.Run(() => End(pool, i)))];
            Task.WaitAll(ends);
        }

        Console.WriteLine(answered);
        return 0;
    }

#pragma warning disable CA2012 // To wait like this is what the program is for.
    private static bool Ask(StellaEmbeddingPool pool, int caller, float[] expected)
    {
        float[] vector = (caller % 4) switch
        {
            0 => pool.EmbedAsync("river").GetAwaiter().GetResult(),
            1 => pool.EmbedAsync(Enumerable.Repeat("stone", 100).Prepend("river").ToArray()).Result[0].ToArray(),
            2 => First(pool),
            _ => pool.GetFingerprintAsync().GetAwaiter().GetResult().Length == 64 ? expected : [],
        };
        return vector.AsSpan().SequenceEqual(expected);
    }

    private static float[] First(StellaEmbeddingPool pool)
    {
        IAsyncEnumerator<StellaTextEmbedding> stream = pool.EmbedStreamAsync(AsyncEnumerable.ToAsyncEnumerable(["river", "stone"])).GetAsyncEnumerator();
        _ = stream.MoveNextAsync().AsTask().GetAwaiter().GetResult();
        float[] vector = stream.Current.Vector.ToArray();
        stream.DisposeAsync().AsTask().GetAwaiter().GetResult();
        return vector;
    }

    private static void End(StellaEmbeddingPool pool, int caller)
    {
        if (caller == 0)
        {
            pool.Dispose();
        }
        else
        {
            pool.DisposeAsync().AsTask().GetAwaiter().GetResult();
        }
    }
#pragma warning restore CA2012
}
