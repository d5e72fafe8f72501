using Microsoft.Extensions.DependencyInjection;
using Orleans.Placement;
using Orleans.Runtime;
using Orleans.Storage;
using StellaInterop.Cluster.Membership;

namespace StellaInterop.Cluster.Tests.Membership;

[RandomPlacement]
internal sealed class TallyGrain([PersistentState("tally", ClusterConfiguration.StorageName)] IPersistentState<Tally> tally, ILocalSiloDetails silo)
    : Grain, ITallyGrain
{
    public async Task<int> AddAsync()
    {
        tally.State.Count++;
        await tally.WriteStateAsync();
        return tally.State.Count;
    }

    public async Task<bool> IsOldStateRefusedAsync()
    {
        string? old = tally.Etag;
        await AddAsync();
        await AddAsync();
        var storage = ServiceProvider.GetRequiredKeyedService<IGrainStorage>(ClusterConfiguration.StorageName);
        try
        {
            await storage.WriteStateAsync("tally", this.GetGrainId(), new GrainState<Tally>(new Tally(), old) { RecordExists = true });
            return false;
        }
        catch (InconsistentStateException)
        {
            return true;
        }
    }

    public async Task ClearAsync()
    {
        await tally.ClearStateAsync();
        DeactivateOnIdle();
    }

    public Task DeactivateAsync()
    {
        DeactivateOnIdle();
        return Task.CompletedTask;
    }

    public Task<string> FindSiloAsync() => Task.FromResult($"{silo.SiloAddress.Endpoint}");
}
