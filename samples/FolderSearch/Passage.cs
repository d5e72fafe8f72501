using Microsoft.Extensions.VectorData;

namespace StellaInterop.Samples.FolderSearch;

/// <summary>Represents a passage of a file in a store.</summary>
internal sealed record Passage
{
    /// <summary>Gets the key: the path of the file and the number of the passage in it.</summary>
    [VectorStoreKey]
    public required string Key { get; init; }

    /// <summary>Gets the path of the file relative to the folder.</summary>
    [VectorStoreData(IsIndexed = true)]
    public required string Path { get; init; }

    /// <summary>Gets the line in which the passage starts, from 1.</summary>
    [VectorStoreData]
    public required int Line { get; init; }

    /// <summary>Gets the SHA-256 of the file.</summary>
    [VectorStoreData]
    public required string FileHash { get; init; }

    /// <summary>Gets the text of the passage.</summary>
    [VectorStoreData]
    public required string Text { get; init; }

    /// <summary>Gets the text that the generator of the store converts to the vector.</summary>
    [VectorStoreVector(PassageCollection.DefaultDimension)]
    public string Embedding => Text;
}
