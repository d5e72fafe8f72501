using System.Runtime.InteropServices;

namespace StellaInterop.Cli.Streams;

/// <summary>Writes to a file descriptor. Each byte is written once, even if the descriptor is non-blocking.</summary>
internal sealed class UnixOutput(int descriptor) : OutputStream
{
    public override void Write(ReadOnlySpan<byte> buffer)
    {
        while (!buffer.IsEmpty)
        {
            int written = Posix.Write(descriptor, buffer);
            if (written >= 0)
            {
                buffer = buffer[written..];
                continue;
            }

            int error = Marshal.GetLastPInvokeError();
            if (error == Posix.BrokenPipe)
            {
                throw new BrokenPipeException();
            }

            UnixError.WaitOrThrow(error, () => Posix.WaitToWrite(descriptor));
        }
    }
}

/// <summary>Reads from a file descriptor. It waits for input, even if the descriptor is non-blocking.</summary>
internal sealed class UnixInput(int descriptor) : Stream
{
    public override bool CanRead => true;

    public override bool CanSeek => false;

    public override bool CanWrite => false;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    public override int Read(Span<byte> buffer)
    {
        while (true)
        {
            int read = Posix.Read(descriptor, buffer);
            if (read >= 0)
            {
                return read;
            }

            UnixError.WaitOrThrow(Marshal.GetLastPInvokeError(), () => Posix.WaitToRead(descriptor));
        }
    }

    public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

    public override void Flush()
    {
    }

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
}

/// <summary>Handles errors of read and write calls.</summary>
internal static class UnixError
{
    /// <summary>
    /// Returns if the call can be retried. For a descriptor that is not ready, it calls <paramref name="wait"/> before.
    /// </summary>
    /// <exception cref="IOException">The error is permanent.</exception>
    public static void WaitOrThrow(int error, Action wait)
    {
        if (error == Posix.WouldBlock)
        {
            wait();
        }
        else if (error != Posix.InterruptedCall)
        {
            throw new IOException(Marshal.GetPInvokeErrorMessage(error));
        }
    }
}
