using System.Buffers;
using System.Globalization;
using System.Text.Json;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using StellaInterop.Server.Errors;
using StellaInterop.Server.Fields;
using StellaInterop.Server.Keys;
using StellaInterop.Server.Models;
using StellaInterop.Server.Telemetry;

namespace StellaInterop.Server.Http;

/// <summary>Surrounds the answer of a route: id, errors in the shape of the protocol, and log. No other code writes errors.</summary>
internal sealed class RouteHandler(ServerRoute route)
{
    /// <summary>The header with the id of a request. A client may send its own.</summary>
    public const string RequestIdHeader = "x-request-id";

    private const int MaxRequestIdLength = 128;

    /// <summary>The category of the access log.</summary>
    private const string LogCategory = "StellaInterop.Server";

    /// <summary>The longest wait that a client is asked for. Official clients ignore, or give up at, longer ones.</summary>
    private static readonly TimeSpan MaxRetryAfter = TimeSpan.FromSeconds(60);

    public async Task HandleAsync(HttpContext http)
    {
        IServiceProvider services = http.RequestServices;
        StellaServerOptions options = services.GetRequiredService<IOptions<StellaServerOptions>>().Value;
        using var context = new RequestContext(http, route.Protocol, services.GetRequiredService<ModelRegistry>(), services.GetRequiredService<RequestRoom>(), options);
        ILogger logger = services.GetRequiredService<ILoggerFactory>().CreateLogger(LogCategory);
        string id = GetRequestId(http.Request);
        http.Response.Headers[RequestIdHeader] = id;
        CrossOrigin crossOrigin = services.GetRequiredService<CrossOrigin>();
        crossOrigin.SetHeaders(http);
        RequestMetrics metrics = services.GetRequiredService<RequestMetrics>();
        metrics.Begin(route.Protocol.Name);
        string? refusal = null;
        bool hasLeft = false;
        try
        {
            if (crossOrigin.IsPreflight(http.Request))
            {
                http.Response.StatusCode = StatusCodes.Status204NoContent;
            }
            else
            {
                await AnswerAsync(context, services.GetRequiredService<KeyRing>()).ConfigureAwait(false);
            }
        }
        catch (Exception e) when (e is ConnectionResetException
            || (e is OperationCanceledException && (http.RequestAborted.IsCancellationRequested || http.Response.HasStarted)))
        {
            refusal = "the client left";
            hasLeft = true;
        }
#pragma warning disable CA1031 // Every exception becomes a refusal of the protocol.
        catch (Exception e)
#pragma warning restore CA1031
        {
            ServerError error = ErrorMap.Map(e);
            refusal = Printable.Line(error.Message);
            if (ErrorMap.IsFault(error, e))
            {
                ServerLog.Failed(logger, id, route.Method, route.Path, e);
            }

            await RefuseAsync(context, error, id).ConfigureAwait(false);
        }

        metrics.End(route.Protocol.Name, http.Response.StatusCode, hasLeft, context.Report.Elapsed);
        if (options.LogsRequests)
        {
            ServerLog.Answered(
                logger, http.Request.Method, route.Path, http.Response.StatusCode, context.Report.Elapsed.TotalMilliseconds,
                context.Report.TextCount, context.Report.TokenCount, context.Report.Model ?? "-", context.Key?.Name ?? "-", id, refusal ?? "-");
        }
    }

    /// <summary>Answers the request if its key lets it in.</summary>
    private async Task AnswerAsync(RequestContext context, KeyRing keys)
    {
        if (route.Access == RouteAccess.Everyone || keys.Identify(context.Http.Request) is not { } budget)
        {
            await route.Answer(context).ConfigureAwait(false);
            return;
        }

        context.Key = budget.Key;
        context.Http.Response.OnStarting(
            static state =>
            {
                var (response, budget) = ((HttpResponse, KeyBudget))state;
                SetLimitHeaders(response.Headers, "requests", budget.Requests);
                SetLimitHeaders(response.Headers, "tokens", budget.Tokens);
                return Task.CompletedTask;
            },
            (context.Http.Response, budget));
        budget.Enter();
        try
        {
            await route.Answer(context).ConfigureAwait(false);
        }
        finally
        {
            budget.Leave(context.Report.TokenCount);
        }
    }

