using System.Globalization;
using System.Net;

namespace StellaInterop.Chaos.Machine;

/// <summary>
/// A network of this run: a bridge, and for each node a network namespace with an address of its own. A node whose cable is off the bridge
/// reaches nobody and is reached by nobody, and no connection is closed, as if a switch had failed.
/// </summary>
internal sealed class NodeNetwork : IAsyncDisposable
{
    /// <summary>
    /// The begin of all names, before the id of the process. A name of an interface has at most 15 characters: these, seven digits, and two for a node.
    /// </summary>
    private const string Prefix = "schaos";

    private const string NamespaceFolder = "/run/netns";
    private const string InterfaceFolder = "/sys/class/net";

    private readonly string name;
    private readonly string subnet;

    private NodeNetwork(int process)
    {
        name = string.Create(CultureInfo.InvariantCulture, $"{Prefix}{process}");
        subnet = string.Create(CultureInfo.InvariantCulture, $"10.213.{process % 256}");
        HostAddress = IPAddress.Parse($"{subnet}.1");
    }

    /// <summary>Gets the address of this process in the network.</summary>
    public IPAddress HostAddress { get; }

    /// <summary>Creates the network.</summary>
    /// <returns><see langword="null"/> if this process may not, which needs root.</returns>
    public static async Task<NodeNetwork?> TryCreateAsync()
    {
        await RemoveLeftoversAsync().ConfigureAwait(false);
        var network = new NodeNetwork(Environment.ProcessId);
        if (await Shell.TryAsync("ip", "link", "add", network.name, "type", "bridge").ConfigureAwait(false)
            && await Shell.TryAsync("ip", "address", "add", $"{network.HostAddress}/24", "dev", network.name).ConfigureAwait(false)
            && await Shell.TryAsync("ip", "link", "set", network.name, "up").ConfigureAwait(false)
            && await Shell.TryAsync("ip", "netns", "add", network.NamespaceOf(0)).ConfigureAwait(false)
            && await Shell.TryAsync("ip", "netns", "delete", network.NamespaceOf(0)).ConfigureAwait(false))
        {
            return network;
        }

        await network.DisposeAsync().ConfigureAwait(false);
        return null;
    }

    /// <summary>Adds the namespace of a node.</summary>
    /// <param name="node">The number of the node, from 1.</param>
    /// <returns>The address of the node.</returns>
    public async Task<IPAddress> AddAsync(int node)
    {
        string inside = NamespaceOf(node);
        IPAddress address = IPAddress.Parse(string.Create(CultureInfo.InvariantCulture, $"{subnet}.{10 + node}"));
        _ = await Shell.RunAsync("ip", "netns", "add", inside).ConfigureAwait(false);
        _ = await Shell.RunAsync("ip", "link", "add", inside, "type", "veth", "peer", "name", "eth0", "netns", inside).ConfigureAwait(false);
        _ = await Shell.RunAsync("ip", "link", "set", inside, "master", name, "up").ConfigureAwait(false);
        _ = await Shell.RunAsync("ip", "-n", inside, "address", "add", $"{address}/24", "dev", "eth0").ConfigureAwait(false);
        _ = await Shell.RunAsync("ip", "-n", inside, "link", "set", "eth0", "up").ConfigureAwait(false);
        _ = await Shell.RunAsync("ip", "-n", inside, "link", "set", "lo", "up").ConfigureAwait(false);
        return address;
    }

    /// <summary>Returns the command that runs another one as the same process in the namespace of a node.</summary>
    public IEnumerable<string> CommandIn(int node) => ["nsenter", $"--net={NamespaceFolder}/{NamespaceOf(node)}"];

    public Task CutAsync(int node) => Shell.RunAsync("ip", "link", "set", NamespaceOf(node), "nomaster");

    public Task MendAsync(int node) => Shell.RunAsync("ip", "link", "set", NamespaceOf(node), "master", name);

    /// <summary>Returns the ids of the processes in the namespaces.</summary>
    public async Task<IReadOnlyList<int>> ProcessesAsync()
    {
        var ids = new List<int>();
        foreach (string inside in Names(NamespaceFolder, $"{name}n*"))
        {
            ids.AddRange(IdsOf(await Shell.RunAsync("ip", "netns", "pids", inside).ConfigureAwait(false)));
        }

        return ids;
    }

    public async ValueTask DisposeAsync() => await RemoveAsync(name).ConfigureAwait(false);

    /// <summary>Removes the networks of runs that were killed.</summary>
    private static async Task RemoveLeftoversAsync()
    {
        // A run that was killed early left a bridge and no namespace.
        IEnumerable<string> owners = Names(NamespaceFolder, $"{Prefix}*").Concat(Names(InterfaceFolder, $"{Prefix}*"))
            .Select(name => name[Prefix.Length..].Split('n')[0])
            .Where(owner => int.TryParse(owner, NumberStyles.None, CultureInfo.InvariantCulture, out _) && !Directory.Exists($"/proc/{owner}"))
            .Distinct();
        foreach (string owner in owners.ToArray())
        {
            await RemoveAsync(Prefix + owner).ConfigureAwait(false);
        }
    }

    private static async Task RemoveAsync(string name)
    {
        foreach (string inside in Names(NamespaceFolder, $"{name}n*"))
        {
            foreach (int process in IdsOf(await Shell.TryReadAsync("ip", "netns", "pids", inside).ConfigureAwait(false) ?? ""))
            {
                _ = await Shell.SignalAsync(process, "KILL").ConfigureAwait(false);
            }

            _ = await Shell.TryAsync("ip", "netns", "delete", inside).ConfigureAwait(false);
        }

        foreach (string link in Names(InterfaceFolder, $"{name}n*").Append(name))
        {
            _ = await Shell.TryAsync("ip", "link", "delete", link).ConfigureAwait(false);
        }
    }

    private static string[] Names(string folder, string pattern) =>
        Directory.Exists(folder) ? [.. Directory.EnumerateFileSystemEntries(folder, pattern).Select(entry => Path.GetFileName(entry))] : [];

    private static IEnumerable<int> IdsOf(string lines) =>
        lines.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => int.Parse(line, CultureInfo.InvariantCulture));

    /// <summary>Returns the name of a namespace, which is also that of its cable.</summary>
    private string NamespaceOf(int node) => string.Create(CultureInfo.InvariantCulture, $"{name}n{node}");
}
