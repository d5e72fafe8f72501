using System.Diagnostics;
using System.Diagnostics.Metrics;
using Microsoft.Extensions.Diagnostics.Metrics.Testing;
using Microsoft.Extensions.Logging.Testing;
using Microsoft.Extensions.Time.Testing;

namespace StellaInterop.Tests.Serving;

/// <summary>Metrics, activities, log records and health of a pool.</summary>
internal sealed class TelemetryTests
{
    [Test]
    public async Task A_shared_meter_reports_no_closed_pool_and_does_not_keep_it_alive()
    {
        using var factory = new MeterFactory();
        using var listener = new MeterListener
        {
            InstrumentPublished = (instrument, self) =>
            {
                if (instrument.Meter.Scope == factory && instrument.Name == "stella.queue.calls")
                {
                    self.EnableMeasurementEvents(instrument);
                }
            },
        };
        int measurements = 0;
        listener.SetMeasurementEventCallback<long>((_, _, _, _) => measurements++);
        listener.Start();
        WeakReference closed = await UseAsync(factory);
        await using StellaEmbeddingPool second = TestPool.Create(new FakeModel(), TestPool.Options with { MeterFactory = factory });
        listener.RecordObservableInstruments();
        Assert.That(measurements, Is.EqualTo(1));
        await Eventually.IsTrueAsync(
            () =>
            {
                GC.Collect();
                GC.WaitForPendingFinalizers();
                return !closed.IsAlive;
            },
            "the closed pool is collected");

        // A separate method, so that no local variable keeps the pool alive.
        static async Task<WeakReference> UseAsync(IMeterFactory factory)
        {
            StellaEmbeddingPool pool = TestPool.Create(new FakeModel(), TestPool.Options with { MeterFactory = factory });
            await pool.EmbedAsync("one");
            await pool.DisposeAsync();
            return new WeakReference(pool);
        }
    }

