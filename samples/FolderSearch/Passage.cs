using Microsoft.Extensions.VectorData;

namespace StellaInterop.Samples.FolderSearch;

/// <summary>A part of a file, as it lies in a store.</summary>
internal sealed record Passage
{
    /// <summary>The file and the number of the part in it.</summary>
    [VectorStoreKey]
    public required string Key { get; init; }

    /// <summary>The file, from the folder on.</summary>
    [VectorStoreData(IsIndexed = true)]
    public required string Path { get; init; }

    /// <summary>The line that it begins in, from 1.</summary>
    [VectorStoreData]
    public required int Line { get; init; }

    /// <summary>SHA-256 of the file that it was read from.</summary>
    [VectorStoreData]
    public required string FileHash { get; init; }

    /// <summary>What it says. Its vector is made of this by the store's generator.</summary>
    [VectorStoreData]
    public required string Text { get; init; }

    /// <summary>What becomes the vector.</summary>
    [VectorStoreVector(PassageCollection.DefaultDimension)]
    public string Embedding => Text;
}
