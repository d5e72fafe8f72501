using System.Collections.Concurrent;

namespace StellaInterop.Cli.Streams;

/// <summary>
/// Reads a stream on a background thread, so that the consumer can check whether more input has already arrived. It reads at most a
/// few blocks ahead, even if the producer is fast.
/// </summary>
internal sealed class ReadAhead : IDisposable
{
    private const int BlockBytes = 64 << 10;
    private const int MaxBlocks = 4;

#pragma warning disable CA2213 // The thread uses them and may outlive this object, because a read cannot be interrupted.
    private readonly Stream stream;
    private readonly BlockingCollection<ReadOnlyMemory<byte>> blocks = new(MaxBlocks);
    private readonly CancellationTokenSource disposed = new();
#pragma warning restore CA2213
    private Exception? error;

    /// <summary>Takes ownership of <paramref name="stream"/> and starts to read.</summary>
    public ReadAhead(Stream stream)
    {
        this.stream = stream;
        new Thread(Read) { IsBackground = true, Name = "stella input" }.Start();
    }

    /// <summary>Gets whether <see cref="Next"/> returns without waiting.</summary>
    public bool IsReady => blocks.Count > 0 || blocks.IsCompleted;

    /// <summary>Waits for the next block.</summary>
    /// <returns>The block, which is empty at the end of the stream.</returns>
    /// <exception cref="IOException">The stream cannot be read.</exception>
    /// <exception cref="UnauthorizedAccessException">The file cannot be read for lack of permission, or is a folder.</exception>
    public ReadOnlyMemory<byte> Next(CancellationToken cancellationToken)
    {
        if (blocks.TryTake(out ReadOnlyMemory<byte> block, Timeout.Infinite, cancellationToken))
        {
            return block;
        }

        return error is null ? default : throw error;
    }

    /// <summary>Stops the thread. A thread that waits for input ends with the process.</summary>
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
            // The consumer was disposed and does not need the rest.
        }
        finally
        {
            blocks.CompleteAdding();
        }
    }
}
