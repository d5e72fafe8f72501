using System.Reflection;
using System.Security.Cryptography.X509Certificates;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Orleans.Dashboard;
using StellaInterop.Cli.Errors;
using StellaInterop.Cli.Loading;
using StellaInterop.Cli.Serving;
using StellaInterop.Cli.Streams;
using StellaInterop.Cli.Terminal;
using StellaInterop.Cluster.Errors;
using StellaInterop.Cluster.Membership;
using StellaInterop.Cluster.Nodes;
using StellaInterop.Server.Keys;

namespace StellaInterop.Cli.Clusters;

/// <summary>Runs <c>stella node</c>: a node of a cluster, which starts again by itself when the others have taken it for dead.</summary>
internal sealed class NodeProgram
{
    /// <summary>The time before a node starts again.</summary>
    private static readonly TimeSpan RestartTime = TimeSpan.FromSeconds(5);

    /// <summary>The time for the end of a node that the others have taken for dead, so that nobody waits for it.</summary>
    private static readonly TimeSpan AbandonTime = TimeSpan.FromSeconds(5);

    private readonly NodeSettings settings;
    private readonly StellaEmbeddingPool pool;
    private readonly string level;
    private readonly ClusterAddress address;
    private readonly ClusterTls? tls;
    private readonly NodeAddress? advertised;
    private readonly string[] urls;
    private readonly KeyLookup? keys;
    private bool wasReady;

    private NodeProgram(NodeSettings settings, NodePlace place, StellaEmbeddingPool pool, string level)
    {
        (this.settings, this.pool, this.level) = (settings, pool, level);
        (address, tls, advertised, urls, keys) = place;
    }

    /// <summary>The addresses and keys of the options, which are checked before a model is loaded.</summary>
    private sealed record NodePlace(ClusterAddress Address, ClusterTls? Tls, NodeAddress? Advertised, string[] Urls, KeyLookup? Keys);

    /// <summary>Runs a node until the token is cancelled.</summary>
    /// <returns>The exit code.</returns>
    public static async Task<int> RunAsync(NodeSettings settings, CancellationToken cancellationToken)
    {
        NodePlace place = Check(settings);
        if (settings.Level is { } given)
        {
            ProcessorLevel.Set(given);
        }

        StellaEmbeddingPool pool = settings.CreatePool(ConsoleOutput.WriteMessage);
        await using (pool.ConfigureAwait(false))
        {
            try
            {
                StellaModelInfo info = await pool.WarmUpAsync(cancellationToken).ConfigureAwait(false);
                if (settings.Level is { } wanted)
                {
                    ProcessorLevel.Check(wanted, info.CpuLevel);
                }

                await new NodeProgram(settings, place, pool, ProcessorLevel.NameOf(info.CpuLevel)).RunAsync(cancellationToken).ConfigureAwait(false);
            }
            catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
            {
                // The node was stopped while it started.
            }
        }

        return (int)ExitCode.Success;
    }

    private static NodePlace Check(NodeSettings settings)
    {
        if (settings.Urls is null && (settings.KeyFile is not null || settings.HasDashboard))
        {
            throw new CliException(ExitCode.Usage, $"{(settings.HasDashboard ? "--dashboard" : "--keys")} is for the pages of the node, and it has none. Give --urls URL, such as --urls {ServeSettings.DefaultUrl}.");
        }

        if (settings.HasDashboard && settings.KeyFile is null)
        {
            throw new CliException(ExitCode.Usage, "The dashboard shows the state of all nodes, so it needs keys. Make one by `stella keys add NAME --keys FILE`, and give --keys FILE.");
        }

        string[] urls = settings.Urls is null ? []
            : ListenAddresses.Parse(settings.Urls, settings.KeyFile is not null, settings.IsInsecure, settings.Cluster.Certificate is not null, out _);
        return new NodePlace(
            ClusterConnection.AddressOf(settings.Cluster),
            ClusterConnection.TlsOf(settings.Cluster),
            settings.Advertised is null ? null : ClusterConnection.Usage(() => NodeAddress.Parse(settings.Advertised)),
            urls,
            settings.KeyFile is null ? null : LoadKeys(settings.KeyFile));
    }

    private static KeyLookup LoadKeys(string file)
    {
        try
        {
            return new KeyLookup(file, TimeProvider.System) { Broken = error => ConsoleOutput.WriteMessage($"{error.Message} The keys before stay valid.") };
        }
        catch (InvalidDataException e)
        {
            throw new CliException(ExitCode.Other, e.Message);
        }
    }

    /// <summary>Runs the node again and again. Its first start must succeed.</summary>
    private async Task RunAsync(CancellationToken cancellationToken)
    {
        while (!cancellationToken.IsCancellationRequested)
        {
            string reason;
            try
            {
                reason = await RunOnceAsync(cancellationToken).ConfigureAwait(false);
            }
            catch (ClusterException e) when (!wasReady)
            {
                throw ClusterConnection.Refusal(e);
            }
            catch (Exception e) when (wasReady && !cancellationToken.IsCancellationRequested)
            {
                reason = Printable.Line(e.Message.TrimEnd('.'));
            }

            ConsoleOutput.WriteMessage($"The node has left the cluster: {reason}. It starts again in {RestartTime.TotalSeconds:F0} seconds.");
            await Task.Delay(RestartTime, cancellationToken).ConfigureAwait(false);
        }
    }

