namespace StellaInterop.Cli.Streams;

/// <summary>Nobody reads standard output any more.</summary>
internal sealed class BrokenPipeException() : IOException("standard output has no reader any more");

/// <summary>A stream that can only be written to, and that has no buffer of its own.</summary>
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

/// <summary>A destination that the process was started without.</summary>
internal sealed class ClosedOutput : OutputStream
{
    public override void Write(ReadOnlySpan<byte> buffer) => throw new IOException("it was closed before the command started");
}
