using System.CommandLine;
using System.Text.Json;
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
        var command = new Command(PoolRun.CommandName, "Embeds texts with a pool and writes the time that this took, as JSON.") { folder, rows, words };
        command.Hidden = true;
        command.SetAction(async (parsed, cancellationToken) =>
        {
            PoolCost cost = await PoolRun.MeasureAsync(
                parsed.GetRequiredValue(folder), parsed.GetRequiredValue(rows), WordRange.Parse(parsed.GetRequiredValue(words)), cancellationToken).ConfigureAwait(false);
            await Console.Out.WriteLineAsync(JsonSerializer.Serialize(cost)).ConfigureAwait(false);
            return (int)ExitCode.Success;
        });
        return command;
    }
}
