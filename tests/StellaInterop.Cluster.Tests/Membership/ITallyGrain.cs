namespace StellaInterop.Cluster.Tests.Membership;

/// <summary>Counts calls in the storage of the list of jobs.</summary>
internal interface ITallyGrain : IGrainWithStringKey
{
    Task<int> AddAsync();

    /// <summary>Writes with the ETag of an earlier state.</summary>
    Task<bool> IsOldStateRefusedAsync();

    /// <summary>Removes the state, and deactivates the grain.</summary>
    Task ClearAsync();

    Task DeactivateAsync();

    /// <summary>Returns the address of the silo.</summary>
    Task<string> FindSiloAsync();
}
