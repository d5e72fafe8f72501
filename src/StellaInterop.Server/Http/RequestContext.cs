using System.Text.Json;
using Microsoft.AspNetCore.Http;
using StellaInterop.Server.Embedding;
using StellaInterop.Server.Errors;
using StellaInterop.Server.Fields;
using StellaInterop.Server.Keys;
using StellaInterop.Server.Models;

namespace StellaInterop.Server.Http;

/// <summary>One request on its way through a route. Disposes the body at its end. Not thread-safe.</summary>
internal sealed class RequestContext(HttpContext http, Protocol protocol, ModelRegistry models, RequestRoom room, StellaServerOptions options) : IDisposable
{
    /// <summary>The header with the fields that have no effect.</summary>
    public const string IgnoredHeader = "x-stella-ignored";

    private RequestBody? body;

    public HttpContext Http { get; } = http;

    public ModelRegistry Models { get; } = models;

    public RequestReport Report { get; } = new();

    /// <summary>Gets the room for buffers of all requests.</summary>
    public RequestRoom Room { get; } = room;

    /// <summary>Gets or sets the key of the request; <see langword="null"/> if the server has no keys.</summary>
    public ApiKey? Key { get; set; }

    /// <summary>Gets a token that is cancelled when the client leaves.</summary>
    public CancellationToken ClientLeft => Http.RequestAborted;

    /// <summary>Reads the body by a table of fields.</summary>
    /// <exception cref="ServerException">The body or a field is wrong.</exception>
    public async Task<T> ReadAsync<T>(FieldTable<T> fields)
        where T : FieldRequest, new()
    {
        var request = new T();
        fields.Read(request, await ReadBodyAsync().ConfigureAwait(false));
        Report.ParseTime = Report.Elapsed;
        if (request.Ignored.Count > 0)
        {
            Http.Response.Headers[IgnoredHeader] = string.Join(", ", request.Ignored);
        }

        return request;
    }

    /// <summary>Reads the body.</summary>
    /// <returns>The bytes, which are valid until the end of the request.</returns>
    /// <exception cref="ServerException">The content type is wrong, or the body cannot be read.</exception>
    public async ValueTask<ReadOnlyMemory<byte>> ReadBodyAsync()
    {
        if (body is null)
        {
            if (protocol.WantsJson && Http.Request.ContentType is { Length: > 0 } type && !Http.Request.HasJsonContentType())
            {
                throw new ServerException(
                    ErrorKind.UnsupportedMediaType, $"The content type is '{Printable.Line(type)}'; it must be application/json.");
            }

            body = await RequestBody.ReadAsync(Http.Request, options.MaxBodyBytes, Room, ClientLeft).ConfigureAwait(false);
            Report.ReadTime = Report.Elapsed;
        }

        return body.Bytes;
    }

    /// <summary>Embeds the texts of a request, and writes them in the shape of a protocol.</summary>
    public Task EmbedAsync(EmbedRequest request, IEmbeddingAnswer answer)
    {
        request.Priority = Key?.Priority ?? request.Priority;
        request.FairnessGroup = Key?.Name;
        return new EmbeddingRun(Models.Get(request.Model), request, answer, Http.Response, Report, Room).RunAsync(ClientLeft);
    }

    /// <summary>Writes a small answer.</summary>
    public async Task WriteAsync(Action<Utf8JsonWriter> write)
    {
        using AnswerWriter writer = await AnswerWriter.StartAsync(Http.Response, ClientLeft).ConfigureAwait(false);
        write(writer.Json);
        await writer.CompleteAsync().ConfigureAwait(false);
    }

    public void Dispose() => body?.Dispose();
}
