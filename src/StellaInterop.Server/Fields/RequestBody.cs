using System.Buffers;
using System.IO.Compression;
using System.Text.Unicode;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using StellaInterop.Server.Errors;

namespace StellaInterop.Server.Fields;

/// <summary>The body of a request in one buffer, at most the limit of the server. Dispose it after the last use of its texts.</summary>
/// <remarks>The buffer grows with the bytes that arrive: a client that announces a large body and sends nothing costs little.</remarks>
internal sealed class RequestBody : IDisposable
{
    private const int FirstBufferBytes = 16 << 10;

    private readonly int limit;
    private readonly RequestRoom room;
    private byte[] buffer;
    private int capacity;
    private int length;

    private RequestBody(int limit, RequestRoom room)
    {
        this.limit = limit;
        this.room = room;
        capacity = Math.Min(FirstBufferBytes, limit);
        room.Take(capacity);
        buffer = ArrayPool<byte>.Shared.Rent(capacity);
    }

    /// <summary>Gets the size of the buffer. The pool may have given a larger one; the rest of it is not used.</summary>
    public int Capacity => capacity;

    /// <summary>Gets the bytes, which are valid UTF-8.</summary>
    public ReadOnlyMemory<byte> Bytes => buffer.AsMemory(0, length);

    /// <summary>Reads a body, and unpacks it if it is compressed.</summary>
    /// <param name="request">The request.</param>
    /// <param name="limit">The largest number of bytes, before and after it is unpacked.</param>
    /// <param name="room">The room for all bodies.</param>
    /// <param name="cancellationToken">A token that is cancelled when the client leaves.</param>
    /// <exception cref="ServerException">The body is too large, packed in an unknown way, damaged, or not UTF-8, or there is no room for it.</exception>
    public static async Task<RequestBody> ReadAsync(HttpRequest request, long limit, RequestRoom room, CancellationToken cancellationToken)
    {
        if (request.HttpContext.Features.Get<IHttpMaxRequestBodySizeFeature>() is { IsReadOnly: false } feature)
        {
            // The limit of this server replaces that of Kestrel, which counts the framing of chunks too.
            feature.MaxRequestBodySize = null;
        }

        if (request.ContentLength > limit)
        {
            throw TooLarge(limit);
        }

        using Stream? unpacked = Unpack(request);
        RequestBody? body = new((int)limit, room);
        try
        {
            await body.FillAsync(unpacked ?? request.Body, cancellationToken).ConfigureAwait(false);
            if (!Utf8.IsValid(body.Bytes.Span))
            {
                throw new ServerException(ErrorKind.MalformedBody, "The body is not valid UTF-8. Encode it as UTF-8.");
            }

            RequestBody complete = body;
            body = null;
            return complete;
        }
        catch (Exception e) when (unpacked is not null && e is InvalidDataException or InvalidOperationException)
        {
            throw new ServerException(
                new ServerError(ErrorKind.MalformedBody, $"The body is not valid {request.Headers.ContentEncoding}. Send it without compression."), e);
        }
        finally
        {
            body?.Dispose();
        }
    }

    public void Dispose()
    {
        if (buffer.Length > 0)
        {
            ArrayPool<byte>.Shared.Return(buffer);
            room.Return(capacity);
            (buffer, capacity, length) = ([], 0, 0);
        }
    }

    private async Task FillAsync(Stream source, CancellationToken cancellationToken)
    {
        byte[] next = new byte[1];
        while (true)
        {
            // A full buffer grows only for a further byte, so a body of exactly the limit needs no larger one.
            bool isFull = length == capacity;
            int read = await ReadAsync(source, isFull ? next : buffer.AsMemory(length, capacity - length), cancellationToken).ConfigureAwait(false);
            if (read == 0)
            {
                return;
            }

            if (isFull)
            {
                Grow();
                buffer[length] = next[0];
            }

            length += read;
        }
    }

    /// <summary>Doubles the buffer, up to the limit.</summary>
    private void Grow()
    {
        if (capacity == limit)
        {
            throw TooLarge(limit);
        }

        int grown = (int)Math.Min(capacity * 2L, limit);
        room.Take(grown - capacity);
        byte[] larger = ArrayPool<byte>.Shared.Rent(grown);
        buffer.AsSpan(0, length).CopyTo(larger);
        ArrayPool<byte>.Shared.Return(buffer);
        (buffer, capacity) = (larger, grown);
    }

    private static async ValueTask<int> ReadAsync(Stream source, Memory<byte> destination, CancellationToken cancellationToken)
    {
        try
        {
            return await source.ReadAsync(destination, cancellationToken).ConfigureAwait(false);
        }
        catch (IOException e) when (e is not (BadHttpRequestException or ConnectionResetException))
        {
            // A stream of HTTP/2 that the client has reset. HTTP/1.1 has a type for this.
            throw new ConnectionResetException("The client left.", e);
        }
    }

    private static Stream? Unpack(HttpRequest request)
    {
        string encoding = request.Headers.ContentEncoding.ToString();
#pragma warning disable CA1308 // The names are compared without regard to case, and nothing is written.
        return encoding.ToLowerInvariant() switch
#pragma warning restore CA1308
        {
            "" or "identity" => null,
            "gzip" or "x-gzip" => new GZipStream(request.Body, CompressionMode.Decompress, leaveOpen: true),
            "deflate" => new ZLibStream(request.Body, CompressionMode.Decompress, leaveOpen: true),
            "br" => new BrotliStream(request.Body, CompressionMode.Decompress, leaveOpen: true),
            _ => throw new ServerException(
                ErrorKind.UnsupportedMediaType, $"The content encoding '{Printable.Line(encoding)}' is not supported. Use gzip, deflate, br or none."),
        };
    }

    private static ServerException TooLarge(long limit) => new(
        ErrorKind.BodyTooLarge,
        $"The body exceeds the limit of {limit} bytes. Send fewer texts in a request, or raise {nameof(StellaServerOptions.MaxBodyBytes)} (stella serve --max-body-bytes).");
}
