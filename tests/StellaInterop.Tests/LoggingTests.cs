using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using Microsoft.Extensions.Logging;

namespace StellaInterop.Tests;

/// <summary>Forwarding of native log records to an <see cref="ILogger"/>.</summary>
internal sealed class LoggingTests
{
    [Test]
    public void Native_log_records_have_a_category_a_level_and_a_target()
    {
        using var recorder = new Recorder();
        using (StellaModel model = Load(recorder))
        {
            _ = model.Embed("a text");
        }

        Assert.That(recorder.Category, Is.EqualTo("StellaInterop.Native"));
        Record loaded = recorder.Records.Single(record => record.Message.Contains("NewModel with 3 layers"));
        Assert.Multiple(() =>
        {
            Assert.That(loaded.Level, Is.EqualTo(LogLevel.Information));
            Assert.That(loaded.Target, Is.EqualTo("stella_core::model"));
            Assert.That(recorder.Records.Any(record => record.Level == LogLevel.Debug && record.Message.Contains("session with")));
        });
    }

    [Test]
    public void An_unknown_setting_is_logged_as_a_warning()
    {
        using TemporaryFolder folder = Fixtures.Copy("tiny-new");
        folder.Edit("config.json", "\"hidden_size\"", "\"colour\": \"red\", \"hidden_size\"");
        using var recorder = new Recorder { Minimum = LogLevel.Warning };
        using StellaModel model = Load(recorder, folder.Path);
        Record warning = recorder.Records.Single();
        Assert.That(warning.Level, Is.EqualTo(LogLevel.Warning));
        Assert.That(warning.Message, Does.Contain(folder.File("config.json")).And.Contain("Unknown settings").And.EndsWith("colour."));
    }

    [Test]
    public void Each_model_logs_to_its_own_logger()
    {
        using var first = new Recorder();
        using var second = new Recorder();
        using StellaModel a = Load(first);
        int before = first.Records.Count;
        using StellaModel b = Load(second);
        Assert.That(first.Records, Has.Count.EqualTo(before), "a record of the second model went to the first logger");
        Assert.That(second.Records, Is.Not.Empty);
    }

    [Test]
    public void Records_below_the_enabled_level_are_not_logged()
    {
        using var recorder = new Recorder { Minimum = LogLevel.Warning };
        using StellaModel model = Load(recorder);
        Assert.That(recorder.Records, Is.Empty);
    }

    [Test]
    public void Records_below_the_enabled_level_do_not_reach_NET()
    {
        using var recorder = new Recorder { Minimum = LogLevel.Warning };
        using StellaModel model = Load(recorder);
        int before = recorder.Questions;
        _ = model.Embed("A text of several words, each of which the tokenizer traces.");
        Assert.That(recorder.Questions, Is.EqualTo(before), "the logger was asked for records that it does not want");
    }

    [Test]
    public void A_logger_that_throws_does_not_fail_calls([Values] bool throwsWhenAsked)
    {
        using var recorder = new Recorder { Throws = true, ThrowsWhenAsked = throwsWhenAsked };
        using StellaModel model = Load(recorder);
        Assert.That(model.Embed("a text"), Has.Length.EqualTo(1024));
        Assert.That(recorder.Calls + recorder.Questions, Is.GreaterThan(0));
    }

    [Test]
    public void A_disposed_model_releases_its_logger()
    {
        WeakReference logger = LoadAndDispose();
        for (int i = 0; i < 200 && logger.IsAlive; i++)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
            Thread.Sleep(10);
        }

        Assert.That(logger.IsAlive, Is.False);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static WeakReference LoadAndDispose()
    {
        using var recorder = new Recorder();
        using StellaModel model = Load(recorder);
        _ = model.Embed("a text");
        return new WeakReference(recorder);
    }

    private static StellaModel Load(ILoggerFactory loggers, string? path = null) =>
        StellaModel.Load(path ?? Fixtures.Model("tiny-new"), new StellaModelOptions { LoggerFactory = loggers });

    private sealed record Record(LogLevel Level, string Target, string Message);

    private sealed class Recorder : ILoggerFactory, ILogger
    {
        private int calls;
        private int questions;

        public ConcurrentQueue<Record> Records { get; } = new();

        public string? Category { get; private set; }

        public LogLevel Minimum { get; init; } = LogLevel.Trace;

        public bool Throws { get; init; }

        public bool ThrowsWhenAsked { get; init; }

        public int Calls => calls;

        public int Questions => questions;

        public ILogger CreateLogger(string categoryName)
        {
            Category = categoryName;
            return this;
        }

        public void AddProvider(ILoggerProvider provider) => throw new NotSupportedException();

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel)
        {
            Interlocked.Increment(ref questions);
            return ThrowsWhenAsked ? throw new InvalidOperationException("a logger that throws") : logLevel >= Minimum;
        }

        public void Log<TState>(
            LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            Interlocked.Increment(ref calls);
            if (Throws)
            {
                throw new InvalidOperationException("a logger that throws");
            }

            var values = ((IEnumerable<KeyValuePair<string, object?>>)state!).ToDictionary(pair => pair.Key, pair => pair.Value);
            Records.Enqueue(new Record(logLevel, (string)values["Target"]!, (string)values["Message"]!));
        }

        public void Dispose()
        {
        }
    }
}
