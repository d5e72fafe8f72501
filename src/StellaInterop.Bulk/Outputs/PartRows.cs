namespace StellaInterop.Bulk.Outputs;

/// <summary>Represents the columns of a part file.</summary>
/// <param name="Dimensions">The dimensions of the vectors of a row, in order; at least one. No dimension occurs twice.</param>
/// <param name="VectorType">The number format of the vectors.</param>
internal sealed record PartSchema(IReadOnlyList<int> Dimensions, StellaBulkVectorType VectorType)
{
    /// <summary>Returns the name of the column of a dimension: <c>embedding</c>, or <c>embedding_256</c> if there are several.</summary>
    public string ColumnOf(int dimension) => Dimensions.Count == 1
        ? "embedding"
        : string.Create(System.Globalization.CultureInfo.InvariantCulture, $"embedding_{dimension}");

    /// <summary>Returns the JSON name of the scale of 8-bit integers: that of <c>stella embed</c>, unless there are several dimensions.</summary>
    public string JsonScaleOf(int dimension) => Dimensions.Count == 1 ? "scale" : $"{ColumnOf(dimension)}_scale";

    /// <summary>Returns the JSON name of the number of bits: that of <c>stella embed</c>, unless there are several dimensions.</summary>
    public string JsonDimensionOf(int dimension) => Dimensions.Count == 1 ? "dimension" : $"{ColumnOf(dimension)}_dimension";
}

/// <summary>Represents some rows of a part file.</summary>
/// <remarks>The arrays may be longer than their content. The job uses them again after the call that they were passed to.</remarks>
internal sealed class PartRows
{
    /// <summary>Gets the number of rows, at least one.</summary>
    public required int Count { get; init; }

    /// <summary>Gets the ids; equal ids may occur.</summary>
    public required IReadOnlyList<string> Ids { get; init; }

    /// <summary>Gets the number of tokens of each text that were used.</summary>
    public required IReadOnlyList<int> Tokens { get; init; }

    /// <summary>Gets whether each text was truncated.</summary>
    public required IReadOnlyList<bool> Truncated { get; init; }

    /// <summary>Gets the vectors as the model returned them: for each dimension of the schema, row-major <c>[Count, dimension]</c>.</summary>
    public required IReadOnlyList<ReadOnlyMemory<float>> Vectors { get; init; }

    /// <summary>Returns the vector of a row.</summary>
    /// <param name="schema">The columns.</param>
    /// <param name="index">The index of the dimension in the schema.</param>
    /// <param name="row">The index of the row.</param>
    public ReadOnlySpan<float> VectorOf(PartSchema schema, int index, int row) =>
        Vectors[index].Span.Slice(row * schema.Dimensions[index], schema.Dimensions[index]);
}
