using System.Runtime.InteropServices;

namespace StellaInterop.Interop;

/// <summary>
/// Holds the token ids of a pack of texts, one text after the other. The memory is reused for the next pack.
/// </summary>
internal sealed class TokenizedPack
{
    private uint[] ids = [];
    private NativeTokenCount[] counts = [];

    /// <summary>The replaced surrogates of each text.</summary>
    private int[] replaced = [];

    /// <summary>The start of each text in <see cref="ids"/>, and the end of the last text.</summary>
    private uint[] starts = [];

    /// <summary>The <c>cu_seqlens</c> of one batch: the same starts, relative to the batch.</summary>
    private uint[] cuSeqlens = [];

    /// <summary>The number of tokens at the beginning of each text that the pooling leaves out.</summary>
    private uint[] leftOut = [];

    /// <summary>Gets the index of the first text in the list of the caller.</summary>
    public int FirstText { get; private set; }

    /// <summary>Gets the number of texts.</summary>
    public int Count { get; private set; }

    /// <summary>Gets the ids of all texts of the pack, one text after the other. Valid until the next pack.</summary>
    public ReadOnlySpan<uint> AllTokens => ids.AsSpan(0, (int)starts[Count]);

    /// <summary>Tokenizes a pack, which replaces the previous one.</summary>
    /// <param name="model">The model whose tokenizer is used.</param>
    /// <param name="pack">The texts.</param>
    /// <param name="options">The prompt, and the behavior for long texts.</param>
    /// <param name="info">The properties of the model.</param>
    /// <exception cref="StellaInputException">
    /// A text cannot be tokenized, or is too long with <see cref="StellaLongTextBehavior.Error"/>.
    /// </exception>
    public void Fill(ModelHandle model, PackedTexts pack, StellaEmbedOptions options, StellaModelInfo info)
    {
        FirstText = pack.FirstText;
        Count = pack.Count;
        if (counts.Length < Count)
        {
            counts = new NativeTokenCount[Count];
            replaced = new int[Count];
            starts = new uint[Count + 1];
            cuSeqlens = new uint[Count + 1];
            leftOut = new uint[Count];
        }

        // A token has at least one byte of its text, except in the rare text that normalization makes longer. For such a text, native
        // code returns the size that it needs.
        long guess = Math.Min((long)Count * info.MaxTokens, pack.Length + ((long)Count * info.TokensBesideText(options.Prompt)));
        EnsureCapacity((int)guess);
        int needed = Tokenize(model, pack, options);
        if (needed > ids.Length)
        {
            EnsureCapacity(needed);
            _ = Tokenize(model, pack, options);
        }

        starts[0] = 0;
        pack.Replaced.CopyTo(replaced);
        for (int i = 0; i < Count; i++)
        {
            starts[i + 1] = starts[i] + counts[i].kept;
            leftOut[i] = counts[i].left_out;
        }
    }

    /// <summary>
    /// Returns the end of the longest batch from <paramref name="start"/> that has at most <paramref name="maxTokens"/> tokens, or one
    /// text.
    /// </summary>
    public int BatchEnd(int start, int maxTokens)
    {
        int end = start + 1;
        while (end < Count && starts[end + 1] - starts[start] <= maxTokens)
        {
            end++;
        }

        return end;
    }

    /// <summary>
    /// Returns the texts from <paramref name="start"/> to <paramref name="end"/> as a packed batch. Valid until the next call.
    /// </summary>
    public TokenBatch Batch(int start, int end)
    {
        Span<uint> relative = cuSeqlens.AsSpan(0, end - start + 1);
        for (int i = 0; i < relative.Length; i++)
        {
            relative[i] = starts[start + i] - starts[start];
        }

        return new TokenBatch(ids.AsSpan((int)starts[start]..(int)starts[end]), relative, leftOut.AsSpan(start..end));
    }

    /// <summary>Returns the ids of a text. Valid until the next pack.</summary>
    public ReadOnlySpan<int> IdsOf(int text) => MemoryMarshal.Cast<uint, int>(ids.AsSpan(RangeOf(text)));

    /// <summary>Returns the range of a text within <see cref="AllTokens"/>.</summary>
    public Range RangeOf(int text) => (int)starts[text]..(int)starts[text + 1];

    /// <summary>Returns the number of tokens at the beginning of a text that the pooling leaves out.</summary>
    public uint LeftOutOf(int text) => leftOut[text];

    /// <summary>Returns the number of tokens of a text.</summary>
    public StellaTokenCount CountOf(int text) => counts[text].ToManaged(replaced[text]);

    private void EnsureCapacity(int tokens)
    {
        if (ids.Length < tokens)
        {
            // Native code holds the address during a forward pass, so the ids are on the pinned heap, where the collector moves nothing.
            ids = GC.AllocateUninitializedArray<uint>(tokens, pinned: true);
        }
    }

    /// <summary>Fills ids and counts.</summary>
    /// <returns>The number of ids of the pack. If it is above the capacity, nothing is filled.</returns>
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
    /// <summary>Converts a native count.</summary>
    public static StellaTokenCount ToManaged(this NativeTokenCount count, int replaced) => new()
    {
        Kept = (int)count.kept,
        Total = (int)count.total,
        Truncation = (StellaTruncation)count.cut,
        Replaced = replaced,
    };
}

/// <summary>
/// Represents a packed batch of token ids. Text i is <c>Ids[CuSeqlens[i]..CuSeqlens[i + 1]]</c>, and the pooling leaves out its first
/// <c>LeftOut[i]</c> tokens.
/// </summary>
internal readonly ref struct TokenBatch(ReadOnlySpan<uint> ids, ReadOnlySpan<uint> cuSeqlens, ReadOnlySpan<uint> leftOut)
{
    public ReadOnlySpan<uint> Ids { get; } = ids;

    public ReadOnlySpan<uint> CuSeqlens { get; } = cuSeqlens;

    public ReadOnlySpan<uint> LeftOut { get; } = leftOut;
}
