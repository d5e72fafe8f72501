namespace StellaInterop.Cli.Streams;

/// <summary>Represents a write to a stream whose reader has left.</summary>
internal sealed class BrokenPipeException() : IOException("Standard output no longer has a reader.");

/// <summary>Provides the base of streams that are write-only and do not buffer.</summary>
internal abstract class OutputStream : Stream
{
    public sealed override bool CanRead => false;

    public sealed override bool CanSeek => false;

    public sealed override bool CanWrite => true;

    public sealed override long Length => throw new NotSupportedException();

    public sealed override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    public sealed override void Write(byte[] buffer, int offset, int count) => Write(buffer.AsSpan(offset, count));

    public abstract override void Write(ReadOnlySpan<byte> buffer);

    public sealed override void Flush()
    {
    }

    public sealed override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public sealed override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public sealed override void SetLength(long value) => throw new NotSupportedException();
}

/// <summary>Represents a standard stream that was closed before the process started.</summary>
internal sealed class ClosedOutput : OutputStream
{
    // The message continues a sentence of ResultStream.
    public override void Write(ReadOnlySpan<byte> buffer) => throw new IOException("it was closed before the command started");
}
