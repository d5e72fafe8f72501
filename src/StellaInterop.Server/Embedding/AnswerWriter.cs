using System.IO.Pipelines;
using System.Text.Json;
using Microsoft.AspNetCore.Http;

namespace StellaInterop.Server.Embedding;

/// <summary>Writes JSON to a response part by part, so that the answer is never in memory as a whole. Not thread-safe.</summary>
internal sealed class AnswerWriter : IDisposable
{
    /// <summary>The number of bytes after which the client gets a part.</summary>
    private const int PartBytes = 32 << 10;

    private readonly PipeWriter pipe;
    private readonly CancellationToken cancellationToken;
    private long sentBytes;

    private AnswerWriter(PipeWriter pipe, CancellationToken cancellationToken)
    {
        this.pipe = pipe;
        Json = new Utf8JsonWriter(pipe);
        this.cancellationToken = cancellationToken;
    }

    public Utf8JsonWriter Json { get; }

    /// <summary>Starts an answer. From here on a refusal is impossible: its text would follow the beginning of the answer.</summary>
    /// <param name="response">The response with all of its headers.</param>
    /// <param name="cancellationToken">A token that is cancelled when the client leaves.</param>
    public static async Task<AnswerWriter> StartAsync(HttpResponse response, CancellationToken cancellationToken)
    {
        response.ContentType = "application/json";
        await response.StartAsync(cancellationToken).ConfigureAwait(false);
        return new AnswerWriter(response.BodyWriter, cancellationToken);
    }

    /// <summary>Sends what is written if it is enough for a part. Waits for a client that reads slowly.</summary>
    public ValueTask SendPartAsync() => Json.BytesCommitted + Json.BytesPending - sentBytes >= PartBytes ? SendAsync() : default;

    /// <summary>Sends the rest. The answer is complete then.</summary>
    public async ValueTask CompleteAsync() => await SendAsync().ConfigureAwait(false);

    /// <summary>Frees the writer. The rest is not sent, because an answer that failed must not look complete.</summary>
    public void Dispose()
    {
        Json.Reset(Stream.Null);
        Json.Dispose();
    }

    private async ValueTask SendAsync()
    {
        await Json.FlushAsync(cancellationToken).ConfigureAwait(false);
        sentBytes = Json.BytesCommitted;
        FlushResult result = await pipe.FlushAsync(cancellationToken).ConfigureAwait(false);
        if (result.IsCompleted || result.IsCanceled)
        {
            throw new OperationCanceledException("The client left.");
        }
    }
}
