using StellaInterop.Tests.Serving;

namespace StellaInterop.Tests;

/// <summary>
/// A program with the smallest possible thread pool. Its callers block every thread while they wait for vectors, a load, a fingerprint,
/// a stream and the disposal of a pool.
/// </summary>
internal static class BlockedThreadProgram
{
    /// <summary>The command that runs this program. Its argument is the folder of a model.</summary>
    public const string Command = "blocked-threads";

    /// <summary>The exit code for a wrong vector.</summary>
    public const int Wrong = 11;

    /// <summary>The number of callers for each thread of the thread pool.</summary>
    private const int CallersPerThread = 8;

    /// <summary>Runs the callers and prints the number of answered ones.</summary>
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
            // With no worker at the start, the first callers also wait for the load.
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
            Task[] ends = [.. Enumerable.Range(0, threads).Select(i => Task.Run(() => Dispose(pool, i)))];
            Task.WaitAll(ends);
        }

        Console.WriteLine(answered);
        return 0;
    }

#pragma warning disable CA2012 // This program tests blocking on the results.
    private static bool Ask(StellaEmbeddingPool pool, int caller, float[] expected)
    {
        float[] vector = (caller % 4) switch
        {
            0 => pool.EmbedAsync("river").GetAwaiter().GetResult(),
            1 => pool.EmbedAsync(Enumerable.Repeat("stone", 100).Prepend("river").ToArray()).Result[0].ToArray(),
            2 => FirstOfStream(pool),
            _ => pool.GetFingerprintAsync().GetAwaiter().GetResult().Length == 64 ? expected : [],
        };
        return vector.AsSpan().SequenceEqual(expected);
    }

    private static float[] FirstOfStream(StellaEmbeddingPool pool)
    {
        IAsyncEnumerator<StellaTextEmbedding> stream = pool.EmbedStreamAsync(AsyncEnumerable.ToAsyncEnumerable(["river", "stone"])).GetAsyncEnumerator();
        _ = stream.MoveNextAsync().AsTask().GetAwaiter().GetResult();
        float[] vector = stream.Current.Vector.ToArray();
        stream.DisposeAsync().AsTask().GetAwaiter().GetResult();
        return vector;
    }

    private static void Dispose(StellaEmbeddingPool pool, int caller)
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