    /// <summary>Sets the headers of OpenAI about a limit.</summary>
    private static void SetLimitHeaders(IHeaderDictionary headers, string unit, BudgetState? budget)
    {
        if (budget is { } state)
        {
            headers[$"x-ratelimit-limit-{unit}"] = state.Limit.ToString(CultureInfo.InvariantCulture);
            headers[$"x-ratelimit-remaining-{unit}"] = state.Remaining.ToString(CultureInfo.InvariantCulture);
            headers[$"x-ratelimit-reset-{unit}"] = FormatReset(state.Reset);
        }
    }

    /// <summary>Writes a time as OpenAI does, such as 120ms, 1s or 6m0s.</summary>
    private static string FormatReset(TimeSpan time) => time < TimeSpan.FromSeconds(1) ? string.Create(CultureInfo.InvariantCulture, $"{Math.Ceiling(time.TotalMilliseconds)}ms")
        : time < TimeSpan.FromMinutes(1) ? string.Create(CultureInfo.InvariantCulture, $"{Math.Ceiling(time.TotalSeconds)}s")
        : string.Create(CultureInfo.InvariantCulture, $"{(int)time.TotalMinutes}m{time.Seconds}s");

    /// <summary>Writes a refusal; ends the connection if the answer has begun already.</summary>
    private async Task RefuseAsync(RequestContext context, ServerError error, string id)
    {
        HttpContext http = context.Http;
        HttpResponse response = http.Response;
        if (response.HasStarted)
        {
            // The client sees a transfer that broke off, and not an answer with too few vectors.
            http.Abort();
            return;
        }

        if (!route.Protocol.Errors.TryGetValue(error.Kind, out ErrorShape shape))
        {
            throw new InvalidOperationException($"The protocol {route.Protocol.Name} has no shape for {error.Kind}.");
        }

        response.Clear();
        response.Headers[RequestIdHeader] = id;
        http.RequestServices.GetRequiredService<CrossOrigin>().SetHeaders(http);
        response.StatusCode = shape.Status;
        SetRetryHeaders(response.Headers, error);
        if (error.Allow is { } allow)
        {
            response.Headers.Allow = allow;
        }

        var buffer = new ArrayBufferWriter<byte>();
        using (var json = new Utf8JsonWriter(buffer))
        {
            route.Protocol.WriteError(json, error, shape);
        }

        response.ContentType = "application/json";
        response.ContentLength = buffer.WrittenCount;
        response.Headers["Server-Timing"] = string.Create(
            CultureInfo.InvariantCulture, $"refuse;dur={(context.Report.Elapsed - context.Report.ReadTime).TotalMilliseconds:0.###}");
        try
        {
            await response.Body.WriteAsync(buffer.WrittenMemory, http.RequestAborted).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            // The client left.
        }
    }

    /// <summary>
    /// Tells clients when to try again. Official clients of OpenAI retry each 408, 409, 429 and 5xx unless this header says false.
    /// </summary>
    private static void SetRetryHeaders(IHeaderDictionary headers, ServerError error)
    {
        if (error.RetryAfter is { } wait)
        {
            wait = wait > MaxRetryAfter ? MaxRetryAfter : wait;
            double milliseconds = Math.Max(1, Math.Ceiling(wait.TotalMilliseconds));
            headers["retry-after-ms"] = milliseconds.ToString(CultureInfo.InvariantCulture);
            headers.RetryAfter = Math.Ceiling(milliseconds / 1000).ToString(CultureInfo.InvariantCulture);
        }

        headers["x-should-retry"] = error.RetryAfter is null ? "false" : "true";
    }

    /// <summary>Returns the id that the client sent, if it is safe in a header and a log; a new one otherwise.</summary>
    private static string GetRequestId(HttpRequest request)
    {
        string given = request.Headers[RequestIdHeader].ToString();
        return given.Length is > 0 and <= MaxRequestIdLength && given.All(character => character is > ' ' and <= '~')
            ? given
            : $"req_{Guid.NewGuid():N}";
    }
}
