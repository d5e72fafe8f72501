namespace StellaInterop.Cluster.Tests.Membership;

[GenerateSerializer]
internal sealed class Tally
{
    [Id(0)]
    public int Count { get; set; }
}
