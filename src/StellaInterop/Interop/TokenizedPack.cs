using System.Runtime.InteropServices;

namespace StellaInterop.Interop;

/// <summary>
/// The token ids of a pack of texts, one text after the other. The memory serves one pack after the other.
/// </summary>
internal sealed class TokenizedPack
{
    private uint[] ids = [];
    private NativeTokenCount[] counts = [];

    /// <summary>Where each text begins in <see cref="ids"/>; one more entry than there are texts.</summary>
    private uint[] starts = [];

    /// <summary>The same within one batch.</summary>
    private uint[] cuSeqlens = [];

    /// <summary>For each text the tokens at its beginning that take no part in its vector.</summary>
    private uint[] leftOut = [];

    /// <summary>Tokenizes a pack. What was there before is gone.</summary>
    /// <param name="model">The model whose tokenizer is used.</param>
    /// <param name="pack">The texts.</param>
    /// <param name="options">The prompt and what to do with a long text.</param>
    /// <param name="info">The description of the model.</param>
    public void Fill(ModelHandle model, PackedTexts pack, StellaEmbedOptions options, StellaModelInfo info)
    {
        FirstText = pack.FirstText;
        Count = pack.Count;
        if (counts.Length < Count)
        {
            counts = new NativeTokenCount[Count];
            starts = new uint[Count + 1];
            cuSeqlens = new uint[Count + 1];
            leftOut = new uint[Count];
        }

        // A token is at least a byte of its text, but for the rare text that grows when it is normalised; for that
        // one, native code says what it needs.
        long guess = Math.Min((long)Count * info.MaxTokens, pack.Length + ((long)Count * info.TokensBesideText(options.Prompt)));
        MakeRoom((int)guess);
        int needed = Tokenize(model, pack, options);
        if (needed > ids.Length)
        {
            MakeRoom(needed);
            _ = Tokenize(model, pack, options);
        }

        starts[0] = 0;
        for (int i = 0; i < Count; i++)
        {
            starts[i + 1] = starts[i] + counts[i].kept;
            leftOut[i] = counts[i].left_out;
        }
    }

    /// <summary>Index of the first text in the caller's list.</summary>
    public int FirstText { get; private set; }

    /// <summary>Number of texts.</summary>
    public int Count { get; private set; }

    /// <summary>The end of the longest batch from <paramref name="start"/> on with at most <paramref name="budget"/> tokens.</summary>
    public int BatchEnd(int start, int budget)
    {
        int end = start + 1;
        while (end < Count && starts[end + 1] - starts[start] <= budget)
        {
            end++;
        }

        return end;
    }

    /// <summary>The texts from <paramref name="start"/> to <paramref name="end"/> as native code takes them. Valid until the next call.</summary>
    public TokenBatch Batch(int start, int end)
    {
        Span<uint> relative = cuSeqlens.AsSpan(0, end - start + 1);
        for (int i = 0; i < relative.Length; i++)
        {
            relative[i] = starts[start + i] - starts[start];
        }

        return new TokenBatch(ids.AsSpan((int)starts[start]..(int)starts[end]), relative, leftOut.AsSpan(start..end));
    }

    /// <summary>The ids of a text. Valid until the next pack.</summary>
    public ReadOnlySpan<int> IdsOf(int text) => MemoryMarshal.Cast<uint, int>(TokensOf(text));

    /// <summary>The ids of a text as native code takes them. Valid until the next pack.</summary>
    public ReadOnlySpan<uint> TokensOf(int text) => ids.AsSpan(RangeOf(text));

    /// <summary>The ids of all texts of the pack, one text after the other. Valid until the next pack.</summary>
    public ReadOnlySpan<uint> AllTokens => ids.AsSpan(0, (int)starts[Count]);

    /// <summary>The range of a text within <see cref="AllTokens"/>.</summary>
    public Range RangeOf(int text) => (int)starts[text]..(int)starts[text + 1];

    /// <summary>The tokens at the beginning of a text that take no part in its vector.</summary>
    public uint LeftOutOf(int text) => leftOut[text];

    /// <summary>The length of a text of which <paramref name="replaced"/> surrogates were replaced.</summary>
    public StellaTokenCount CountOf(int text, int replaced) => counts[text].ToManaged(replaced);

    private void MakeRoom(int tokens)
    {
        if (ids.Length < tokens)
        {
            // A forward holds them from its begin to its end, so they lie where nothing is moved.
            ids = GC.AllocateUninitializedArray<uint>(tokens, pinned: true);
        }
    }

    /// <summary>Fills ids and counts; returns how many ids there are, which may be more than fit.</summary>
    private unsafe int Tokenize(ModelHandle model, PackedTexts pack, StellaEmbedOptions options)
    {
        var native = new NativeTokenizeOptions
        {
            size = (uint)sizeof(NativeTokenizeOptions),
            long_text = (uint)options.LongTextBehavior,
            first_text = (uint)FirstText,
        };
        nuint found = 0;
        using var lease = new HandleLease(model);
        fixed (byte* utf8 = pack.Utf8, prompt = options.Prompt.Utf8)
        fixed (nuint* offsets = pack.Offsets)
        fixed (uint* idsPointer = ids)
        fixed (NativeTokenCount* countsPointer = counts)
        {
            native.prompt = prompt;
            native.prompt_length = (nuint)options.Prompt.Utf8.Length;
            NativeError* error = NativeMethods.stella_model_tokenize(
                (NativeModel*)lease.Value,
                utf8,
                (nuint)pack.Length,
                offsets,
                (nuint)Count,
                &native,
                idsPointer,
                (nuint)ids.Length,
                countsPointer,
                &found);
            if (error is not null && NativeErrors.CodeOf(error) == StellaErrorCode.BufferTooSmall)
            {
                NativeErrors.Free(error);
            }
            else
            {
                NativeErrors.ThrowIfFailed(error, pack);
            }
        }

        return checked((int)found);
    }
}

internal static class NativeTokenCountExtensions
{
    /// <summary>The count as callers see it.</summary>
    public static StellaTokenCount ToManaged(this NativeTokenCount count, int replaced) => new()
    {
        Kept = (int)count.kept,
        Total = (int)count.total,
        Truncation = (StellaTruncation)count.cut,
        Replaced = replaced,
    };
}

/// <summary>
/// Packed token ids: text i is <c>Ids[CuSeqlens[i]..CuSeqlens[i + 1]]</c>, and its first <c>LeftOut[i]</c> tokens take no part in its
/// vector.
/// </summary>
internal readonly ref struct TokenBatch(ReadOnlySpan<uint> ids, ReadOnlySpan<uint> cuSeqlens, ReadOnlySpan<uint> leftOut)
{
    public ReadOnlySpan<uint> Ids { get; } = ids;

    public ReadOnlySpan<uint> CuSeqlens { get; } = cuSeqlens;

    public ReadOnlySpan<uint> LeftOut { get; } = leftOut;
}
