namespace StellaInterop.Bulk.Tests.Support;

/// <summary>A stream that gives only some bytes for each read, so that rows are read over the ends of blocks.</summary>
/// <param name="content">The bytes.</param>
/// <param name="mostBytes">The largest number of bytes for a read.</param>
/// <param name="canSeek">Whether the stream can seek.</param>
internal sealed class SlowStream(byte[] content, int mostBytes, bool canSeek = true) : MemoryStream(content)
{
    public bool IsDisposed { get; private set; }

    public override bool CanSeek => canSeek;

    public override int Read(byte[] buffer, int offset, int count) => base.Read(buffer, offset, Math.Min(count, mostBytes));

    public override int Read(Span<byte> buffer) => base.Read(buffer[..Math.Min(buffer.Length, mostBytes)]);

    protected override void Dispose(bool disposing)
    {
        IsDisposed = true;
        base.Dispose(disposing);
    }
}
