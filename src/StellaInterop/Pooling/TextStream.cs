using System.Runtime.CompilerServices;
using System.Threading.Channels;

namespace StellaInterop.Pooling;

/// <summary>Embeds a stream of texts part by part, a few parts ahead, and puts the vectors out in order.</summary>
internal static class TextStream
{
    /// <summary>Parts that are on their way beside the one that is given out: enough to keep workers busy meanwhile.</summary>
    private const int PartsAhead = 4;

    /// <summary>Texts of a part at most.</summary>
    private const int PartTexts = 64;

    /// <summary>Embeds one part, whose first text has a place in the stream.</summary>
    public delegate Task<StellaEmbeddings> EmbedPart(string[] texts, long first, CancellationToken cancellationToken);

    private readonly record struct Part(long First, Task<StellaEmbeddings> Embeddings);

    public static async IAsyncEnumerable<StellaEmbedding> EmbedAsync(
        IAsyncEnumerable<string> texts,
        int partTokens,
        EmbedPart embed,
        [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var parts = Channel.CreateBounded<Part>(
            new BoundedChannelOptions(PartsAhead) { SingleReader = true, SingleWriter = true });
        Task reading = ReadAsync(texts, partTokens, embed, parts.Writer, stop.Token);
        try
        {
            await foreach (var (first, task) in parts.Reader.ReadAllAsync(cancellationToken).ConfigureAwait(false))
            {
                StellaEmbeddings part = await task.ConfigureAwait(false);
                var failures = part.Summary.Failures.ToDictionary(failure => failure.TextIndex, failure => failure.Error);
                for (int i = 0; i < part.Count; i++)
                {
                    bool failed = failures.TryGetValue(i, out StellaException? error);
                    yield return new StellaEmbedding(first + i, failed ? default : part[i], part.TokenCounts[i], error);
                }
            }
        }
        finally
        {
            // What is on its way is not wanted any more, also when the reader leaves early.
            await stop.CancelAsync().ConfigureAwait(false);
            await reading.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            while (parts.Reader.TryRead(out Part part))
            {
                await ((Task)part.Embeddings).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
    }

    /// <summary>Cuts the stream into parts and starts them. An error of the stream comes after the parts before it.</summary>
    private static async Task ReadAsync(
        IAsyncEnumerable<string> texts, int partTokens, EmbedPart embed, ChannelWriter<Part> parts, CancellationToken cancellationToken)
    {
        Exception? error = null;
        try
        {
            var part = new List<string>(PartTexts);
            long first = 0;
            long characters = 0;
            await foreach (string text in texts.WithCancellation(cancellationToken).ConfigureAwait(false))
            {
                part.Add(text);
                characters += text?.Length ?? 0;
                if (part.Count == PartTexts || characters >= partTokens)
                {
                    await SendAsync().ConfigureAwait(false);
                }
            }

            if (part.Count > 0)
            {
                await SendAsync().ConfigureAwait(false);
            }

            async Task SendAsync()
            {
                // Room first: a part that is started has somebody who waits for it.
                _ = await parts.WaitToWriteAsync(cancellationToken).ConfigureAwait(false);
                _ = parts.TryWrite(new Part(first, embed([.. part], first, cancellationToken)));
                first += part.Count;
                characters = 0;
                part.Clear();
            }
        }
#pragma warning disable CA1031 // It reaches whoever reads the vectors.
        catch (Exception e)
#pragma warning restore CA1031
        {
            error = e;
        }
        finally
        {
            parts.Complete(error);
        }
    }
}
