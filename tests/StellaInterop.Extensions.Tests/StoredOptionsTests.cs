using System.Text;
using System.Text.Json;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;
using StellaInterop.Tests;

namespace StellaInterop.Extensions.Tests;

/// <summary>Tests that options keep their values in JSON and in configuration.</summary>
internal sealed class StoredOptionsTests
{
    private static readonly object[] All =
    [
        new StellaEmbedOptions { Prompt = StellaPrompt.SearchQuery, Dimension = 256, Normalize = false, LongTextBehavior = StellaLongTextBehavior.Error },
        new StellaEmbedOptions { Prompt = StellaPrompt.Default, InvalidTextBehavior = StellaInvalidTextBehavior.Replace },
        new StellaCallOptions { Priority = StellaPriority.Bulk, Timeout = TimeSpan.FromSeconds(5), QueueFullMode = StellaQueueFullMode.Wait, TextFailureMode = StellaTextFailureMode.Report },
        new StellaModelOptions { Name = "a", Dimension = 256, MaxTokens = 7, Precision = StellaPrecision.Int8, Threads = 2, CheckWeights = false },
        new StellaPoolOptions
        {
            MinWorkers = 0,
            MaxQueuedTokens = 5_000,
            BulkShare = 0.1,
            DefaultTimeout = TimeSpan.FromMilliseconds(1_500),
            IdleTimeout = TimeSpan.FromHours(23),
            MaxCacheBytes = 1L << 40,
            CircuitBreaker = new() { FailureThreshold = 7, BreakDuration = TimeSpan.FromSeconds(9) },
        },
        new StellaMemoryGovernorOptions { LimitBytes = 1L << 33, HeadroomFraction = 0.25, HeadroomBytes = 5 },
        new StellaTextSplitterOptions { MaxTokens = 99, OverlapTokens = 3, Prompt = StellaPrompt.SearchQuery },
    ];

    [TestCaseSource(nameof(All))]
    public void Options_are_the_same_after_JSON(object options)
    {
        string json = JsonSerializer.Serialize(options, options.GetType());
        Assert.That(JsonSerializer.Deserialize(json, options.GetType()), Is.EqualTo(options), json);
    }

    [TestCaseSource(nameof(All))]
    public void Options_are_the_same_after_configuration(object options)
    {
        string json = JsonSerializer.Serialize(options, options.GetType());
        using var stream = new MemoryStream(Encoding.UTF8.GetBytes(json));
        object? read = Activator.CreateInstance(options.GetType());
        new ConfigurationBuilder().AddJsonStream(stream).Build().Bind(read);
        Assert.That(read, Is.EqualTo(options), json);
    }

    [Test]
    public void Options_of_a_service_are_the_same_after_JSON_and_configuration()
    {
        var options = new StellaEmbeddingServiceOptions
        {
            ModelName = "org/name",
            Revision = "v1+fix",
            Model = new() { Dimension = 256, Precision = StellaPrecision.BFloat16 },
            Pool = new()
            {
                MinWorkers = 0,
                MaxQueuedTokens = 9_000,
                BulkShare = 0.3,
                DefaultTimeout = TimeSpan.FromSeconds(90),
                DrainTimeout = TimeSpan.Zero,
                CircuitBreaker = new() { MaxProbes = 3 },
            },
            LongTextBehavior = StellaLongTextBehavior.Error,
            InvalidTextBehavior = StellaInvalidTextBehavior.Replace,
            QueueFullMode = StellaQueueFullMode.Wait,
            WarmUpOnStart = true,
        };
        string json = JsonSerializer.Serialize(options);
        using var stream = new MemoryStream(Encoding.UTF8.GetBytes(json));
        StellaEmbeddingServiceOptions bound = new ConfigurationBuilder().AddJsonStream(stream).Build().Get<StellaEmbeddingServiceOptions>()!;
        Assert.That(JsonSerializer.Serialize(bound), Is.EqualTo(json));
        Assert.That(JsonSerializer.Serialize(JsonSerializer.Deserialize<StellaEmbeddingServiceOptions>(json)), Is.EqualTo(json));
    }

