using System.Globalization;

namespace StellaInterop.Soak.Scripts;

/// <summary>Some callers send one text that always fails, and one asks for a head that fails; the breaker has its default options.</summary>
internal sealed class PoisonSingle : IScript
{
    private const int HonestCallers = 16;

    private static readonly TimeSpan LeastRound = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(5);

    public async Task RunAsync(Stage stage)
    {
        int head = stage.Known.Dimensions.First(dimension => dimension != stage.Known.DefaultDimension);
        FaultyModel source = stage.Model(new Faults { Poisonous = true, MissingHead = head });
        var pool = new StellaEmbeddingPool(source, stage.Options());
        int poisoned = 0;
        await stage.RoundsAsync(LeastRound, async (round, until) =>
        {
            Task[] callers =
            [
                .. Enumerable.Range(0, HonestCallers).Select(i => Task.Run(() => new Caller(
                    new Traffic { Texts = 3, MustComplete = true, Forgives = Poison.IsMade }, stage.Known, stage.Books, () => pool, stage.Gate, stage.Seed + (100 * round) + i)
                    .RunAsync(stage.Clock, until))),
                .. Poison.Texts.Select(text => Task.Run(() => AskAsync(text, null, until))),
                Task.Run(() => AskAsync(stage.Known.Texts[1], head, until)),
            ];
            await Task.WhenAll(callers).ConfigureAwait(false);
        }).ConfigureAwait(false);

        await stage.DisposeAsync(pool).ConfigureAwait(false);
        stage.Promise(poisoned > 0, "no poisonous call failed although all should have");
        stage.Report(string.Create(CultureInfo.InvariantCulture, $"{poisoned} poisonous calls failed beside {stage.Books.Seen.GetValueOrDefault(Outcomes.Completed)} completed ones"));

        async Task AskAsync(string text, int? dimension, TimeSpan until)
        {
            var embed = new StellaEmbedOptions { Dimension = dimension };
            var options = new StellaCallOptions { Timeout = Caller.Patience };
            while (stage.Clock.Elapsed < until)
            {
                Answer<float[]> answer = await stage.Books.CallAsync(() => pool.EmbedAsync(text, embed, options), Poison.IsMade).ConfigureAwait(false);
                stage.Promise(!answer.IsCompleted, "a text that always fails got a vector");
                stage.Promise(answer.Outcome != Outcomes.TimedOut, $"a call that fails had no answer within {Caller.Patience.TotalSeconds} s");
                _ = Interlocked.Increment(ref poisoned);
                await Task.Delay(Pause).ConfigureAwait(false);
            }
        }
    }
}
