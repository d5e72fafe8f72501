using System.Net;
using Microsoft.Extensions.Logging;
using Orleans.Runtime;
using StellaInterop.Cluster.Nodes;
using StellaInterop.Scale.Silos;

namespace StellaInterop.Scale.Workers;

/// <summary>Represents a worker of a simulated node. It is the worker of a node as shipped, without a silo and a model of its own.</summary>
internal sealed class SimulatedWorker : IAsyncDisposable
{
    private const int Port = 11111;
    private const int MachinesOfNetwork = 250;

    private readonly SimulatedLocation location;
    private readonly WorkerLog log = new();
    private readonly CallMeter calls;
    private readonly NodeWorker worker;

    /// <param name="machine">The number of its machine.</param>
    /// <param name="start">The number of its start on that machine, which varies its times.</param>
    /// <param name="options">The simulation.</param>
    /// <param name="grains">Its way to the grains.</param>
    /// <param name="calls">Stops its calls when it is lost.</param>
    public SimulatedWorker(int machine, int start, SimulationOptions options, IGrainFactory grains, CallMeter calls)
    {
        this.calls = calls;
        location = new SimulatedLocation(SiloAddress.New(new IPEndPoint(AddressOf(machine), Port), SiloAddress.AllocateNewGeneration()));
        var random = new Random(unchecked((((options.Seed * 7919) + machine) * 7919) + start));
        var embedder = new SimulatedEmbedder(options.WorkTime, random, Life);
        worker = new NodeWorker(grains, location, SimulatedNodes.OptionsOf(location.DnsHostName, embedder), log);
    }

    public WorkerLife Life { get; } = new();

    public Task StartAsync() => worker.StartAsync(CancellationToken.None);

    /// <summary>Writes no more warnings of the worker.</summary>
    public void Mute() => log.IsMuted = true;

    /// <summary>Ends the worker without a word. Its leases are not given back, and the membership does not learn of it.</summary>
    public Task LoseAsync()
    {
        Life.Finish();
        Mute();
        calls.Lose(location.SiloAddress.ToParsableString());
        return worker.StopAsync(CancellationToken.None);
    }

    public async ValueTask DisposeAsync()
    {
        Mute();
        await worker.StopAsync(CancellationToken.None).ConfigureAwait(false);
        worker.Dispose();
    }

    private static IPAddress AddressOf(int machine) => new([10, 0, (byte)(machine / MachinesOfNetwork), (byte)((machine % MachinesOfNetwork) + 1)]);

    private sealed class WorkerLog : ProgressLog, ILogger<NodeWorker>;

    private sealed class SimulatedLocation(SiloAddress address) : ILocalSiloDetails
    {
        public string Name => address.ToString();

        public string ClusterId => "stella";

        public string DnsHostName => address.Endpoint.Address.ToString();

        public SiloAddress SiloAddress => address;

        public SiloAddress GatewayAddress => address;
    }
}
