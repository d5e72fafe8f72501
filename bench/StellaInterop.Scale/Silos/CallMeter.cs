using System.Collections.Concurrent;
using System.Diagnostics;
using System.Diagnostics.Metrics;
using StellaInterop.Cluster.Jobs;

namespace StellaInterop.Scale.Silos;

/// <summary>Represents the calls of grains and the bytes between silos since the start.</summary>
/// <param name="Calls">The calls by the name of their method.</param>
/// <param name="FailedCalls">The calls of workers at work that had an error.</param>
/// <param name="Messages">The messages between silos, those of Orleans itself included.</param>
/// <param name="Bytes">Their bytes, headers included.</param>
internal sealed record CallCounts(IReadOnlyDictionary<string, long> Calls, long FailedCalls, long Messages, long Bytes)
{
    public static CallCounts operator -(CallCounts after, CallCounts before) => new(
        after.Calls.ToDictionary(call => call.Key, call => call.Value - before.Calls.GetValueOrDefault(call.Key), StringComparer.Ordinal),
        after.FailedCalls - before.FailedCalls,
        after.Messages - before.Messages,
        after.Bytes - before.Bytes);
}

/// <summary>Counts the calls that the silos send, and stops those of lost workers. Thread-safe.</summary>
internal sealed class CallMeter : IOutgoingGrainCallFilter, IDisposable
{
    private const string OrleansMeter = "Microsoft.Orleans";
    private const string SentMessages = "orleans-messaging-sent-messages-size";

    private readonly ConcurrentDictionary<string, long> calls = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, bool> lost = new(StringComparer.Ordinal);
    private readonly MeterListener listener = new();
    private long failed;
    private long messages;
    private long bytes;
    private long lastFreshLease;
    private long lastDone;

    public CallMeter()
    {
        listener.InstrumentPublished = static (instrument, listener) =>
        {
            if (instrument.Meter.Name == OrleansMeter && instrument.Name == SentMessages)
            {
                listener.EnableMeasurementEvents(instrument);
            }
        };
        listener.SetMeasurementEventCallback<int>((_, size, _, _) =>
        {
            Interlocked.Increment(ref messages);
            Interlocked.Add(ref bytes, size);
        });
        listener.Start();
    }

    /// <summary>Gets when a worker last got a chunk that nobody had before, as a timestamp.</summary>
    public long LastFreshLease => Interlocked.Read(ref lastFreshLease);

    /// <summary>Gets when a worker last reported a part, as a timestamp.</summary>
    public long LastDone => Interlocked.Read(ref lastDone);

    public CallCounts Read() => new(
        calls.ToDictionary(StringComparer.Ordinal), Interlocked.Read(ref failed), Interlocked.Read(ref messages), Interlocked.Read(ref bytes));

    /// <summary>Stops all calls of a node from now on.</summary>
    /// <param name="node">The id of the node.</param>
    public void Lose(string node) => lost[node] = true;

    public async Task Invoke(IOutgoingGrainCallContext context)
    {
        string? node = NodeOf(context);
        ThrowIfLost(node);
        if (context.InterfaceMethod.DeclaringType is { } type && (type == typeof(IJobGrain) || type == typeof(IDirectoryGrain)))
        {
            calls.AddOrUpdate(context.MethodName, 1, static (_, count) => count + 1);
        }

        try
        {
            await context.Invoke().ConfigureAwait(true);
        }
        catch when (node is not null)
        {
            Interlocked.Increment(ref failed);
            throw;
        }

        // An answer that is under way when a worker is lost does not arrive, but what the coordinator gave is given.
        if (context.Result is JobAnswer { Lease.Epoch: 1 })
        {
            Interlocked.Exchange(ref lastFreshLease, Stopwatch.GetTimestamp());
        }

        ThrowIfLost(node);
    }

    public void Dispose() => listener.Dispose();

    private void ThrowIfLost(string? node)
    {
        if (node is not null && lost.ContainsKey(node))
        {
            throw new OperationCanceledException($"The worker {node} is lost.");
        }
    }

    /// <summary>Returns the node that calls; <see langword="null"/> for a call between grains.</summary>
    private string? NodeOf(IOutgoingGrainCallContext context)
    {
        if (context.Request.GetArgumentCount() == 0)
        {
            return null;
        }

        switch (context.Request.GetArgument(0))
        {
            case NodeInfo info:
                return info.Id;
            case NodeReport report:
                if (report.Done.Count > 0)
                {
                    Interlocked.Exchange(ref lastDone, Stopwatch.GetTimestamp());
                }

                return report.Node;
            default:
                return null;
        }
    }
}
