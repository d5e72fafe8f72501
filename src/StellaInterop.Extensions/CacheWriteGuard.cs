using System.Collections;
using System.Diagnostics;
using Microsoft.Extensions.AI;

namespace StellaInterop.Extensions;

/// <summary>
/// Represents a property that keeps an embedding out of a cache whose key does not include the model. It throws if a cache of
/// Microsoft.Extensions.AI serializes it. To all other code, including other JSON serialization, it is an empty list.
/// </summary>
/// <remarks>
/// A generator cannot detect a cache around it until the cache writes a result. The write is one synchronous call from the cache
/// through the JSON serializer to this class, so the first caller outside of the runtime is the cache. A cache further down the
/// stack is not relevant, because code after an <c>await</c> of a cache may run on the stack of the cache. The type is a list of
/// strings, because Microsoft.Extensions.AI serializes such a list without reflection.
/// </remarks>
internal sealed class CacheWriteGuard : IEnumerable<string>
{
    /// <summary>
    /// The method that writes to the cache in all classes derived from
    /// <see cref="CachingEmbeddingGenerator{TInput, TEmbedding}"/>.
    /// </summary>
    private const string WriteMethod = "WriteCacheAsync";

    private static readonly CacheWriteGuard Instance = new();

    private CacheWriteGuard()
    {
    }

    /// <summary>Adds the guard to an embedding that leaves a chain, or a generator that is not in a chain.</summary>
    public static void Attach(Embedding embedding) =>
        (embedding.AdditionalProperties ??= [])[StellaEmbeddingGenerator.CacheGuardProperty] = Instance;

    public IEnumerator<string> GetEnumerator()
    {
        if (IsWrittenByCache())
        {
            throw new InvalidOperationException(
                "The key of a cache around a Stella generator includes only the text, so it would return vectors of another model, prompt or dimension. "
                + $"Add the cache to the builder of the generator: AddStellaEmbeddings(...).UseDistributedCache(), or {nameof(StellaEmbeddingGenerator)}.AsBuilder()"
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
            && (caller.Name == WriteMethod || caller.DeclaringTypeName!.Contains($"<{WriteMethod}>", StringComparison.Ordinal));
    }
}
