using System.Diagnostics;
using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text.Json;
using Microsoft.AspNetCore.Http;
using StellaInterop.Server.Errors;
using StellaInterop.Server.Fields;
using StellaInterop.Server.Models;

namespace StellaInterop.Server.Embedding;

/// <summary>The shape that a protocol gives to vectors.</summary>
internal interface IEmbeddingAnswer
{
    /// <summary>Sets the headers of the protocol, before the first byte.</summary>
    void SetHeaders(IHeaderDictionary headers, RequestReport report)
    {
    }

    /// <summary>Writes what precedes the first vector.</summary>
    void Begin(Utf8JsonWriter json);

    /// <summary>Writes one vector. They come in the order of the texts.</summary>
    void Write(Utf8JsonWriter json, int index, ReadOnlySpan<float> vector);

    /// <summary>Writes what follows the last vector.</summary>
    void End(Utf8JsonWriter json, RequestReport report);
}

/// <summary>Answers one request for vectors. Each part of it is computed, written and forgotten. Not thread-safe.</summary>
/// <param name="model">The model.</param>
/// <param name="request">The request.</param>
/// <param name="answer">The shape of the answer.</param>
/// <param name="response">The response.</param>
/// <param name="report">Receives counts and times.</param>
/// <param name="room">The room for all vectors of a request, if they are in memory at a time.</param>
internal sealed class EmbeddingRun(
    ServedModel model, EmbedRequest request, IEmbeddingAnswer answer, HttpResponse response, RequestReport report, RequestRoom room)
{
    /// <summary>The header with the number of texts that were cut.</summary>
    public const string TruncatedHeader = "x-stella-truncated";

    /// <summary>The largest number of texts of a part. A request of one part is computed as a whole before it is answered.</summary>
    private const int PartTexts = 64;

    /// <summary>The largest number of bytes of the texts of a part, unless it is one text.</summary>
    private const int PartBytes = 256 << 10;

    /// <summary>The largest number of tokens for a byte of a text that is not plain ASCII, as normalization may make it longer.</summary>
    private const int TokensPerByte = 4;

    /// <summary>More special tokens than any tokenizer adds to a text.</summary>
    private const int SpecialTokens = 16;

    private readonly TextList texts = request.Texts!;
    private StartCutter? cutter;

    /// <summary>Computes and writes the answer.</summary>
    /// <param name="clientLeft">A token that is cancelled when the client leaves.</param>
    /// <exception cref="ServerException">The time of the request is over, or a text is too long.</exception>
    /// <exception cref="StellaException">The pool refused the request, or failed.</exception>
    /// <exception cref="OperationCanceledException">The client left.</exception>
    public async Task RunAsync(CancellationToken clientLeft)
    {
        report.Model = model.Name;
        report.TextCount = texts.Count;
        if (request.Timeout is not { } timeout)
        {
            await AnswerAsync(clientLeft).ConfigureAwait(false);
            return;
        }

        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(clientLeft);
        deadline.CancelAfter(timeout);
        try
        {
            await AnswerAsync(deadline.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException e) when (deadline.IsCancellationRequested && !clientLeft.IsCancellationRequested)
        {
            throw new ServerException(
                new ServerError(ErrorKind.TimedOut, $"The request was not answered within its {timeout.TotalMilliseconds:0} ms. Allow more time or send fewer texts."), e);
        }
    }

    private async Task AnswerAsync(CancellationToken cancellationToken)
    {
        if (request.IsLateChunking)
        {
            await AnswerPartsAsync(cancellationToken).ConfigureAwait(false);
            return;
        }

        int first = EndOfFirstPart();
        bool isWhole = first == texts.Count;
        StellaEmbedOptions options = request.GetOptions();
        if (!isWhole || request.LongTexts == LongTextRule.CutStart)
        {
            await CheckLengthsAsync(model, request, report, cancellationToken).ConfigureAwait(false);
            // No text is too long any more, or all may be cut.
            options = options with { LongTextBehavior = StellaLongTextBehavior.Truncate };
        }

        bool isFirstCall = model.Pool.Info is null;
        if (request.LongTexts == LongTextRule.CutStart)
        {
            cutter = new StartCutter(model.Pool, model.Pool.Info!, options);
        }

        var call = new StellaCallOptions
        {
            Priority = request.Priority ?? (isWhole ? StellaPriority.Interactive : StellaPriority.Bulk),
            FairnessGroup = request.FairnessGroup,
        };
        string[] part = await TakeAsync(0, first, cancellationToken).ConfigureAwait(false);
        long start = Stopwatch.GetTimestamp();
        StellaEmbeddings embeddings = await model.Pool.EmbedAsync(part, options, call, cancellationToken).ConfigureAwait(false);
        report.Add(embeddings.Summary, Stopwatch.GetElapsedTime(start), isFirstCall);
        report.HasAllTokens = isWhole;
        if (isWhole)
        {
            report.TruncatedCount += embeddings.Summary.TruncatedTextCount;
        }

        SetHeaders();
        using AnswerWriter writer = await AnswerWriter.StartAsync(response, cancellationToken).ConfigureAwait(false);
        answer.Begin(writer.Json);
        for (int i = 0; i < first; i++)
        {
            answer.Write(writer.Json, i, embeddings[i].Span);
            await writer.SendPartAsync().ConfigureAwait(false);
        }

        if (!isWhole)
        {
            int index = first;
            await foreach (StellaTextEmbedding embedding in model.Pool.EmbedStreamAsync(RestAsync(first, cancellationToken), options, call, cancellationToken).ConfigureAwait(false))
            {
                report.TokenCount += embedding.TokenCount.Kept;
                answer.Write(writer.Json, index++, embedding.Vector.Span);
                await writer.SendPartAsync().ConfigureAwait(false);
            }
        }

        answer.End(writer.Json, report);
        await writer.CompleteAsync().ConfigureAwait(false);
    }

    /// <summary>Embeds the texts as parts of one text, with a blank between them.</summary>
    private async Task AnswerPartsAsync(CancellationToken cancellationToken)
    {
        StellaModelInfo info = await LoadAsync(model, report, cancellationToken).ConfigureAwait(false);
        if (texts.Count > info.MaxTokens)
        {
            throw new ServerException(
                ErrorKind.TextTooLong, $"With late chunking, the texts are parts of one text. {texts.Count} parts are more than the {info.MaxTokens} tokens that the model takes.", "input");
        }

        // An unknown dimension is an error of the pool, which needs no rows for it.
        int dimension = request.Dimension ?? info.DefaultDimension;
        int numbers = info.Dimensions.Contains(dimension) ? texts.Count * dimension : 0;
        long bytes = (long)numbers * sizeof(float);
        room.Take(bytes);
        try
        {
            await AnswerPartsAsync(new float[numbers], dimension, cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            room.Return(bytes);
        }
    }

    private async Task AnswerPartsAsync(float[] rows, int dimension, CancellationToken cancellationToken)
    {
        string[] parts = texts.Take(0, texts.Count);
        var ranges = new Range[parts.Length];
        for (int i = 0, start = 0; i < parts.Length; start += parts[i].Length + 1, i++)
        {
            ranges[i] = start..(start + parts[i].Length);
        }

        StellaEmbedOptions options = request.GetOptions();
        long begin = Stopwatch.GetTimestamp();
        StellaTokenCount count = await model.Pool.EmbedPartsAsync(string.Join(' ', parts), ranges, rows, options, cancellationToken).ConfigureAwait(false);
        report.EmbedTime = Stopwatch.GetElapsedTime(begin);
        report.TokenCount = count.Kept;
        report.TruncatedCount = count.IsTruncated ? 1 : 0;
        SetHeaders();
        using AnswerWriter writer = await AnswerWriter.StartAsync(response, cancellationToken).ConfigureAwait(false);
        answer.Begin(writer.Json);
        for (int i = 0; i < parts.Length; i++)
        {
            answer.Write(writer.Json, i, rows.AsSpan(i * dimension, dimension));
            await writer.SendPartAsync().ConfigureAwait(false);
        }

        answer.End(writer.Json, report);
        await writer.CompleteAsync().ConfigureAwait(false);
    }

    /// <summary>Counts the tokens of all texts that may exceed the limit: a refusal is impossible once the answer has begun.</summary>
    /// <exception cref="ServerException">A text is too long, and must not be cut.</exception>
    public static async Task CheckLengthsAsync(ServedModel model, EmbedRequest request, RequestReport report, CancellationToken cancellationToken)
    {
        TextList texts = request.Texts!;
        StellaModelInfo info = await LoadAsync(model, report, cancellationToken).ConfigureAwait(false);
        int shortTokens = GetShortTokens(info);
        StellaEmbedOptions options = request.GetOptions() with { LongTextBehavior = StellaLongTextBehavior.Truncate };
        var indices = new List<int>(PartTexts);
        for (int i = 0; i < texts.Count; i++)
        {
            if (BoundTokens(texts, i) > shortTokens)
            {
                indices.Add(i);
            }

            if (indices.Count == PartTexts || (i == texts.Count - 1 && indices.Count > 0))
            {
                StellaTokens[] tokens = await model.Pool.TokenizeAsync([.. indices.Select(index => texts[index])], options, cancellationToken).ConfigureAwait(false);
                int longText = Array.FindIndex(tokens, each => each.TokenCount.IsTruncated);
                if (longText >= 0 && request.LongTexts == LongTextRule.Refuse)
                {
                    throw new ServerException(
                        ErrorKind.TextTooLong,
                        $"Text {indices[longText]} has {tokens[longText].TokenCount.Total} tokens, and the model takes {info.MaxTokens}. Shorten it, split it, or ask for truncation.",
                        "input");
                }

                report.TruncatedCount += tokens.Count(each => each.TokenCount.IsTruncated);
                indices.Clear();
            }
        }
    }

    /// <summary>Returns the largest number of hidden states that a text of a request can have.</summary>
    public static int BoundHiddenStates(TextList texts, StellaModelInfo info)
    {
        long longest = Enumerable.Range(0, texts.Count).Max(i => BoundTokens(texts, i));
        return (int)Math.Min(info.MaxTokens, longest + TokensBesideText(info));
    }

    /// <summary>Returns the properties of a model, and counts the time of its load if it was never loaded.</summary>
    public static async ValueTask<StellaModelInfo> LoadAsync(ServedModel model, RequestReport report, CancellationToken cancellationToken)
    {
        if (model.Pool.Info is { } known)
        {
            return known;
        }

        long start = Stopwatch.GetTimestamp();
        StellaModelInfo info = await model.GetInfoAsync(cancellationToken).ConfigureAwait(false);
        report.LoadTime += Stopwatch.GetElapsedTime(start);
        return info;
    }

    /// <summary>Returns the largest <see cref="BoundTokens"/> of a text that the model takes without doubt, so that it is not tokenized to find out.</summary>
    public static int GetShortTokens(StellaModelInfo info) => info.MaxTokens - TokensBesideText(info);

    /// <summary>Returns a number that the tokens of a text do not exceed.</summary>
    public static long BoundTokens(TextList texts, int index) => (long)texts.GetByteLength(index) * (texts.IsPlainAscii(index) ? 1 : TokensPerByte);

    private static int TokensBesideText(StellaModelInfo info) => SpecialTokens + info.Prompts.Select(prompt => prompt.TokenCount).DefaultIfEmpty(0).Max();

    /// <summary>Tells the number of texts that were cut, if there are any.</summary>
    public static void SetTruncatedHeader(HttpResponse response, RequestReport report)
    {
        if (report.TruncatedCount > 0)
        {
            response.Headers[TruncatedHeader] = report.TruncatedCount.ToString(CultureInfo.InvariantCulture);
        }
    }

    private int EndOfFirstPart()
    {
        int end = 0;
        for (long bytes = 0; end < texts.Count && end < PartTexts; end++)
        {
            bytes += texts.GetByteLength(end);
            if (bytes > PartBytes && end > 0)
            {
                break;
            }
        }

        return end;
    }

    private async ValueTask<string[]> TakeAsync(int start, int count, CancellationToken cancellationToken) =>
        cutter is null ? texts.Take(start, count) : await cutter.TakeAsync(texts, start, count, cancellationToken).ConfigureAwait(false);

    private async IAsyncEnumerable<string> RestAsync(int first, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        for (int i = first; i < texts.Count; i++)
        {
            yield return cutter is null ? texts[i] : (await cutter.TakeAsync(texts, i, 1, cancellationToken).ConfigureAwait(false))[0];
        }
    }

    private void SetHeaders()
    {
        SetTruncatedHeader(response, report);
        ServerTiming.Set(response, report, ("queue", report.QueueTime.GetValueOrDefault()), ("embed", report.EmbedTime));
        answer.SetHeaders(response.Headers, report);
    }
}
