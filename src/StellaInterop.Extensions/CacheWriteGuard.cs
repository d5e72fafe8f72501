using System.Collections;
using System.Diagnostics;
using Microsoft.Extensions.AI;

namespace StellaInterop.Extensions;

/// <summary>
/// A property of an embedding that must not get into a cache, since the key of that cache does not know the model. It refuses to be
/// written by a cache of Microsoft.Extensions.AI. To everyone else, JSON included, it is an empty list.
/// </summary>
/// <remarks>
/// A cache that is put around a generator asks it for nothing but vectors, so the moment at which it writes an answer is the
/// only one at which it can be found out. The write is one synchronous call from the cache through the JSON serializer to here,
/// so the first caller outside of the runtime is the cache. A cache further down the stack means nothing: code after an <c>await</c> of a
/// cache may run on the stack of the cache. A list of texts is among the types that Microsoft.Extensions.AI writes without reflection.
/// </remarks>
internal sealed class CacheWriteGuard : IEnumerable<string>
{
    /// <summary>The method of a <see cref="CachingEmbeddingGenerator{TInput, TEmbedding}"/> that writes, whoever derives from it.</summary>
    private const string Write = "WriteCacheAsync";

    private static readonly CacheWriteGuard Instance = new();

    private CacheWriteGuard()
    {
    }

    /// <summary>Guards an embedding that leaves a chain, or a generator outside of one.</summary>
    public static void Attach(Embedding embedding) =>
        (embedding.AdditionalProperties ??= [])[StellaEmbeddingGenerator.CacheGuardProperty] = Instance;

    public IEnumerator<string> GetEnumerator()
    {
        if (IsWrittenByCache())
        {
            throw new InvalidOperationException(
                "A cache around a Stella generator knows only the text, and would answer with vectors of another model, prompt or dimension. "
                + $"Chain the cache where the generator is made: AddStellaEmbeddings(...).UseDistributedCache(), or {nameof(StellaEmbeddingGenerator)}.AsBuilder()"
                + ".UseDistributedCache(), or with another builder UseStellaCacheKeys() before UseDistributedCache().");
        }

        return Enumerable.Empty<string>().GetEnumerator();
    }

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    private static bool IsWrittenByCache()
    {
        DiagnosticMethodInfo? caller = new StackTrace(fNeedFileInfo: false).GetFrames()
            .Select(DiagnosticMethodInfo.Create)
            .FirstOrDefault(method => method?.DeclaringTypeName is { } type
                && type != typeof(CacheWriteGuard).FullName
                && !type.StartsWith("System.", StringComparison.Ordinal));
        return caller is not null
            && (caller.Name == Write || caller.DeclaringTypeName!.Contains($"<{Write}>", StringComparison.Ordinal));
    }
}
