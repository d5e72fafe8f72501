using System.Net;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using StellaInterop.Server.Http;
using StellaInterop.Server.Keys;

namespace StellaInterop.Tests;

/// <summary>API keys, their limits, and the routes that need one.</summary>
internal sealed class KeyTests
{
    private const string Path = "/v1/embeddings";

    private TemporaryFolder folder = null!;
    private string secret = null!;

    private string KeyPath => folder.File("keys.json");

    [SetUp]
    public void WriteKeys()
    {
        folder = new TemporaryFolder();
        secret = KeyFile.CreateKey();
        KeyFile.Save(KeyPath, [new ApiKey { Name = "first", Sha256 = KeyFile.Hash(secret) }]);
    }

    [TearDown]
    public void RemoveKeys() => folder.Dispose();

    [Test]
    public async Task Every_endpoint_has_decided_about_keys_and_keeps_to_it()
    {
        await using RunningServer server = await StartAsync();
        RouteEndpoint[] endpoints = [.. server.Services.GetRequiredService<EndpointDataSource>().Endpoints.Cast<RouteEndpoint>()];
        Assert.That(endpoints, Has.Length.GreaterThan(20));
        Assert.That(endpoints.Where(endpoint => endpoint.Metadata.GetMetadata<ServerRoute>() is null), Is.Empty, "routes without a decision");

        ServerRoute[] routes = [.. endpoints.Select(endpoint => endpoint.Metadata.GetMetadata<ServerRoute>()!).Where(route => route.Method != ServerRoute.AnyMethod)];
        Assert.That(
            routes.Where(route => route.Access == RouteAccess.Everyone).Select(route => route.Path),
            Is.EquivalentTo(new[] { "/health", "/health/live", "/health/ready", "/", "/docs" }),
            "routes that tell nothing about models, keys and requests");
        foreach (ServerRoute route in routes)
        {
            string path = route.Path.Replace("{**model}", "tiny", StringComparison.Ordinal);
            ServerAnswer answer = await server.SendAsync(new HttpMethod(route.Method), path, null);
            Assert.That(answer.Status == HttpStatusCode.Unauthorized, Is.EqualTo(route.Access == RouteAccess.Key), $"{route.Method} {path}");
        }
    }

    [Test]
    public async Task A_key_is_accepted_in_both_headers_and_a_wrong_one_is_refused()
    {
        await using RunningServer server = await StartAsync();
        Assert.That((await server.SendAsync(HttpMethod.Get, "/v1/models", null, ("Authorization", $"Bearer {secret}"))).Status, Is.EqualTo(HttpStatusCode.OK));
        Assert.That((await server.SendAsync(HttpMethod.Get, "/v1/models", null, ("api-key", secret))).Status, Is.EqualTo(HttpStatusCode.OK));
        ServerAnswer wrong = await server.SendAsync(HttpMethod.Get, "/v1/models", null, ("Authorization", $"Bearer {secret}x"));
        Assert.That(wrong.Status, Is.EqualTo(HttpStatusCode.Unauthorized));
        Assert.That(wrong.Json.GetProperty("error").GetProperty("code").GetString(), Is.EqualTo("invalid_api_key"));
        Assert.That(server.Log.Lines, Has.Some.Contains("key first"));
        Assert.That(server.Log.Lines, Has.None.Contains(secret));
    }

    [Test]
    public async Task The_file_has_no_key_and_only_its_owner_reads_it()
    {
        Assert.That(await File.ReadAllTextAsync(KeyPath), Does.Not.Contain(secret).And.Contains(KeyFile.Hash(secret)));
        if (!OperatingSystem.IsWindows())
        {
            Assert.That(File.GetUnixFileMode(KeyPath), Is.EqualTo(UnixFileMode.UserRead | UnixFileMode.UserWrite));
        }
    }

    [Test]
    public void A_file_that_is_not_one_of_keys_ends_the_start()
    {
        foreach (string content in new[] { "{", "{}", """{"keys":[{"name":"a","sha256":"x"}]}""", """{"keys":[{"name":"a","sha256":5}]}""" })
        {
            File.WriteAllText(KeyPath, content);
            Assert.That(StartAsync, Throws.TypeOf<InvalidDataException>().With.Message.Contains("keys.json"), content);
        }

        File.Delete(KeyPath);
        Assert.That(StartAsync, Throws.TypeOf<InvalidDataException>());
    }

