using System.Globalization;
using StellaInterop.Soak.Calls;
using StellaInterop.Soak.FaultInjection;
using StellaInterop.Soak.Scenarios;

namespace StellaInterop.Soak.Scripts;

/// <summary>Three callers send a text that always fails, and one asks for a head that fails. The circuit breaker has its default options.</summary>
internal sealed class PoisonSingle : IScript
{
    private const int OtherCallers = 16;

    private static readonly TimeSpan MinRound = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(5);

    public async Task RunAsync(ScenarioContext context)
    {
        int head = context.Known.Dimensions.First(dimension => dimension != context.Known.DefaultDimension);
        FaultyModel source = context.Model(new Faults { Poisonous = true, MissingHead = head });
        var pool = new StellaEmbeddingPool(source, context.Options());
        int failed = 0;
        await context.RoundsAsync(MinRound, async (round, until) =>
        {
            Task[] callers =
            [
                .. Enumerable.Range(0, OtherCallers).Select(i => Task.Run(() => new Caller(
                    new Traffic { Texts = 3, MustComplete = true, IsExpectedError = Poison.IsInjected }, context.Known, context.Ledger, () => pool, context.Gate, context.Seed + (100 * round) + i)
                    .RunAsync(context.Clock, until))),
                .. Poison.Texts.Select(text => Task.Run(() => CallFaultyAsync(text, null, until))),
                Task.Run(() => CallFaultyAsync(context.Known.Texts[1], head, until)),
            ];
            await Task.WhenAll(callers).ConfigureAwait(false);
        }).ConfigureAwait(false);

        await context.DisposeAsync(pool).ConfigureAwait(false);
        context.Promise(failed > 0, "No poisonous call failed, although all of them must.");
        context.Report(string.Create(CultureInfo.InvariantCulture, $"{failed} poisonous calls failed beside {context.Ledger.CallerOutcomes.GetValueOrDefault(Outcomes.Completed)} completed ones"));

        async Task CallFaultyAsync(string text, int? dimension, TimeSpan until)
        {
            var embed = new StellaEmbedOptions { Dimension = dimension };
            var options = new StellaCallOptions { Timeout = Caller.LongTimeout };
            while (context.Clock.Elapsed < until)
            {
                Answer<float[]> answer = await context.Ledger.CallAsync(() => pool.EmbedAsync(text, embed, options), Poison.IsInjected).ConfigureAwait(false);
                context.Promise(!answer.IsCompleted, "A text that always fails got a vector.");
                context.Promise(answer.Outcome != Outcomes.TimedOut, $"A call that fails had no answer within {Caller.LongTimeout.TotalSeconds} s.");
                _ = Interlocked.Increment(ref failed);
                await Task.Delay(Pause).ConfigureAwait(false);
            }
        }
    }
}
