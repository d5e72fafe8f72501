using System.Runtime.CompilerServices;
using StellaInterop.Memory;
using StellaInterop.Threading;

namespace StellaInterop.Serving;

/// <summary>Embeds a stream of texts part by part, a few parts ahead, and returns the vectors in order.</summary>
internal static class TextStream
{
    /// <summary>Parts that are on their way beside the one that is given out: enough to keep workers busy meanwhile.</summary>
    private const int PartsAhead = 4;

    /// <summary>Texts of a part at most.</summary>
    private const int PartTexts = 64;

    /// <summary>Embeds one part, whose first text has a place in the stream.</summary>
    public delegate Task<StellaEmbeddings> EmbedPart(string[] texts, long first, CancellationToken cancellationToken);

    private readonly record struct Part(long First, Task<StellaEmbeddings> Embeddings);

    /// <summary>Embeds the texts of a source.</summary>
    /// <remarks>
    /// Leaving the stream early waits for the parts that were started and not for the source: a source may ignore its token,
    /// or block. Such a source is abandoned and is disposed when its pending call returns.
    /// </remarks>
    public static async IAsyncEnumerable<StellaTextEmbedding> EmbedAsync(
        IAsyncEnumerable<string> texts,
        int partTokens,
        EmbedPart embed,
        [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var reader = new SourceReader(texts, partTokens, embed, cancellationToken);
        try
        {
            reader.Start();
            await foreach (var (first, task) in reader.ReadPartsAsync(cancellationToken).ConfigureAwait(false))
            {
                StellaEmbeddings part = await task.ConfigureAwait(false);
                var failures = part.Summary.Failures.ToDictionary(failure => failure.TextIndex, failure => failure.Error);
                for (int i = 0; i < part.Count; i++)
                {
                    bool failed = failures.TryGetValue(i, out StellaException? error);
                    yield return new StellaTextEmbedding
                    {
                        TextIndex = first + i,
                        Vector = failed ? default : part[i],
                        TokenCount = part.TokenCounts[i],
                        Error = error,
                    };
                }
            }
        }
        finally
        {
            await reader.DisposeAsync().ConfigureAwait(false);
        }
    }

    /// <summary>Cuts a source into parts and starts them. An error of the source comes after the parts before it.</summary>
    private sealed class SourceReader : IAsyncDisposable
    {
        private readonly IAsyncEnumerable<string> texts;
        private readonly int partTokens;
        private readonly EmbedPart embed;

        private readonly Handover<Part> parts = new(PartsAhead);

        /// <summary>
        /// Cancels the source. Its callbacks are the source's code, so nothing here waits for them. An abandoned source may
        /// still use the token, so it is not disposed; without a timer there is nothing to free.
        /// </summary>
#pragma warning disable CA2213
        private readonly CancellationTokenSource stopSource = new();
#pragma warning restore CA2213
        private readonly CancellationTokenRegistration stopsSource;

        /// <summary>Cancels the parts. Separate, so that a callback of the source cannot delay it.</summary>
        private readonly CancellationTokenSource stopParts;
        private readonly CancellationToken partsToken;

        private readonly Lock gate = new();
        private bool isInSource;
        private bool isLeft;

        /// <summary>Completes when the stream was left and no further part can be started.</summary>
        private readonly Signal quiet = new();

        public SourceReader(
            IAsyncEnumerable<string> texts, int partTokens, EmbedPart embed, CancellationToken cancellationToken)
        {
            (this.texts, this.partTokens, this.embed) = (texts, partTokens, embed);
            stopsSource = cancellationToken.UnsafeRegister(static source => ((CancellationTokenSource)source!).Cancel(), stopSource);
            stopParts = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            partsToken = stopParts.Token;
        }

        /// <summary>The parts in order. An error of the source ends them.</summary>
        public IAsyncEnumerable<Part> ReadPartsAsync(CancellationToken cancellationToken) => parts.ReadAllAsync(cancellationToken);

        /// <summary>Starts to read, on the thread pool: a source that blocks must not hold the thread that reads the vectors.</summary>
        public void Start() => _ = ReadAsync();

        /// <summary>Ends the reading and waits for the parts on their way, which are not wanted any more.</summary>
        public async ValueTask DisposeAsync()
        {
            // Dispose would wait for callbacks of the source.
            _ = stopsSource.Unregister();
            // Here and now, since no code of the source hangs on it, and a thread might be refused.
            ForeignCode.Run(stopParts.Cancel);
            lock (gate)
            {
                isLeft = true;
                if (isInSource)
                {
                    quiet.Set();
                }
            }

            _ = StopSourceAsync();
            await quiet.WaitAsync().ConfigureAwait(false);
            while (parts.TryTake(out Part part))
            {
                await ObserveAsync(part.Embeddings).ConfigureAwait(false);
            }

            stopParts.Dispose();
        }

        private async Task ReadAsync()
        {
            await new ThreadPoolSwitch();
            Exception? error = null;
            IAsyncEnumerator<string>? source = null;
            Task<bool>? pending = null;
            try
            {
                var part = new List<string>(PartTexts);
                long first = 0;
                long characters = 0;
                Task lastPart = Task.CompletedTask;
                Task readerHasAll = Task.CompletedTask;
                EnterSource();
                source = texts.GetAsyncEnumerator(stopSource.Token);
                while (true)
                {
                    string text;
                    try
                    {
                        if (!await MoveNextAsync().ConfigureAwait(false))
                        {
                            break;
                        }

                        text = source.Current;
                    }
#pragma warning disable CA1031 // The error reaches the reader of the vectors, after the texts that were read before it.
                    catch (Exception e) when (!partsToken.IsCancellationRequested)
#pragma warning restore CA1031
                    {
                        error = e;
                        break;
                    }

                    LeaveSource();
                    part.Add(text);
                    characters += text?.Length ?? 0;
                    if (part.Count == PartTexts || characters >= partTokens)
                    {
                        await SendAsync().ConfigureAwait(false);
                    }

                    partsToken.ThrowIfCancellationRequested();
                    EnterSource();
                }

                LeaveSource();
                if (part.Count > 0)
                {
                    await SendAsync().ConfigureAwait(false);
                }

                // Texts that were read do not wait for a slow source: they are sent as soon as no other part is being computed and the reader
                // has taken all. Until then they are collected, so that many short waits do not make many small parts.
                async Task<bool> MoveNextAsync()
                {
                    ValueTask<bool> next = source.MoveNextAsync();
                    if (next.IsCompleted || part.Count == 0)
                    {
                        return await next.ConfigureAwait(false);
                    }

                    pending = next.AsTask();
                    if (readerHasAll.IsCompleted)
                    {
                        readerHasAll = parts.WaitUntilEmptyAsync(partsToken);
                    }

                    if (!await IsThereBeforeAsync(lastPart).ConfigureAwait(false)
                        && !await IsThereBeforeAsync(readerHasAll).ConfigureAwait(false))
                    {
                        LeaveSource();
                        await SendAsync().ConfigureAwait(false);
                        EnterSource();
                    }

                    bool isThere = await pending.ConfigureAwait(false);
                    pending = null;
                    return isThere;
                }

                // Whether the source has its next text before something else happens.
                async Task<bool> IsThereBeforeAsync(Task other) =>
                    await Task.WhenAny(pending!, other).ConfigureAwait(false) == pending;

                async Task SendAsync()
                {
                    // Room first: a part that is started has a reader that waits for it.
                    partsToken.ThrowIfCancellationRequested();
                    await parts.WaitForRoomAsync(partsToken).ConfigureAwait(false);
                    Task<StellaEmbeddings> embeddings = embed([.. part], first, partsToken);
                    lastPart = embeddings;
                    parts.Add(new Part(first, embeddings));
                    first += part.Count;
                    characters = 0;
                    part.Clear();
                }
            }
#pragma warning disable CA1031 // The error reaches the reader of the vectors.
            catch (Exception e)
            {
                error = e;
            }

            try
            {
                EnterSource();
                if (pending is not null)
                {
                    // A source must not be disposed while it is asked for a text.
                    await ObserveAsync(pending).ConfigureAwait(false);
                }

                if (source is not null)
                {
                    await source.DisposeAsync().ConfigureAwait(false);
                }
            }
            catch (Exception e)
#pragma warning restore CA1031
            {
                error = e;
            }

            // After the stream was left, nobody reads the error.
            parts.End(error);
            LeaveSource();
            quiet.Set();
        }

        /// <summary>Says that code of the source runs from here on. Leaving does not wait for it.</summary>
        private void EnterSource()
        {
            lock (gate)
            {
                isInSource = true;
                if (isLeft)
                {
                    quiet.Set();
                }
            }
        }

        private void LeaveSource()
        {
            lock (gate)
            {
                isInSource = false;
            }
        }

        private async Task StopSourceAsync()
        {
            await new ThreadPoolSwitch();
            ForeignCode.Run(stopSource.Cancel);
        }

        private static async Task ObserveAsync(Task task) => await task.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }
}
