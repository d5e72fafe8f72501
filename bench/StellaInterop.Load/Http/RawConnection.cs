using System.Buffers.Text;
using System.Net;
using System.Net.Sockets;

namespace StellaInterop.Load.Http;

/// <summary>
/// A connection of HTTP/1.1 that costs little besides its system calls, so that a measurement shows the server and not its client. It sends
/// bytes as they are, and reads an answer to its end. Not thread-safe.
/// </summary>
internal sealed class RawConnection : IDisposable
{
    private const int StatusStart = 9;
    private const int StatusLength = 3;

    private readonly Socket socket = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
    private byte[] buffer = new byte[32 << 10];

    private static ReadOnlySpan<byte> HeadEnd => "\r\n\r\n"u8;

    private static ReadOnlySpan<byte> LengthHeader => "\r\nContent-Length: "u8;

    private static ReadOnlySpan<byte> LastChunk => "\r\n0\r\n\r\n"u8;

    /// <summary>Opens a connection.</summary>
    public static async Task<RawConnection> OpenAsync(IPEndPoint address, CancellationToken cancellationToken)
    {
        var connection = new RawConnection();
        await connection.socket.ConnectAsync(address, cancellationToken).ConfigureAwait(false);
        return connection;
    }

    /// <summary>Sends a request and reads its answer.</summary>
    /// <exception cref="SocketException">The connection broke.</exception>
    /// <exception cref="IOException">The connection ended before the end of the answer.</exception>
    public async ValueTask<RawAnswer> SendAsync(ReadOnlyMemory<byte> request, CancellationToken cancellationToken)
    {
        for (int sent = 0; sent < request.Length;)
        {
            sent += await socket.SendAsync(request[sent..], SocketFlags.None, cancellationToken).ConfigureAwait(false);
        }

        int length = 0;
        int head = -1;
        while (true)
        {
            if (length == buffer.Length)
            {
                Array.Resize(ref buffer, buffer.Length * 2);
            }

            int read = await socket.ReceiveAsync(buffer.AsMemory(length), SocketFlags.None, cancellationToken).ConfigureAwait(false);
            if (read == 0)
            {
                throw new IOException($"The server ended the connection after {length} bytes of an answer.");
            }

            length += read;
            if (head < 0 && buffer.AsSpan(0, length).IndexOf(HeadEnd) is >= 0 and var end)
            {
                head = end + HeadEnd.Length;
            }

            if (head >= 0 && IsComplete(buffer.AsSpan(0, length), head))
            {
                _ = Utf8Parser.TryParse(buffer.AsSpan(StatusStart, StatusLength), out int status, out _);
                return new RawAnswer(status, buffer.AsMemory(0, head), buffer.AsMemory(head, length - head));
            }
        }
    }

    public void Dispose() => socket.Dispose();

    /// <summary>Returns whether an answer has all of its length, or its last chunk: the JSON of an answer has no line break.</summary>
    private static bool IsComplete(ReadOnlySpan<byte> answer, int head)
    {
        int header = answer[..head].IndexOf(LengthHeader);
        if (header < 0)
        {
            return answer.EndsWith(LastChunk);
        }

        _ = Utf8Parser.TryParse(answer[(header + LengthHeader.Length)..], out int length, out _);
        return answer.Length - head >= length;
    }
}
