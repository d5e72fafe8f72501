namespace StellaInterop.Soak.Memory;

/// <summary>The kind of memory that a planted leak takes.</summary>
internal enum LeakKind
{
    /// <summary>Arrays on the managed heap.</summary>
    Managed,

    /// <summary>Blocks of <c>malloc</c>.</summary>
    Malloc,

    /// <summary>Pages of <c>mmap</c> that were written to.</summary>
    Pages,
}
