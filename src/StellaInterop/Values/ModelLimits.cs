using StellaInterop.Interop;

namespace StellaInterop;

/// <summary>Provides the limits of the native library as managed numbers. The generated imports are their only source.</summary>
internal static class ModelLimits
{
    /// <summary>The limit of tokens of a text if neither the caller nor the model folder sets one.</summary>
    public const int DefaultTextTokens = (int)NativeMethods.STELLA_DEFAULT_TEXT_TOKENS;

    /// <summary>The largest limit of tokens of a text that a caller may set.</summary>
    public const int MaxTextTokens = (int)NativeMethods.STELLA_MAX_TEXT_TOKENS;

    /// <summary>
    /// The tokens of one native call by default: enough to keep every thread busy. More tokens would only need more memory.
    /// </summary>
    public const int DefaultBatchTokens = (int)NativeMethods.STELLA_DEFAULT_BATCH_TOKENS;

    /// <summary>The largest number of tokens of one native call.</summary>
    public const int MaxBatchTokens = (int)NativeMethods.STELLA_MAX_BATCH_TOKENS;

    /// <summary>The largest number of threads of a session.</summary>
    public const int MaxThreads = (int)NativeMethods.STELLA_MAX_THREADS;

    /// <summary>The largest number of sessions of a memory estimate.</summary>
    public const int MaxSessions = (int)NativeMethods.STELLA_MAX_SESSIONS;
}