    [TestCase("true")]
    [TestCase("7")]
    [TestCase("{}")]
    public void A_prompt_in_JSON_that_is_not_a_name_is_refused(string json) =>
        Assert.That(() => JsonSerializer.Deserialize<StellaPrompt>(json), Throws.TypeOf<JsonException>());

    /// <summary>Returns all durations of the options with bare numbers, which .NET would interpret as days.</summary>
    private static IEnumerable<TestCaseData> BareNumbers()
    {
        foreach (string name in GetDurations(typeof(StellaEmbeddingServiceOptions)))
        {
            foreach (string number in (string[])["1", "5", "30", "600"])
            {
                yield return new TestCaseData(name, number);
            }
        }
    }

    private static IEnumerable<string> GetPoolDurations() => GetDurations(typeof(StellaPoolOptions));

    /// <summary>Returns the configuration paths of all durations of an options type and its nested types.</summary>
    private static IEnumerable<string> GetDurations(Type options)
    {
        foreach (var property in options.GetProperties())
        {
            Type type = Nullable.GetUnderlyingType(property.PropertyType) ?? property.PropertyType;
            if (type == typeof(TimeSpan))
            {
                yield return property.Name;
            }
            else if (type.Namespace == "StellaInterop" && type.Name.EndsWith("Options", StringComparison.Ordinal))
            {
                foreach (string nested in GetDurations(type))
                {
                    yield return $"{property.Name}:{nested}";
                }
            }
        }
    }

    [TestCaseSource(nameof(BareNumbers))]
    public void A_service_refuses_a_bare_number_as_a_duration(string name, string number)
    {
        IConfiguration configuration = new ConfigurationBuilder().AddInMemoryCollection(
            new Dictionary<string, string?> { ["Embeddings:ModelPath"] = Fixtures.Model("tiny-new"), [$"Embeddings:{name}"] = number }).Build();
        var bySection = new ServiceCollection();
        bySection.AddStellaEmbeddings(configuration.GetSection("Embeddings"));
        var byCode = new ServiceCollection();
        byCode.AddStellaEmbeddings(options => configuration.GetSection("Embeddings").Bind(options));
        foreach (ServiceCollection services in (ServiceCollection[])[bySection, byCode])
        {
            using ServiceProvider provider = services.BuildServiceProvider();
            Assert.That(
                () => provider.GetRequiredService<IOptions<StellaEmbeddingServiceOptions>>().Value,
                Throws.TypeOf<OptionsValidationException>().With.Message.Contains(name).And.Message.Contains("00:00:05 for 5 seconds"));
        }
    }

    [TestCaseSource(nameof(GetPoolDurations))]
    public void A_pool_refuses_a_bare_number_as_a_duration(string name)
    {
        IConfiguration configuration = new ConfigurationBuilder().AddInMemoryCollection(new Dictionary<string, string?> { [name] = "5" }).Build();
        Assert.That(
            () => new StellaEmbeddingPool(Fixtures.Model("tiny-new"), Bound<StellaPoolOptions>(configuration)),
            Throws.TypeOf<ArgumentOutOfRangeException>().With.Message.Contains(name.Replace(':', '.')).And.Message.Contains("00:00:05 for 5 seconds"));
    }

    [Test]
    public async Task A_call_refuses_a_bare_number_as_a_duration()
    {
        await using var pool = new StellaEmbeddingPool(Fixtures.Model("tiny-new"));
        IConfiguration configuration = new ConfigurationBuilder().AddInMemoryCollection(new Dictionary<string, string?> { ["Timeout"] = "5" }).Build();
        Assert.That(
            async () => await pool.EmbedAsync("river", callOptions: Bound<StellaCallOptions>(configuration)),
            Throws.TypeOf<ArgumentOutOfRangeException>().With.Message.Contains("Timeout").And.Message.Contains("00:00:05 for 5 seconds"));
    }

    /// <summary>Binds by reflection, because generated binding code does not set init-only properties.</summary>
    private static T Bound<T>(IConfiguration configuration) => configuration.Get<T>()!;
}