    [Test]
    public void A_changed_file_is_read_again_and_a_broken_one_keeps_the_keys()
    {
        var clock = new StepClock();
        var log = new RecordedLog();
        using var loggers = new Microsoft.Extensions.Logging.LoggerFactory([log]);
        var ring = new KeyRing(Microsoft.Extensions.Options.Options.Create(new StellaServerOptions { KeyFile = KeyPath }), loggers, clock);
        string second = KeyFile.CreateKey();
        Assert.That(() => Identify(ring, second), Throws.Exception);

        KeyFile.Save(KeyPath, [new ApiKey { Name = "second", Sha256 = KeyFile.Hash(second), TokensPerMinute = 5 }]);
        clock.Step(TimeSpan.FromSeconds(2));
        Assert.That(Identify(ring, second)!.Key.Name, Is.EqualTo("second"));
        Assert.That(() => Identify(ring, secret), Throws.Exception, "removed");

        File.WriteAllText(KeyPath, "{");
        for (int i = 0; i < 3; i++)
        {
            clock.Step(TimeSpan.FromSeconds(2));
            Assert.That(Identify(ring, second)!.Key.Name, Is.EqualTo("second"));
        }

        Assert.That(log.Lines.Count(line => line.StartsWith("Error", StringComparison.Ordinal)), Is.EqualTo(1));
    }

    [Test]
    public async Task Used_tokens_are_refused_until_they_come_back()
    {
        KeyFile.Save(KeyPath, [new ApiKey { Name = "first", Sha256 = KeyFile.Hash(secret), TokensPerMinute = 4, Concurrent = 2 }]);
        await using RunningServer server = await StartAsync();
        server.Client.DefaultRequestHeaders.Add("Authorization", $"Bearer {secret}");

        ServerAnswer first = await server.PostAsync(Path, new { input = "one two three four five six seven" });
        Assert.That(first.Status, Is.EqualTo(HttpStatusCode.OK), first.Body);
        Assert.That(first.Header("x-ratelimit-limit-tokens"), Is.EqualTo("4"));
        Assert.That(first.Header("x-ratelimit-remaining-requests"), Is.EqualTo("1"));
        Assert.That(first.Header("x-ratelimit-reset-tokens"), Does.Match("^[0-9]+(ms|s|m[0-9]+s)$"));

        ServerAnswer second = await server.PostAsync(Path, new { input = "a" });
        Assert.That(second.Status, Is.EqualTo(HttpStatusCode.TooManyRequests));
        Assert.That(second.Json.GetProperty("error").GetProperty("code").GetString(), Is.EqualTo("rate_limit_exceeded"));
        Assert.That(int.Parse(second.Header("retry-after")!), Is.InRange(1, 60));
        Assert.That(int.Parse(second.Header("retry-after-ms")!), Is.InRange(1, 60_000));
        Assert.That(second.Header("x-should-retry"), Is.EqualTo("true"));
        Assert.That(second.Header("x-ratelimit-remaining-tokens"), Is.EqualTo("0"));
    }

    [Test]
    public void Tokens_fill_evenly_and_requests_free_their_place()
    {
        var clock = new StepClock();
        var budget = new KeyBudget(new ApiKey { Name = "a", Sha256 = "", TokensPerMinute = 60, Concurrent = 1 }, clock);
        budget.Enter();
        Assert.That(budget.Enter, Throws.Exception, "a second request at a time");
        budget.Leave(90);
        Assert.That(budget.Tokens!.Value.Remaining, Is.Zero);
        Assert.That(budget.Tokens!.Value.Reset, Is.EqualTo(TimeSpan.FromSeconds(90)));
        clock.Step(TimeSpan.FromSeconds(29));
        Assert.That(budget.Enter, Throws.Exception);
        clock.Step(TimeSpan.FromSeconds(2));
        Assert.That(budget.Enter, Throws.Nothing);
        budget.Leave(0);
        clock.Step(TimeSpan.FromHours(1));
        Assert.That(budget.Tokens!.Value.Remaining, Is.EqualTo(60), "never more than a minute's tokens");
    }

    private static KeyBudget? Identify(KeyRing ring, string key)
    {
        var context = new Microsoft.AspNetCore.Http.DefaultHttpContext();
        context.Request.Headers.Authorization = $"Bearer {key}";
        return ring.Identify(context.Request);
    }

    private Task<RunningServer> StartAsync() => RunningServer.StartAsync(options => options.KeyFile = KeyPath);

    private sealed class StepClock : TimeProvider
    {
        private long now;

        public override long TimestampFrequency => TimeSpan.TicksPerSecond;

        public override long GetTimestamp() => now;

        public void Step(TimeSpan time) => now += time.Ticks;
    }
}
