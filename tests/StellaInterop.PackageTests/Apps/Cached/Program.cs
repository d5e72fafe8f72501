using System.Collections.Concurrent;
using System.Text.Json;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.Caching.Distributed;
using Microsoft.Extensions.DependencyInjection;
using StellaInterop;
using StellaInterop.Models.Mini;

// Two generators share one cache, and a second service provider reads its entries. Prints the ranking of the sentences.
var cache = new DictionaryCache();
string[] first = await RunAsync();
int writes = cache.Writes;
string[] second = await RunAsync();
if (!first.SequenceEqual(second) || cache.Writes != writes || writes != 2 * Ranking.All.Length)
{
    Console.WriteLine($"{writes} writes, then {cache.Writes}: {string.Join('|', first)} and {string.Join('|', second)}");
    return 1;
}

Array.ForEach(second[1..], Console.WriteLine);
return 0;

async Task<string[]> RunAsync()
{
    var services = new ServiceCollection();
    services.AddSingleton<IDistributedCache>(cache);
    services.AddStellaEmbeddings(options => options.ModelPath = StellaMiniModel.Path).UseDistributedCache();
    services.AddStellaQueryEmbeddings(Ranking.Options.Prompt).UseDistributedCache();
    await using ServiceProvider provider = services.BuildServiceProvider();
    var documents = provider.GetRequiredService<IEmbeddingGenerator<string, Embedding<float>>>();
    var sentences = provider.GetRequiredKeyedService<IEmbeddingGenerator<string, Embedding<float>>>(StellaServiceKeys.Query);
    _ = await documents.GenerateAsync(Ranking.All);
    GeneratedEmbeddings<Embedding<float>> found = await sentences.GenerateAsync(Ranking.All);
    await ExpectRefusalAsync(documents);
    string metadata = $"{found.Usage!.InputTokenCount} {string.Join(' ', found.Select(embedding => embedding.GetTokenCount()))}"
        + JsonSerializer.Serialize(found[0].AdditionalProperties, AIJsonUtilities.DefaultOptions.GetTypeInfo(typeof(AdditionalPropertiesDictionary)));
    return [metadata, .. Ranking.Of([.. found.SelectMany(embedding => embedding.Vector.ToArray())])];
}

// A plain caching generator is refused, because its keys would not include the prompt.
async Task ExpectRefusalAsync(IEmbeddingGenerator<string, Embedding<float>> generator)
{
    var around = new DistributedCachingEmbeddingGenerator<string, Embedding<float>>(generator, new DictionaryCache());
    try
    {
        _ = await around.GenerateAsync(Ranking.All);
    }
    catch (InvalidOperationException e) when (e.Message.Contains("UseStellaCacheKeys"))
    {
        return;
    }

    throw new InvalidOperationException("a cache around a generator was not refused");
}

internal sealed class DictionaryCache : IDistributedCache
{
    private readonly ConcurrentDictionary<string, byte[]> entries = new();

    public int Writes { get; private set; }

    public byte[]? Get(string key) => entries.GetValueOrDefault(key);

    public Task<byte[]?> GetAsync(string key, CancellationToken token = default) => Task.FromResult(Get(key));

    public void Set(string key, byte[] value, DistributedCacheEntryOptions options)
    {
        entries[key] = value;
        Writes++;
    }

    public Task SetAsync(string key, byte[] value, DistributedCacheEntryOptions options, CancellationToken token = default)
    {
        Set(key, value, options);
        return Task.CompletedTask;
    }

    public void Refresh(string key)
    {
    }

    public Task RefreshAsync(string key, CancellationToken token = default) => Task.CompletedTask;

    public void Remove(string key) => entries.TryRemove(key, out _);

    public Task RemoveAsync(string key, CancellationToken token = default)
    {
        Remove(key);
        return Task.CompletedTask;
    }
}