    /// <returns>The reason for which the node must start again.</returns>
    private async Task<string> RunOnceAsync(CancellationToken cancellationToken)
    {
        await ClusterTables.CreateAsync(address, cancellationToken).ConfigureAwait(false);
        using SiloPorts ports = await SiloPorts.ClaimAsync(address, advertised, cancellationToken).ConfigureAwait(false);
        var watch = new NodeWatch();
        IHost host = Build(ports.Endpoints, watch);
        bool isAbandoned = false;
        try
        {
            await StartAsync(host, cancellationToken).ConfigureAwait(false);
            PrintReady(ports.Endpoints, host);
            string reason = await watch.WaitAsync(host.Services, address, cancellationToken).ConfigureAwait(false);
            isAbandoned = true;
            return reason;
        }
        finally
        {
            await StopAsync(host, isAbandoned).ConfigureAwait(false);
        }
    }

    private static async Task StartAsync(IHost host, CancellationToken cancellationToken)
    {
        try
        {
            await host.StartAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (IOException e) when (e.InnerException is AddressInUseException)
        {
            throw new CliException(ExitCode.Other, $"{e.Message.TrimEnd('.')}. Stop the other program, or choose another address by --urls.");
        }
        catch (Exception e) when (e is OrleansException or TimeoutException)
        {
            throw new ClusterException($"The node cannot join the cluster: {e.GetBaseException().Message.TrimEnd('.')}. See that the other nodes are reached and have the same certificates.", e);
        }
    }

    private static async Task StopAsync(IHost host, bool isAbandoned)
    {
        using var time = new CancellationTokenSource();
        if (isAbandoned)
        {
            time.CancelAfter(AbandonTime);
        }

        try
        {
            await host.StopAsync(time.Token).ConfigureAwait(false);
        }
#pragma warning disable CA1031 // The database or the other nodes may be away in any way. The others notice by themselves that the node is gone.
        catch (Exception e)
#pragma warning restore CA1031
        {
            ConsoleOutput.WriteMessage($"The node could not say that it leaves: {Printable.Line(e.GetBaseException().Message)}");
        }
        finally
        {
            await ((IAsyncDisposable)host).DisposeAsync().ConfigureAwait(false);
        }
    }

    private IHost Build(NodeEndpoints endpoints, NodeWatch watch)
    {
        if (urls.Length == 0)
        {
            HostApplicationBuilder plain = Host.CreateEmptyApplicationBuilder(null);
            Configure(plain, endpoints, watch);
            return plain.Build();
        }

        // The empty builder reads no files of the working directory.
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions { ApplicationName = "stella" });
        Configure(builder, endpoints, watch);
        _ = builder.Services.AddRouting();
        _ = builder.WebHost.UseKestrelCore().ConfigureKestrel(kestrel => kestrel.AddServerHeader = false).UseUrls(urls);
        if (settings.Cluster is { Certificate: { } file, CertificateKey: var key })
        {
#pragma warning disable CA2000 // The certificate lives as long as the pages.
            X509Certificate2 certificate = ServerCertificate.Load(file, key, password: null);
#pragma warning restore CA2000
            X509Certificate2Collection chain = ServerCertificate.LoadChain(file, password: null);
            _ = builder.WebHost.UseKestrelHttpsConfiguration().ConfigureKestrel(kestrel => kestrel.ConfigureHttpsDefaults(
                https => (https.ServerCertificate, https.ServerCertificateChain) = (certificate, chain)));
        }

        WebApplication application = builder.Build();
        NodePages.Map(application, keys, settings.HasDashboard);
        return application;
    }

    private void Configure(IHostApplicationBuilder builder, NodeEndpoints endpoints, NodeWatch watch)
    {
        _ = builder.Services.AddSingleton<IFatalErrorHandler>(watch).AddSingleton<IHostLifetime>(new NoLifetime());
        ServerLogging.Add(builder.Logging, settings.Verbosity);
        if (settings.Verbosity != Verbosity.Debug)
        {
            // Orleans and its libraries report each node that they do not reach, and the membership deals with it. A call that fails tells its caller.
            _ = builder.Logging
                .AddFilter((category, level) => level >= (category?.StartsWith("StellaInterop", StringComparison.Ordinal) == true ? LogLevel.Information : LogLevel.Error))
                .AddFilter("Orleans.Messaging", LogLevel.Critical);
        }

        string version = typeof(NodeProgram).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()!.InformationalVersion;
        _ = builder.UseOrleans(silo =>
        {
            ClusterConfiguration.ConfigureNode(silo, address, endpoints, tls);
            _ = silo.AddNode(NodeOptions.Of(pool, settings.ModelName, level, version));
            // The dashboard of one node asks all nodes, so each of them must answer.
            _ = silo.AddDashboard(options => options.HideTrace = true);
        });
    }

    private void PrintReady(NodeEndpoints endpoints, IHost host)
    {
        string node = $"The node {endpoints.Advertised}:{endpoints.SiloPort} of the cluster at {address} is ready: {settings.ModelName}, {level}.";
        string pages = host is WebApplication application
            ? $" {string.Join(", ", application.Urls)} has {NodePages.JobsPath}{(settings.HasDashboard ? $" and {NodePages.DashboardPath}/" : "")}."
            : "";
        wasReady = true;
        try
        {
            ConsoleOutput.WriteResult(node + pages);
        }
        catch (BrokenPipeException)
        {
            // A node outlives the reader of its output.
        }
    }
}
