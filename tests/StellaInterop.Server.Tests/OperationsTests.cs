using System.Diagnostics;
using System.Net;
using System.Text.Json;

namespace StellaInterop.Tests;

/// <summary>Health, metrics, traces and the description of the API.</summary>
internal sealed class OperationsTests
{
    [Test]
    public async Task Every_series_is_there_before_the_first_request()
    {
        await using RunningServer server = await RunningServer.StartAsync();
        string[] before = SeriesOf((await server.GetAsync("/metrics")).Body);
        _ = await server.PostAsync("/v1/embeddings", new { input = "a" });
        _ = await server.PostAsync("/embed", new { inputs = Array.Empty<string>() });
        _ = await server.GetAsync("/api/tags");
        string after = (await server.GetAsync("/metrics")).Body;

        Assert.That(SeriesOf(after), Is.EqualTo(before));
        Assert.That(before, Has.Length.GreaterThan(100).And.All.StartsWith("stella_"));
        Assert.That(after, Does.Contain("stella_calls_total{model=\"tiny\",outcome=\"completed\"} 1\n"));
        Assert.That(after, Does.Contain("stella_http_requests_total{protocol=\"openai\",outcome=\"ok\"} 1\n"));
        Assert.That(after, Does.Contain("stella_http_requests_total{protocol=\"tei\",outcome=\"client_error\"} 1\n"));
        Assert.That(after, Does.Contain("stella_http_buffered_bytes{} 0\n"));
        Assert.That(after, Does.Contain("stella_http_running{protocol=\"server\"} 1\n"), "the scrape itself");
        Assert.That(after, Does.Contain("stella_call_duration_seconds_bucket{model=\"tiny\",outcome=\"completed\",le=\"+Inf\"} 1\n"));
    }

    [Test]
    public async Task Two_servers_of_a_process_have_their_own_metrics()
    {
        await using RunningServer first = await RunningServer.StartAsync();
        await using RunningServer second = await RunningServer.StartAsync();
        _ = await first.PostAsync("/v1/embeddings", new { input = "a" });
        Assert.That((await second.GetAsync("/metrics")).Body, Does.Contain("stella_texts_total{model=\"tiny\"} 0\n"));
    }

    [Test]
    public async Task A_server_is_live_and_ready_until_it_stops()
    {
        await using RunningServer server = await RunningServer.StartAsync();
        foreach (string path in new[] { "/health/live", "/health/ready" })
        {
            ServerAnswer answer = await server.GetAsync(path);
            Assert.That(answer.Status, Is.EqualTo(HttpStatusCode.OK), answer.Body);
            Assert.That(answer.Json.GetProperty("models")[0].GetProperty("state").GetString(), Is.EqualTo("unloaded"));
        }
    }

    [Test]
    public async Task A_model_that_cannot_be_loaded_is_503_and_the_others_go_on()
    {
        using TemporaryFolder folder = Fixtures.Copy("tiny-new");
        await using RunningServer server = await RunningServer.StartAsync(options =>
        {
            options.Models.Add(new StellaServedModelOptions { Name = "good", Path = Fixtures.Model("tiny-new") });
            options.Models.Add(new StellaServedModelOptions { Name = "bad", Path = folder.Path });
        });
        File.WriteAllText(folder.File("tokenizer.json"), "{");

        ServerAnswer bad = await server.PostAsync("/v1/embeddings", new { input = "a", model = "bad" });
        Assert.That(bad.Status, Is.EqualTo(HttpStatusCode.ServiceUnavailable), bad.Body);
        Assert.That(bad.Header("retry-after"), Is.Not.Null);
        Assert.That(bad.Body, Does.Not.Contain(folder.Path), "paths of the server are not for clients");
        Assert.That((await server.PostAsync("/v1/embeddings", new { input = "a", model = "good" })).Status, Is.EqualTo(HttpStatusCode.OK));
        Assert.That((await server.GetAsync("/health/ready")).Status, Is.EqualTo(HttpStatusCode.ServiceUnavailable));
        Assert.That((await server.GetAsync("/health/live")).Status, Is.EqualTo(HttpStatusCode.OK));
        Assert.That((await server.GetAsync("/v1/models")).Json.GetProperty("data")[0].GetProperty("state").GetString(), Is.EqualTo("loaded"));
    }

    [Test]
    public async Task The_trace_of_a_request_has_the_parent_of_the_caller()
    {
        var parents = new System.Collections.Concurrent.ConcurrentQueue<string>();
        using var listener = new ActivityListener
        {
            ShouldListenTo = source => source.Name is StellaTelemetry.ActivitySourceName or "Microsoft.AspNetCore",
            Sample = (ref ActivityCreationOptions<ActivityContext> _) => ActivitySamplingResult.AllData,
            ActivityStopped = activity =>
            {
                if (activity.OperationName == "stella.embed")
                {
                    parents.Enqueue(activity.TraceId.ToHexString());
                }
            },
        };
        ActivitySource.AddActivityListener(listener);
        await using RunningServer server = await RunningServer.StartAsync();
        string trace = ActivityTraceId.CreateRandom().ToHexString();
        _ = await server.SendAsync(
            HttpMethod.Post, "/api/embed", new StringContent("""{"input":"a"}"""), ("traceparent", $"00-{trace}-{ActivitySpanId.CreateRandom().ToHexString()}-01"));
        Assert.That(parents, Does.Contain(trace));
    }

    [Test]
    public async Task The_description_has_every_route_and_field()
    {
        await using RunningServer server = await RunningServer.StartAsync();
        JsonElement description = (await server.GetAsync("/openapi.json")).Json;
        Assert.That(description.GetProperty("openapi").GetString(), Is.EqualTo("3.1.0"));
        Assert.That(description.GetProperty("paths").EnumerateObject().Count(), Is.GreaterThan(20));
        JsonElement body = description.GetProperty("paths").GetProperty("/v1/embeddings").GetProperty("post").GetProperty("requestBody")
            .GetProperty("content").GetProperty("application/json").GetProperty("schema");
        Assert.That(body.GetProperty("required")[0].GetString(), Is.EqualTo("input"));
        Assert.That(
            body.GetProperty("properties").EnumerateObject().Select(field => field.Name),
            Is.EqualTo(new[] { "input", "model", "encoding_format", "dimensions", "user", "input_type", "truncate", "output_dtype", "late_chunking", "priority", "timeout_ms" }));
    }

    private static string[] SeriesOf(string metrics) =>
        [.. metrics.Split('\n').Where(line => line.Length > 0 && line[0] != '#').Select(line => line[..line.LastIndexOf(' ')])];
}
