using System.Runtime.CompilerServices;
using StellaInterop.Memory;
using StellaInterop.Threading;

namespace StellaInterop.Serving;

/// <summary>Embeds a stream of texts part by part, a few parts ahead, and returns the vectors in order.</summary>
internal static class TextStream
{
    /// <summary>The number of parts that are computed ahead of the part that is being returned: enough to keep the workers busy.</summary>
    private const int PartsAhead = 4;

    /// <summary>The largest number of texts of a part.</summary>
    private const int PartTexts = 64;

    /// <summary>Embeds one part, given the index of its first text in the stream.</summary>
    public delegate Task<StellaEmbeddings> EmbedPart(string[] texts, long first, CancellationToken cancellationToken);

    private readonly record struct Part(long First, Task<StellaEmbeddings> Embeddings);

    /// <summary>Embeds the texts of a source.</summary>
    /// <remarks>
    /// A reader that leaves the stream early waits for the started parts and not for the source, because a source may ignore its token or
    /// block. Such a source is abandoned, and is disposed when its pending call returns.
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
        /// Cancels the source. Its callbacks are the source's code, so the stream does not wait for them. It is not disposed, because an
        /// abandoned source may still use the token; without a timer it holds nothing to free.
        /// </summary>
#pragma warning disable CA2213
        private readonly CancellationTokenSource stopSource = new();
#pragma warning restore CA2213
        private readonly CancellationTokenRegistration stopsSource;

        /// <summary>Cancels the parts. It is a source of its own, so that a callback of the texts' source cannot delay it.</summary>
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

        /// <summary>Returns the parts in order. An error of the source ends them.</summary>
        public IAsyncEnumerable<Part> ReadPartsAsync(CancellationToken cancellationToken) => parts.ReadAllAsync(cancellationToken);

        /// <summary>Starts to read on the thread pool: a source that blocks must not hold the thread that reads the vectors.</summary>
        public void Start() => _ = ReadAsync();

        /// <summary>Ends the reading, cancels the started parts and waits for them.</summary>
        public async ValueTask DisposeAsync()
        {
            // Dispose would wait for callbacks of the source.
            _ = stopsSource.Unregister();
            // On this thread: no code of the source runs here, and a new thread might be refused.
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

                // Texts that were read do not wait for a slow source: they become a part as soon as no other part is computed and the reader
                // has taken all vectors. Until then they are collected, so that many short waits do not make many small parts.
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

                // Waits for the next text or another task, and returns whether the text came first.
                async Task<bool> IsThereBeforeAsync(Task other) =>
                    await Task.WhenAny(pending!, other).ConfigureAwait(false) == pending;

                async Task SendAsync()
                {
                    // Waits for room first, so that a started part never waits outside the order of results.
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

            // If the reader has left the stream, the error is dropped.
            parts.End(error);
            LeaveSource();
            quiet.Set();
        }

        /// <summary>Records that code of the source runs from here on. A reader that leaves does not wait for it.</summary>
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