    [Test]
    public async Task Metrics_record_calls_by_outcome_tokens_truncation_and_durations()
    {
        using var factory = new MeterFactory();
        var clock = new FakeTimeProvider();
        using var pause = new PausePoint();
        var model = new FakeModel { OnForward = pause.Enter };
        StellaEmbeddingPool pool = TestPool.Create(
            model, TestPool.Options with { MeterFactory = factory, TimeProvider = clock, MaxQueuedCalls = 2 });
        using var calls = new MetricCollector<long>(factory, "StellaInterop", "stella.calls");
        using var tokens = new MetricCollector<long>(factory, "StellaInterop", "stella.tokens");
        using var truncated = new MetricCollector<long>(factory, "StellaInterop", "stella.texts.truncated");
        using var forward = new MetricCollector<double>(factory, "StellaInterop", "stella.forward.duration");
        using var queue = new MetricCollector<double>(factory, "StellaInterop", "stella.queue.duration");
        using var tokenize = new MetricCollector<double>(factory, "StellaInterop", "stella.tokenize.duration");
        using var batch = new MetricCollector<long>(factory, "StellaInterop", "stella.batch.tokens");
        using var workers = new MetricCollector<long>(factory, "StellaInterop", "stella.workers");
        using var queued = new MetricCollector<long>(factory, "StellaInterop", "stella.queue.calls");

        Task<StellaEmbeddings> good = pool.EmbedAsync(["one", new string('x', 200)]);
        await pause.EnteredAsync();
        Task<float[]> late = pool.EmbedAsync("late", null, new StellaCallOptions { Timeout = TimeSpan.FromSeconds(3) });
        Assert.That(async () => await pool.EmbedAsync("refused"), Throws.TypeOf<StellaOverloadedException>());
        queued.RecordObservableInstruments();
        workers.RecordObservableInstruments();
        clock.Advance(TimeSpan.FromSeconds(3));
        Assert.That(async () => await late, Throws.TypeOf<StellaTimeoutException>());
        pause.Release();
        StellaEmbeddings found = await good;
        Assert.That(async () => await pool.EmbedAsync("bad"), Throws.TypeOf<StellaInputException>());
        Assert.That(
            async () => await pool.EmbedAsync("cancelled", cancellationToken: new CancellationToken(canceled: true)),
            Throws.InstanceOf<OperationCanceledException>());

        Assert.Multiple(() =>
        {
            Assert.That(
                calls.GetMeasurementSnapshot().Select(call => call.Tags["stella.outcome"]),
                Is.EqualTo((string[])["rejected", "timed_out", "completed", "failed", "cancelled"]));
            Assert.That(calls.GetMeasurementSnapshot(), Has.All.Matches<CollectedMeasurement<long>>(call => (string?)call.Tags["stella.model"] == "fake"));
            Assert.That(tokens.GetMeasurementSnapshot().EvaluateAsCounter(), Is.EqualTo(found.Summary.TokenCount).And.EqualTo(104));
            Assert.That(truncated.GetMeasurementSnapshot().EvaluateAsCounter(), Is.EqualTo(1));
            Assert.That(forward.GetMeasurementSnapshot(), Is.Not.Empty);
            Assert.That(queue.GetMeasurementSnapshot(), Is.Not.Empty);
            Assert.That(
                found.Summary.TokenizationTime.TotalSeconds,
                Is.GreaterThan(0).And.LessThanOrEqualTo(tokenize.GetMeasurementSnapshot().Sum(part => part.Value)));
            Assert.That(batch.GetMeasurementSnapshot().Sum(measurement => measurement.Value), Is.EqualTo(104));
            Assert.That(queued.LastMeasurement!.Value, Is.EqualTo(2));
            Assert.That(
                workers.GetMeasurementSnapshot().Select(measurement => (measurement.Tags["stella.state"], measurement.Value)),
                Is.EquivalentTo(new (object?, long)[] { ("busy", 1), ("idle", 0) }));
        });
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task Every_instrument_is_documented_with_its_unit()
    {
        using var factory = new MeterFactory();
        var instruments = new List<Instrument>();
        using var listener = new MeterListener();
        listener.InstrumentPublished = (instrument, _) =>
        {
            if (ReferenceEquals(instrument.Meter.Scope, factory))
            {
                instruments.Add(instrument);
            }
        };
        listener.Start();
        var model = new FakeModel();
        await TestPool.DisposeAndCheckAsync(TestPool.Create(model, TestPool.Options with { MeterFactory = factory }), model);
        string[] rows = File.ReadAllLines(Path.Combine(SourceTree.Root, "docs/service.md"));
        Assert.That(instruments, Has.Count.GreaterThan(15));
        foreach (Instrument instrument in instruments)
        {
            string? row = rows.SingleOrDefault(line => line.StartsWith('|') && line.Split('|')[1].Contains($"`{instrument.Name}`", StringComparison.Ordinal));
            Assert.That(row, Is.Not.Null, instrument.Name);
            Assert.That(row!.Split('|')[2], Does.Contain(instrument.Unit), instrument.Name);
        }
    }

    [Test]
    public async Task A_call_is_an_activity_with_child_activities_for_queue_and_forward_pass()
    {
        var ended = new List<Activity>();
        using var root = new Activity("the caller");
        _ = root.Start();
        using var listener = new ActivityListener
        {
            ShouldListenTo = source => source.Name == "StellaInterop",
            Sample = (ref ActivityCreationOptions<ActivityContext> _) => ActivitySamplingResult.AllData,
            ActivityStopped = activity =>
            {
                lock (ended)
                {
                    ended.Add(activity);
                }
            },
        };
        ActivitySource.AddActivityListener(listener);
        var model = new FakeModel();
        StellaEmbeddingPool pool = TestPool.Create(model);
        _ = await pool.EmbedAsync(["one", "two"]);
        Assert.That(async () => await pool.EmbedAsync("bad"), Throws.TypeOf<StellaInputException>());
        Activity[] mine = [.. ended.Where(activity => activity.TraceId == root.TraceId)];
        Activity call = mine.First(activity => activity.OperationName == "stella.embed");
        Assert.Multiple(() =>
        {
            Assert.That(call.ParentSpanId, Is.EqualTo(root.SpanId));
            Assert.That((call.GetTagItem("stella.model"), call.GetTagItem("stella.texts"), call.GetTagItem("stella.tokens")), Is.EqualTo(("fake", 2, 8L)));
            Assert.That(
                mine.Where(activity => activity.ParentSpanId == call.SpanId).Select(activity => activity.OperationName),
                Is.EqualTo((string[])["stella.queue", "stella.forward"]));
            Assert.That(mine[^1].Status, Is.EqualTo(ActivityStatusCode.Error));
            Assert.That(mine[^1].GetTagItem("error.type"), Is.EqualTo(typeof(StellaInputException).FullName));
        });
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task Log_records_have_stable_event_ids()
    {
        using var provider = new FakeLoggerProvider();
        using var factory = new Microsoft.Extensions.Logging.LoggerFactory([provider]);
        int forwards = 0;
        var model = new FakeModel
        {
            OnForward = _ =>
            {
                if (Interlocked.Increment(ref forwards) == 1)
                {
                    throw new StellaException(StellaErrorCode.Panic, "thrown by the test");
                }
            },
        };
        StellaEmbeddingPool pool = TestPool.Create(model, TestPool.Options with { LoggerFactory = factory });
        _ = await pool.EmbedAsync(["one", "two"]);
        await TestPool.DisposeAndCheckAsync(pool, model);
        Assert.That(
            provider.Collector.GetSnapshot().Select(record => record.Id.Id), Is.SupersetOf((int[])[100, 112, 130, 140, 141, 102]));
    }

    [Test]
    public async Task Health_is_returned_at_once_while_loads_and_forward_passes_block()
    {
        using var forward = new PausePoint();
        using var load = new PausePoint();
        var clock = new FakeTimeProvider();
        var model = new FakeModel { OnLoad = load.Enter, OnForward = _ => forward.Enter() };
        StellaEmbeddingPool pool = TestPool.Create(model, TestPool.Options with { TimeProvider = clock, MaxQueuedCalls = 10 });
        Assert.That((pool.GetHealth().Status, pool.GetHealth().ModelState), Is.EqualTo((StellaPoolStatus.Healthy, StellaPoolModelState.Unloaded)));
        Task<float[]> call = pool.EmbedAsync("one");
        await load.EnteredAsync();
        Assert.That((pool.GetHealth().Status, pool.GetHealth().ModelState), Is.EqualTo((StellaPoolStatus.Healthy, StellaPoolModelState.Loading)));
        load.Release();
        await forward.EnteredAsync();
        Assert.That((pool.GetHealth().Status, pool.GetHealth().BusyWorkerCount), Is.EqualTo((StellaPoolStatus.Healthy, 1)));
        clock.Advance(TimeSpan.FromSeconds(31));
        StellaPoolHealth hanging = pool.GetHealth();
        Assert.That((hanging.Status, hanging.LongestForwardPass), Is.EqualTo((StellaPoolStatus.Degraded, TimeSpan.FromSeconds(31))));
        Assert.That(hanging.Reason, Does.Contain("31 s"));
        Task[] more = [.. Enumerable.Range(0, 9).Select(i => pool.EmbedAsync($"{i}"))];
        Assert.That(pool.GetHealth().QueueFill, Is.EqualTo(1));
        forward.Release();
        await Task.WhenAll([call, .. more]);
        await TestPool.DisposeAndCheckAsync(pool, model);
        Assert.That((pool.GetHealth().Status, pool.GetHealth().ModelState), Is.EqualTo((StellaPoolStatus.Unhealthy, StellaPoolModelState.Closed)));
    }

    private sealed class MeterFactory : IMeterFactory
    {
        private readonly List<Meter> meters = [];

        public Meter Create(MeterOptions options)
        {
            options.Scope = this;
            var meter = new Meter(options);
            meters.Add(meter);
            return meter;
        }

        public void Dispose() => meters.ForEach(meter => meter.Dispose());
    }
}
