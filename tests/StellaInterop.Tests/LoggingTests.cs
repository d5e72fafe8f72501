using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using Microsoft.Extensions.Logging;

namespace StellaInterop.Tests;

/// <summary>Native log records on their way to an <see cref="ILogger"/>.</summary>
internal sealed class LoggingTests
{
    [Test]
    public void Native_records_arrive_with_category_level_and_target()
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
    public void A_setting_that_nobody_knows_is_named_in_a_warning()
    {
        using TemporaryFolder folder = Tree.Copy("tiny-new");
        folder.Edit("config.json", "\"hidden_size\"", "\"colour\": \"red\", \"hidden_size\"");
        using var recorder = new Recorder { Minimum = LogLevel.Warning };
        using StellaModel model = Load(recorder, folder.Path);
        Record warning = recorder.Records.Single();
        Assert.That(warning.Level, Is.EqualTo(LogLevel.Warning));
        Assert.That(warning.Message, Does.Contain(folder.File("config.json")).And.Contain("Unknown settings").And.EndsWith("colour."));
    }

    [Test]
    public void Two_models_log_to_two_loggers()
    {
        using var first = new Recorder();
        using var second = new Recorder();
        using StellaModel a = Load(first);
        int before = first.Records.Count;
        using StellaModel b = Load(second);
        Assert.That(first.Records, Has.Count.EqualTo(before), "the second model's records went to the first");
        Assert.That(second.Records, Is.Not.Empty);
    }

    [Test]
    public void A_level_that_is_off_is_not_written()
    {
        using var recorder = new Recorder { Minimum = LogLevel.Warning };
        using StellaModel model = Load(recorder);
        Assert.That(recorder.Records, Is.Empty);
    }

    [Test]
    public void A_logger_that_throws_does_no_harm()
    {
        using var recorder = new Recorder { Throws = true };
        using StellaModel model = Load(recorder);
        Assert.That(model.Embed("a text"), Has.Length.EqualTo(1024));
        Assert.That(recorder.Calls, Is.GreaterThan(0));
    }

    [Test]
    public void The_logger_is_let_go_after_the_model_is_disposed()
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
        StellaModel.Load(path ?? Tree.Model("tiny-new"), new StellaModelOptions { LoggerFactory = loggers });

    private sealed record Record(LogLevel Level, string Target, string Message);

    private sealed class Recorder : ILoggerFactory, ILogger
    {
        private int calls;

        public ConcurrentQueue<Record> Records { get; } = new();

        public string? Category { get; private set; }

        public LogLevel Minimum { get; init; } = LogLevel.Trace;

        public bool Throws { get; init; }

        public int Calls => calls;

        public ILogger CreateLogger(string categoryName)
        {
            Category = categoryName;
            return this;
        }

        public void AddProvider(ILoggerProvider provider) => throw new NotSupportedException();

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => logLevel >= Minimum;

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
