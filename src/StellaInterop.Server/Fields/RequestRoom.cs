using StellaInterop.Server.Errors;

namespace StellaInterop.Server.Fields;

/// <summary>Bounds the buffers of all requests at a time: bodies, and results that are in memory as a whole. Thread-safe.</summary>
/// <remarks>A request that finds no room is refused and never waits: requests that hold some and wait for more would block each other.</remarks>
internal sealed class RequestRoom(long limit)
{
    private readonly Lock gate = new();
    private long taken;

    /// <summary>Gets the bytes that are taken.</summary>
    public long Taken
    {
        get
        {
            lock (gate)
            {
                return taken;
            }
        }
    }

    /// <summary>Takes room for a buffer, or for the growth of one.</summary>
    /// <exception cref="ServerException">There is not enough room, now or ever.</exception>
    public void Take(long bytes)
    {
        if (bytes > limit)
        {
            throw new ServerException(
                ErrorKind.BodyTooLarge,
                $"The answer takes {bytes} bytes of memory, and all requests together have {limit}. Send fewer or shorter texts, or raise {nameof(StellaServerOptions.MaxBufferedBytes)} (stella serve --max-buffered-bytes).");
        }

        lock (gate)
        {
            if (taken + bytes > limit)
            {
                throw new ServerException(new ServerError(
                    ErrorKind.Overloaded, $"The server is at its limit: requests with {taken} of {limit} bytes are in memory. Try again later.")
                {
                    RetryAfter = TimeSpan.FromSeconds(1),
                });
            }

            taken += bytes;
        }
    }

    /// <summary>Gives room back.</summary>
    public void Return(long bytes)
    {
        lock (gate)
        {
            taken -= bytes;
        }
    }
}
