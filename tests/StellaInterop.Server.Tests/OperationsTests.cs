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
        Assert.That((await server.GetAsync("/health/live")).Status, Is.EqualTo(HttpStatusCode.OK));
        Assert.That((await server.GetAsync("/v1/models")).Json.GetProperty("data")[0].GetProperty("state").GetString(), Is.EqualTo("loaded"));
    }

    [TestCase(0, HttpStatusCode.ServiceUnavailable)]
    [TestCase(1, HttpStatusCode.OK)]
    public async Task A_server_is_ready_while_the_default_model_answers(int damaged, HttpStatusCode expected)
    {
        using TemporaryFolder folder = Fixtures.Copy("tiny-new");
        string[] folders = [Fixtures.Model("tiny-new"), Fixtures.Model("tiny-new")];
        folders[damaged] = folder.Path;
        await using RunningServer server = await RunningServer.StartAsync(options =>
        {
            options.Models.Add(new StellaServedModelOptions { Name = "first", Path = folders[0] });
            options.Models.Add(new StellaServedModelOptions { Name = "second", Path = folders[1] });
        });
        await File.WriteAllTextAsync(folder.File("tokenizer.json"), "{");
        _ = await server.PostAsync("/v1/embeddings", new { input = "a", model = "first" });
        _ = await server.PostAsync("/v1/embeddings", new { input = "a", model = "second" });

        ServerAnswer ready = await server.GetAsync("/health/ready");
        Assert.That(ready.Status, Is.EqualTo(expected), ready.Body);
        Assert.That((await server.GetAsync("/health")).Status, Is.EqualTo(expected));
        ServerAnswer live = await server.GetAsync("/health/live");
        Assert.That(live.Json.GetProperty("models")[damaged].GetProperty("status").GetString(), Is.EqualTo("unhealthy"));
        Assert.That(live.Json.GetProperty("models")[1 - damaged].GetProperty("status").GetString(), Is.EqualTo("healthy"));
        Assert.That(ready.Body + live.Body, Does.Not.Contain(folder.Path), "everyone can see these answers");
    }

    [Test]
    public async Task A_client_never_learns_a_path_from_a_model_that_fails_again_and_again()
    {
        using TemporaryFolder folder = Fixtures.Copy("tiny-new");
        await using RunningServer server = await RunningServer.StartAsync(options => options.Models.Add(new StellaServedModelOptions
        {
            Name = "bad",
            Path = folder.Path,
            Pool = { CircuitBreaker = new StellaCircuitBreakerOptions { FailureThreshold = 1 } },
        }));
        await File.WriteAllTextAsync(folder.File("tokenizer.json"), "{");
        for (int i = 0; i < 3; i++)
        {
            ServerAnswer answer = await server.PostAsync("/v1/embeddings", new { input = "a" });
            Assert.That(answer.Status, Is.EqualTo(HttpStatusCode.ServiceUnavailable), answer.Body);
            Assert.That(answer.Header("retry-after"), Is.Not.Null);
            Assert.That(answer.Body, Does.Not.Contain(folder.Path));
        }
    }

    [TestCase("/v1/embeddings", """{"input":"a"}""", 503)]
    [TestCase("/embed", """{"inputs":"a"}""", 424)]
    [TestCase("/similarity", """{"inputs":{"source_sentence":"a","sentences":["b"]}}""", 424)]
    [TestCase("/api/embed", """{"input":"a"}""", 503)]
    public async Task A_forward_pass_that_fails_is_no_mistake_of_the_client_and_not_tried_again(string path, string body, int status)
    {
        using TemporaryFolder folder = Fixtures.Copy("tiny-new");
        SafetensorsFile head = SafetensorsFile.Read(folder.File("2_Dense_1024/model.safetensors"));
        head.Data = new byte[head.Data.Length];
        head.Write();
        await using RunningServer server = await RunningServer.StartAsync(
            options => options.Models.Add(new StellaServedModelOptions { Name = "zero", Path = folder.Path }));
        ServerAnswer answer = await server.PostTextAsync(path, body);
        Assert.That((int)answer.Status, Is.EqualTo(status), answer.Body);
        Assert.That(answer.Header("x-should-retry"), Is.EqualTo("false"));
        Assert.That(answer.Header("retry-after"), Is.Null);
        Assert.That(answer.Body, Does.Contain("ResultZero"));
        Assert.That(server.Log.Lines, Has.Some.StartWith("Error StellaInterop.Server"));
        if (status == 424)
        {
            Assert.That(answer.Json.GetProperty("error_type").GetString(), Is.EqualTo("Backend"));
        }
    }

    [TestCase("/v1/embeddings", """{"input":["a","b"]}""", "parse, load, queue, embed")]
    [TestCase("/v1/embeddings", """{"input":["a","b"],"late_chunking":true}""", "parse, load, queue, embed")]
    [TestCase("/embed", """{"inputs":"a"}""", "parse, load, queue, embed")]
    [TestCase("/embed_all", """{"inputs":"a"}""", "parse, load, embed")]
    [TestCase("/similarity", """{"inputs":{"source_sentence":"a","sentences":["b"]}}""", "parse, load, queue, embed")]
    [TestCase("/tokenize", """{"inputs":"a"}""", "parse, load, tokenize")]
    [TestCase("/decode", """{"ids":[5]}""", "parse, load, decode")]
    [TestCase("/api/embed", """{"input":"a"}""", "parse, load, queue, embed")]
    [TestCase("/api/embeddings", """{"prompt":"a"}""", "parse, load, queue, embed")]
    public async Task Every_answer_that_is_computed_has_its_times(string path, string body, string names)
    {
        await using RunningServer server = await RunningServer.StartAsync();
        ServerAnswer answer = await server.PostTextAsync(path, body);
        Assert.That(answer.Status, Is.EqualTo(HttpStatusCode.OK), answer.Body);
        string[] times = answer.Header("Server-Timing")!.Split(", ");
        Assert.That(string.Join(", ", times.Select(time => time.Split(';')[0])), Is.EqualTo(names));
        Assert.That(times, Is.All.Match("^[a-z]+;dur=[0-9]+([.][0-9]+)?$"));
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
