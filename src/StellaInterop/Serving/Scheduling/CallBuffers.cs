namespace StellaInterop.Serving;

/// <summary>
/// The memory that receives the vectors and the token counts of one call: the caller's, or new arrays that are allocated when the length
/// of a row is known. Not thread-safe: the call writes under its lock.
/// </summary>
internal sealed class CallBuffers
{
    private readonly bool isCallers;
    private readonly bool hasCounts;
    private Memory<float> vectors;
    private Memory<StellaTokenCount> counts;
    private CallerMemory<float> writableVectors;
    private CallerMemory<StellaTokenCount> writableCounts;

    private CallBuffers(Memory<float> vectors, Memory<StellaTokenCount> counts, bool isCallers, bool hasCounts)
    {
        this.vectors = vectors;
        this.counts = counts;
        this.isCallers = isCallers;
        this.hasCounts = hasCounts;
    }

    /// <summary>Gets the array of the vectors, one row per text. Only for buffers that <see cref="New"/> or <see cref="NewWithCounts"/> made.</summary>
    public float[] Vectors { get; private set; } = [];

    /// <summary>Gets the array of the token counts. Only for buffers that <see cref="NewWithCounts"/> made.</summary>
    public StellaTokenCount[] TokenCounts { get; private set; } = [];

    /// <summary>Gets the length of a row, after <see cref="Open"/>.</summary>
    public int RowLength { get; private set; }

    /// <summary>Uses memory of the caller.</summary>
    /// <param name="vectors">At least one row per text.</param>
    /// <param name="counts">At least one count per text, or empty if the caller wants no counts.</param>
    public static CallBuffers OfCaller(Memory<float> vectors, Memory<StellaTokenCount> counts) =>
        new(vectors, counts, isCallers: true, hasCounts: !counts.IsEmpty);

    /// <summary>Allocates the vectors and no counts.</summary>
    public static CallBuffers New() => new(default, default, isCallers: false, hasCounts: false);

    /// <summary>Allocates the vectors and the counts.</summary>
    public static CallBuffers NewWithCounts() => new(default, default, isCallers: false, hasCounts: true);

    /// <summary>Fixes the sizes, and allocates what is not the caller's.</summary>
    /// <exception cref="ArgumentException">The caller's memory is too short, or the vectors are more numbers than an array holds.</exception>
    public void Open(int textCount, int rowLength)
    {
        RowLength = rowLength;
        if (isCallers)
        {
            // The memory is the parameter "destination" of the pool's call.
            Guard.ThrowIfNoRoomForVectors(textCount, rowLength, vectors.Length, "destination");
        }
        else
        {
            vectors = Vectors = StellaEmbeddings.Rows(textCount, rowLength);
            counts = TokenCounts = hasCounts ? new StellaTokenCount[textCount] : [];
        }

        writableVectors = new CallerMemory<float>(vectors[..(textCount * rowLength)]);
        writableCounts = new CallerMemory<StellaTokenCount>(hasCounts ? counts[..textCount] : default);
    }

    /// <summary>Returns the row of a text, to be written to.</summary>
    public Span<float> Row(int text) => writableVectors.Span.Slice(text * RowLength, RowLength);

    /// <summary>Stores the token count of a text, if the caller wants it.</summary>
    public void SetCount(int text, StellaTokenCount count)
    {
        if (!writableCounts.IsEmpty)
        {
            writableCounts.Span[text] = count;
        }
    }

    /// <summary>Copies the results into memory of the caller that is not an array. May run the caller's code.</summary>
    public void CopyOut()
    {
        writableVectors.CopyOut();
        writableCounts.CopyOut();
    }
}
