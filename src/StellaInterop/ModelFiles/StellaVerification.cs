namespace StellaInterop.ModelFiles;

/// <summary>Specifies how a file compares with a manifest.</summary>
public enum StellaFileState
{
    /// <summary>Size and hashes are those of the manifest.</summary>
    Valid = 0,

    /// <summary>The manifest lists the file, and the folder does not have it.</summary>
    Missing = 1,

    /// <summary>The size differs; the file was not hashed.</summary>
    WrongSize = 2,

    /// <summary>The hash differs; both hashes if the manifest has two.</summary>
    WrongHash = 3,

    /// <summary>The file belongs to the model, and the manifest does not list it.</summary>
    Unlisted = 4,

    /// <summary>
    /// The SHA-256 differs and the BLAKE3 does not: one of the two hashes of the manifest was not computed from these bytes.
    /// </summary>
    WrongSha256 = 5,

    /// <summary>
    /// The BLAKE3 differs and the SHA-256 does not: one of the two hashes of the manifest was not computed from these bytes.
    /// </summary>
    WrongBlake3 = 6,
}

/// <summary>Represents a file that was compared with a manifest.</summary>
public sealed record StellaVerifiedFile
{
    internal StellaVerifiedFile()
    {
    }

    /// <summary>Gets the path of the file relative to the model folder, with forward slashes.</summary>
    public required string Path { get; init; }

    /// <summary>Gets the state of the file, compared with the manifest.</summary>
    public required StellaFileState State { get; init; }
}

/// <summary>Represents the result of comparing a folder with a manifest. Immutable and thread-safe.</summary>
public sealed class StellaVerification
{
    internal StellaVerification(IReadOnlyList<StellaVerifiedFile> files) => Files = files;

    /// <summary>Gets the files of the manifest in its order, then the files that the manifest does not list.</summary>
    public IReadOnlyList<StellaVerifiedFile> Files { get; }

    /// <summary>Gets whether the folder has every file as the manifest states it, and no other file of a model.</summary>
    public bool IsValid => Files.All(file => file.State == StellaFileState.Valid);
}
