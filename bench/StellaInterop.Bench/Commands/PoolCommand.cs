using System.CommandLine;
using StellaInterop.Bench.Measuring;
using StellaInterop.Bench.Runs;
using StellaInterop.Bench.Terminal;

namespace StellaInterop.Bench.Commands;

/// <summary>The hidden command <c>pool</c>, which <c>bulk</c> starts in a new process.</summary>
internal static class PoolCommand
{
    public static Command Create()
    {
        var folder = new Argument<string>("DIR");
        var rows = new Argument<int>("ROWS");
        var words = new Argument<string>("WORDS");
        var command = new Command(PoolRun.CommandName, "Embeds texts with a pool and prints its begin and end as JSON.") { folder, rows, words };
        command.Hidden = true;
        command.SetAction(async (parsed, cancellationToken) =>
        {
            await PoolRun.RunAsync(
                parsed.GetRequiredValue(folder), parsed.GetRequiredValue(rows), WordRange.Parse(parsed.GetRequiredValue(words)), Console.Out, cancellationToken).ConfigureAwait(false);
            return (int)ExitCode.Success;
        });
        return command;
    }
}
