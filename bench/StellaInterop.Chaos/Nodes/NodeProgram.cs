using StellaInterop.Bulk.Jobs;

namespace StellaInterop.Chaos.Nodes;

internal static class NodeProgram
{
    public static IEmbedder? Last { get; private set; }

    public static async Task<int> RunAsync(NodeArguments arguments, CancellationToken cancellationToken)
    {
        using var e = new FaultyEmbedder(null!, arguments);
        Last = e;
        Console.WriteLine(arguments);
        using var input = Console.OpenStandardInput();
        _ = await input.ReadAsync(new byte[1], cancellationToken).ConfigureAwait(false);
        return 0;
    }
}
