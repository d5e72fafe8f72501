using StellaInterop.Server.Errors;

namespace StellaInterop.Server.Fields;

/// <summary>Bounds the buffers of all bodies that the server has at a time. Thread-safe.</summary>
/// <remarks>A request that finds no room is refused and never waits: requests that hold some and wait for more would block each other.</remarks>
internal sealed class BodyRoom(long limit)
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
    /// <exception cref="ServerException">There is not enough room.</exception>
    public void Take(int bytes)
    {
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
    public void Return(int bytes)
    {
        lock (gate)
        {
            taken -= bytes;
        }
    }
}
