using System.Collections.Concurrent;

namespace StellaInterop.Cli.Streams;

/// <summary>
/// Reads a stream on a thread of its own, so that the consumer can tell whether more input is there now. It reads ahead by a few
/// blocks, however fast the producer is.
/// </summary>
internal sealed class ReadAhead : IDisposable
{
    private const int BlockBytes = 64 << 10;
    private const int MaxBlocks = 4;

#pragma warning disable CA2213 // The thread uses them, and may outlive this object: it cannot be taken out of a read.
    private readonly Stream stream;
    private readonly BlockingCollection<ReadOnlyMemory<byte>> blocks = new(MaxBlocks);
    private readonly CancellationTokenSource disposed = new();
#pragma warning restore CA2213
    private Exception? error;

    /// <summary>Takes over <paramref name="stream"/>, and starts to read.</summary>
    public ReadAhead(Stream stream)
    {
        this.stream = stream;
        new Thread(Read) { IsBackground = true, Name = "stella input" }.Start();
    }

    /// <summary>Whether <see cref="Next"/> returns at once.</summary>
    public bool IsReady => blocks.Count > 0 || blocks.IsCompleted;

    /// <summary>Waits for the next block.</summary>
    /// <returns>No bytes at the end.</returns>
    /// <exception cref="IOException">The stream cannot be read.</exception>
    /// <exception cref="UnauthorizedAccessException">The stream may not be read, or is a folder.</exception>
    public ReadOnlyMemory<byte> Next(CancellationToken cancellationToken)
    {
        if (blocks.TryTake(out ReadOnlyMemory<byte> block, Timeout.Infinite, cancellationToken))
        {
            return block;
        }

        return error is null ? default : throw error;
    }

    /// <summary>Stops the thread. If it waits for input, it ends with the process.</summary>
    public void Dispose() => disposed.Cancel();

    private void Read()
    {
        try
        {
            using (stream)
            {
                while (true)
                {
                    byte[] buffer = new byte[BlockBytes];
                    int read = stream.Read(buffer);
                    if (read == 0)
                    {
                        break;
                    }

                    blocks.Add(buffer.AsMemory(0, read), disposed.Token);
                }
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            error = e;
        }
        catch (OperationCanceledException)
        {
            // Nobody wants the rest.
        }
        finally
        {
            blocks.CompleteAdding();
        }
    }
}
