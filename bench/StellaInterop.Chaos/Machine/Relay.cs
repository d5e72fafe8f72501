using System.Net;
using System.Net.Sockets;

namespace StellaInterop.Chaos.Machine;

/// <summary>
/// Passes the connections of one node on to PostgreSQL, which listens on another network. While the node is cut off or PostgreSQL is held,
/// the relay keeps all connections and passes nothing on, as a network that lost its packets.
/// </summary>
internal sealed class Relay : IAsyncDisposable
{
    private const int BufferBytes = 16 << 10;
    private static readonly TimeSpan HoldInterval = TimeSpan.FromMilliseconds(50);

    private readonly TcpListener listener;
    private readonly string host;
    private readonly int port;
    private readonly CancellationTokenSource ending = new();
    private readonly Task accepting;
    private volatile bool isNodeCut;
    private volatile bool isPostgresHeld;

    /// <param name="listen">The address to listen on, at a free port.</param>
    /// <param name="host">The host of PostgreSQL.</param>
    /// <param name="port">The port of PostgreSQL.</param>
    public Relay(IPAddress listen, string host, int port)
    {
        (this.host, this.port) = (host, port);
        listener = new TcpListener(listen, 0);
        listener.Start();
        Address = (IPEndPoint)listener.LocalEndpoint;
        accepting = AcceptAsync();
    }

    public IPEndPoint Address { get; }

    /// <summary>Gets or sets whether the node is cut off.</summary>
    public bool IsNodeCut
    {
        get => isNodeCut;
        set => isNodeCut = value;
    }

    /// <summary>Gets or sets whether PostgreSQL is out of reach for all nodes.</summary>
    public bool IsPostgresHeld
    {
        get => isPostgresHeld;
        set => isPostgresHeld = value;
    }

    public async ValueTask DisposeAsync()
    {
        await ending.CancelAsync().ConfigureAwait(false);
        listener.Dispose();
        await accepting.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        ending.Dispose();
    }

    private async Task AcceptAsync()
    {
        while (true)
        {
            TcpClient near = await listener.AcceptTcpClientAsync(ending.Token).ConfigureAwait(false);
            _ = PassAsync(near);
        }
    }

    private async Task PassAsync(TcpClient near)
    {
        using (near)
        using (var far = new TcpClient())
        using (var both = CancellationTokenSource.CreateLinkedTokenSource(ending.Token))
        {
            try
            {
                await far.ConnectAsync(host, port, both.Token).ConfigureAwait(false);
                await Task.WhenAny(CopyAsync(near, far, both.Token), CopyAsync(far, near, both.Token)).ConfigureAwait(false);
                await both.CancelAsync().ConfigureAwait(false);
            }
            catch (Exception e) when (e is SocketException or OperationCanceledException)
            {
                // PostgreSQL is stopped, or the run ends. The node sees a closed connection.
            }
        }
    }

    private async Task CopyAsync(TcpClient from, TcpClient to, CancellationToken cancellationToken)
    {
        byte[] buffer = new byte[BufferBytes];
        while (await from.GetStream().ReadAsync(buffer, cancellationToken).ConfigureAwait(false) is > 0 and var count)
        {
            while (isNodeCut || isPostgresHeld)
            {
                await Task.Delay(HoldInterval, cancellationToken).ConfigureAwait(false);
            }

            await to.GetStream().WriteAsync(buffer.AsMemory(0, count), cancellationToken).ConfigureAwait(false);
        }
    }
}
