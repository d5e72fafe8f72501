using System.Diagnostics.CodeAnalysis;

namespace StellaInterop;

/// <summary>The heads of a call, by their dimensions. A row of the call has the vector of each head, one after the other.</summary>
internal readonly struct Heads : IEquatable<Heads>
{
    private readonly uint single;
    private readonly uint[]? several;

    /// <summary>Names one head, without an allocation.</summary>
    public Heads(int dimension)
    {
        single = (uint)dimension;
        RowLength = dimension;
    }

    /// <summary>Names several heads. The list is copied.</summary>
    public Heads(IReadOnlyList<int> dimensions)
    {
        several = [.. dimensions.Select(dimension => (uint)dimension)];
        // Heads that no model has may have a sum that no number holds.
        RowLength = (int)Math.Min(int.MaxValue, several.Sum(dimension => (long)dimension));
    }

    /// <summary>Gets the length of a row.</summary>
    public int RowLength { get; }

    /// <summary>Gets the dimensions, as native code takes them.</summary>
    [UnscopedRef]
    public ReadOnlySpan<uint> Dimensions => several is null ? new ReadOnlySpan<uint>(in single) : several;

    public bool Equals(Heads other) => RowLength == other.RowLength && Dimensions.SequenceEqual(other.Dimensions);

    public override bool Equals(object? obj) => obj is Heads other && Equals(other);

    public override int GetHashCode() => RowLength;

    /// <summary>Returns the dimensions for a message.</summary>
    public override string ToString() => Listing.Of(Dimensions.ToArray());
}
