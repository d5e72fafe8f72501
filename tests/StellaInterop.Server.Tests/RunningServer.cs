using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace StellaInterop.Tests;

/// <summary>Represents an answer of a server.</summary>
internal sealed record ServerAnswer(HttpStatusCode Status, HttpResponseHeaders Headers, string Body)
{
    public JsonElement Json => JsonSerializer.Deserialize<JsonElement>(Body);

    /// <summary>Returns the value of a header; <see langword="null"/> if the answer does not have it.</summary>
    public string? Header(string name) => Headers.TryGetValues(name, out IEnumerable<string>? values) ? string.Join(", ", values) : null;
}

/// <summary>A server on a free port of this machine.</summary>
internal sealed class RunningServer : IAsyncDisposable
{
    private readonly WebApplication application;
    private ApiDescription? description;

    private RunningServer(WebApplication application, Version version)
    {
        this.application = application;
        Client = new HttpClient
        {
            BaseAddress = new Uri(application.Urls.Single()),
            DefaultRequestVersion = version,
            DefaultVersionPolicy = HttpVersionPolicy.RequestVersionExact,
        };
    }

    /// <summary>Gets a text with more tokens than the small model takes.</summary>
    public static string LongText { get; } = string.Join(' ', Enumerable.Repeat("word", 2000));

    public HttpClient Client { get; }

    public IServiceProvider Services => application.Services;

    /// <summary>Gets the log records of the server.</summary>
    public RecordedLog Log => Services.GetRequiredService<RecordedLog>();

    /// <summary>Starts a server with the small model of the fixtures.</summary>
    public static Task<RunningServer> StartAsync(Action<StellaServerOptions>? configure = null) =>
        StartAsync(app => app.MapStellaServer(), configure);

    /// <summary>Starts a server of an application that maps its own routes.</summary>
    public static async Task<RunningServer> StartAsync(
        Action<WebApplication> map,
        Action<StellaServerOptions>? configure = null,
        string environment = "Production",
        HttpProtocols protocols = HttpProtocols.Http1)
    {
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder(new WebApplicationOptions { EnvironmentName = environment });
        _ = builder.WebHost.UseUrls("http://127.0.0.1:0").ConfigureKestrel(kestrel => kestrel.ConfigureEndpointDefaults(endpoint => endpoint.Protocols = protocols));
        _ = builder.Logging.ClearProviders();
        var log = new RecordedLog();
        _ = builder.Services.AddSingleton(log).AddSingleton<ILoggerProvider>(log);
        _ = builder.Services.AddStellaServer(options =>
        {
            configure?.Invoke(options);
            if (options.Models.Count == 0)
            {
                options.Models.Add(new StellaServedModelOptions { Name = "tiny", Path = Fixtures.Model("tiny-new") });
            }
        });
        WebApplication application = builder.Build();
        map(application);
        await application.StartAsync();
        return new RunningServer(application, protocols == HttpProtocols.Http2 ? HttpVersion.Version20 : HttpVersion.Version11);
    }

    public Task<ServerAnswer> GetAsync(string path) => SendAsync(HttpMethod.Get, path, null);

    /// <summary>Posts an object as JSON.</summary>
    public Task<ServerAnswer> PostAsync(string path, object body) =>
        SendAsync(HttpMethod.Post, path, new StringContent(JsonSerializer.Serialize(body), Encoding.UTF8, "application/json"));

    /// <summary>Posts text as it is.</summary>
    public Task<ServerAnswer> PostTextAsync(string path, string body, string contentType = "application/json") =>
        SendAsync(HttpMethod.Post, path, new StringContent(body, Encoding.UTF8, contentType));

    public async Task<ServerAnswer> SendAsync(HttpMethod method, string path, HttpContent? content, params (string Name, string Value)[] headers)
    {
        using var request = new HttpRequestMessage(method, path)
        {
            Content = content,
            Version = Client.DefaultRequestVersion,
            VersionPolicy = Client.DefaultVersionPolicy,
        };
        foreach ((string name, string value) in headers)
        {
            request.Headers.Add(name, value);
        }

        using HttpResponseMessage response = await Client.SendAsync(request);
        var answer = new ServerAnswer(response.StatusCode, response.Headers, await response.Content.ReadAsStringAsync());
        Description.AssertValid(method.Method, path, answer);
        return answer;
    }

    /// <summary>Gets the description of the API, which every answer must keep to.</summary>
    public ApiDescription Description => description ??= ApiDescription.Of(Services);

    /// <summary>Returns the vectors that a pool computes for texts.</summary>
    public static async Task<float[][]> EmbedByPoolAsync(string model, IReadOnlyList<string> texts, StellaEmbedOptions? options = null)
    {
        await using var pool = new StellaEmbeddingPool(Fixtures.Model(model));
        StellaEmbeddings embeddings = await pool.EmbedAsync(texts, options);
        return [.. embeddings.Select(vector => vector.ToArray())];
    }

    /// <summary>Returns the rest of a text that is embedded if its beginning may be cut: from the first word on with which it fits.</summary>
    public static string FindRest(string name, string text, StellaEmbedOptions? options = null)
    {
        using StellaModel model = StellaModel.Load(Fixtures.Model(name));
        string rest = "";
        for (int i = text.Length - 1; i >= 0; i--)
        {
            bool isWord = !char.IsWhiteSpace(text[i]) && (i == 0 || char.IsWhiteSpace(text[i - 1]));
            if (isWord && model.Tokenize(text[i..], options).TokenCount.IsTruncated)
            {
                break;
            }

            rest = isWord ? text[i..] : rest;
        }

        return rest;
    }

    public async ValueTask DisposeAsync()
    {
        Client.Dispose();
        await application.StopAsync();
        await application.DisposeAsync();
    }
}

/// <summary>Keeps the log records of a server.</summary>
internal sealed class RecordedLog : ILoggerProvider
{
    private readonly List<string> lines = [];

    public IReadOnlyList<string> Lines
    {
        get
        {
            lock (lines)
            {
                return [.. lines];
            }
        }
    }

    public ILogger CreateLogger(string categoryName) => new Logger(this, categoryName);

    public void Dispose()
    {
    }

    private sealed class Logger(RecordedLog log, string category) : ILogger
    {
        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => logLevel >= LogLevel.Information;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            lock (log.lines)
            {
                log.lines.Add(string.Create(CultureInfo.InvariantCulture, $"{logLevel} {category}: {formatter(state, exception)} {exception}").TrimEnd());
            }
        }
    }
}
