using System.Collections.Concurrent;
using System.Diagnostics;
using System.Diagnostics.Metrics;
using StellaInterop.Cluster.Jobs;

namespace StellaInterop.Scale.Silos;

/// <summary>Represents the number of calls of a method.</summary>
/// <param name="All">All calls.</param>
/// <param name="Remote">The calls from one silo to another. Only these are messages between silos.</param>
internal readonly record struct MethodCalls(long All, long Remote)
{
    public static MethodCalls operator -(MethodCalls after, MethodCalls before) => new(after.All - before.All, after.Remote - before.Remote);
}

/// <summary>Represents the calls of grains and the bytes between silos since the start.</summary>
/// <param name="Methods">The calls by the name of their method.</param>
/// <param name="FailedCalls">The calls of workers at work that had an error.</param>
/// <param name="Messages">The messages between silos, those of Orleans itself included.</param>
/// <param name="Bytes">Their bytes, headers included.</param>
internal sealed record CallCounts(IReadOnlyDictionary<string, MethodCalls> Methods, long FailedCalls, long Messages, long Bytes)
{
    /// <summary>Gets the calls from one silo to another.</summary>
    public long RemoteCalls => Methods.Values.Sum(method => method.Remote);

    public static CallCounts operator -(CallCounts after, CallCounts before) => new(
        after.Methods.ToDictionary(method => method.Key, method => method.Value - before.Methods.GetValueOrDefault(method.Key), StringComparer.Ordinal),
        after.FailedCalls - before.FailedCalls,
        after.Messages - before.Messages,
        after.Bytes - before.Bytes);
}

/// <summary>Counts the calls that the silos send, and stops those of lost workers. Thread-safe.</summary>
internal sealed class CallMeter : IDisposable
{
    private const string OrleansMeter = "Microsoft.Orleans";
    private const string SentMessages = "orleans-messaging-sent-messages-size";

    private readonly ConcurrentDictionary<string, MethodCalls> methods = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<GrainId, int> siloOf = [];
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
        methods.ToDictionary(StringComparer.Ordinal), Interlocked.Read(ref failed), Interlocked.Read(ref messages), Interlocked.Read(ref bytes));

    /// <summary>Stops all calls of a node from now on.</summary>
    /// <param name="node">The id of the node.</param>
    public void Lose(string node) => lost[node] = true;

    /// <summary>Returns the number of the silo at which calls of a grain last arrived.</summary>
    public int SiloOf(GrainId grain) => siloOf[grain];

    /// <summary>Records that a call has arrived at a silo.</summary>
    public void Arrive(IIncomingGrainCallContext context, int silo)
    {
        if (IsOfJobs(context))
        {
            siloOf[context.TargetId] = silo;
        }
    }

    /// <summary>Runs a call from a silo, and counts it.</summary>
    public async Task RunAsync(IOutgoingGrainCallContext context, int silo)
    {
        string? node = NodeOf(context);
        ThrowIfLost(node);
        try
        {
            await context.Invoke().ConfigureAwait(true);
        }
        catch when (node is not null)
        {
            Interlocked.Increment(ref failed);
            throw;
        }
        finally
        {
            // Only now the silo of the grain is known for certain.
            Count(context, silo);
        }

        // An answer that is under way when a worker is lost does not arrive, but what the coordinator gave is given.
        if (context.Result is JobAnswer { Lease.Epoch: 1 })
        {
            Interlocked.Exchange(ref lastFreshLease, Stopwatch.GetTimestamp());
        }

        ThrowIfLost(node);
    }

    public void Dispose() => listener.Dispose();

    private static bool IsOfJobs(IGrainCallContext context) =>
        context.InterfaceMethod.DeclaringType is { } type && (type == typeof(IJobGrain) || type == typeof(IDirectoryGrain));

    private void Count(IOutgoingGrainCallContext context, int silo)
    {
        if (IsOfJobs(context))
        {
            long remote = siloOf.TryGetValue(context.TargetId, out int home) && home != silo ? 1 : 0;
            methods.AddOrUpdate(
                context.MethodName,
                static (_, remote) => new MethodCalls(1, remote),
                static (_, count, remote) => new MethodCalls(count.All + 1, count.Remote + remote),
                remote);
        }
    }

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
