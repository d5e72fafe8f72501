using System.Data.Common;
using System.Linq.Expressions;
using System.Runtime.CompilerServices;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.VectorData;

namespace StellaInterop.Samples.FolderSearch;

/// <summary>
/// A vector collection of passages, as Microsoft.Extensions.VectorData has it: whoever knows that interface can search here,
/// and one of NuGet's connectors could stand in its place.
/// </summary>
/// <remarks>
/// Passages become vectors by the generator for documents, and a text that is searched for by the one for queries. A
/// connector has one generator for both: give it the one for documents, and search with vectors of the other.
/// </remarks>
internal abstract class PassageCollection : VectorStoreCollection<string, Passage>
{
    /// <summary>The dimension that Stella models have unless they are asked for another.</summary>
    public const int DefaultDimension = 1024;

    /// <summary>The end of every model key: how texts are cut and stored. Another way needs another number.</summary>
    private const string Format = ", format 2";

    /// <summary>What a passage is read from.</summary>
    protected const string Columns = "key, path, line, file_hash, text";

    private readonly IEmbeddingGenerator<string, Embedding<float>> documents;
    private readonly IEmbeddingGenerator<string, Embedding<float>> queries;
    private readonly string? modelName;

    protected PassageCollection(
        IEmbeddingGenerator<string, Embedding<float>> documents, IEmbeddingGenerator<string, Embedding<float>> queries)
    {
        (this.documents, this.queries) = (documents, queries);
        EmbeddingGeneratorMetadata? metadata = documents.GetService<EmbeddingGeneratorMetadata>();
        Dimension = metadata?.DefaultModelDimensions ?? DefaultDimension;
        modelName = metadata?.DefaultModelId;
    }

    /// <inheritdoc/>
    public override string Name => "passages";

    /// <summary>Numbers of a vector.</summary>
    protected int Dimension { get; }

    /// <summary>The files that passages are of, each with the hashes that it had when they were read and their keys.</summary>
    public async Task<ILookup<string, (string Hash, string Key)>> FilesAsync(CancellationToken cancellationToken)
    {
        await using DbCommand command = Query("SELECT path, file_hash, key FROM passages");
        await using DbDataReader reader = await command.ExecuteReaderAsync(cancellationToken);
        var files = new List<(string Path, string Hash, string Key)>();
        while (await reader.ReadAsync(cancellationToken))
        {
            files.Add((reader.GetString(0), reader.GetString(1), reader.GetString(2)));
        }

        return files.ToLookup(file => file.Path, file => (file.Hash, file.Key));
    }

    /// <inheritdoc/>
    public override Task UpsertAsync(Passage record, CancellationToken cancellationToken = default) =>
        UpsertAsync([record], cancellationToken);

    /// <inheritdoc/>
    public override async Task UpsertAsync(IEnumerable<Passage> records, CancellationToken cancellationToken = default)
    {
        Passage[] passages = [.. records];
        GeneratedEmbeddings<Embedding<float>> made = await documents.GenerateAsync(
            passages.Select(passage => passage.Embedding), cancellationToken: cancellationToken);
        await WriteAsync([.. passages.Zip(made.Select(embedding => embedding.Vector))], cancellationToken);
    }

    /// <inheritdoc/>
    public override async IAsyncEnumerable<VectorSearchResult<Passage>> SearchAsync<TInput>(
        TInput searchValue,
        int top,
        VectorSearchOptions<Passage>? options = null,
        [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(top, 1);
        if (options?.Filter is not null)
        {
            throw new NotSupportedException("This collection searches in all passages: it has no filters.");
        }

        ReadOnlyMemory<float> vector = searchValue switch
        {
            ReadOnlyMemory<float> numbers => numbers,
            float[] numbers => numbers,
            Embedding<float> embedding => embedding.Vector,
            string text => await queries.GenerateVectorAsync(text, cancellationToken: cancellationToken),
            _ => throw new NotSupportedException($"This collection is searched with texts and vectors, not with {typeof(TInput)}."),
        };
        (int skip, double? threshold) = (options?.Skip ?? 0, options?.ScoreThreshold);
        foreach ((Passage passage, double score) in (await NearestAsync(vector, skip + top, cancellationToken)).Skip(skip))
        {
            if (threshold is null || score >= threshold)
            {
                yield return new VectorSearchResult<Passage>(passage, score);
            }
        }
    }

    /// <inheritdoc/>
    public override async IAsyncEnumerable<Passage> GetAsync(
        Expression<Func<Passage, bool>> filter,
        int top,
        FilteredRecordRetrievalOptions<Passage>? options = null,
        [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(filter);
        if (options?.OrderBy is not null)
        {
            throw new NotSupportedException("This collection gives passages in the order of their keys.");
        }

        Func<Passage, bool> wanted = filter.Compile();
        int skip = options?.Skip ?? 0;
        await using DbCommand command = Query($"SELECT {Columns} FROM passages ORDER BY key");
        await using DbDataReader reader = await command.ExecuteReaderAsync(cancellationToken);
        while (await reader.ReadAsync(cancellationToken))
        {
            Passage passage = Read(reader);
            if (wanted(passage) && skip-- <= 0 && top-- > 0)
            {
                yield return passage;
            }
        }
    }

    /// <inheritdoc/>
    public override object? GetService(Type serviceType, object? serviceKey = null)
    {
        ArgumentNullException.ThrowIfNull(serviceType);
        return serviceKey is null && serviceType.IsInstanceOfType(this) ? this : null;
    }

    /// <summary>Writes passages with their vectors, all or none of them.</summary>
    protected abstract Task WriteAsync(
        IReadOnlyList<(Passage Passage, ReadOnlyMemory<float> Vector)> passages, CancellationToken cancellationToken);

    /// <summary>The passages that are nearest to a vector with their scores, best first.</summary>
    protected abstract Task<IReadOnlyList<(Passage Passage, double Score)>> NearestAsync(
        ReadOnlyMemory<float> vector, int count, CancellationToken cancellationToken);

    /// <summary>A query without parameters, to be run.</summary>
    protected abstract DbCommand Query(string text);

    /// <summary>The passage in the <see cref="Columns"/> with which a row begins.</summary>
    protected static Passage Read(DbDataReader reader) => new()
    {
        Key = reader.GetString(0),
        Path = reader.GetString(1),
        Line = reader.GetInt32(2),
        FileHash = reader.GetString(3),
        Text = reader.GetString(4),
    };

    /// <summary>Refuses a store that was made with another model, without changing it.</summary>
    /// <exception cref="InvalidOperationException">It was; or it is no store of this program.</exception>
    public async Task CheckAsync(CancellationToken cancellationToken)
    {
        await using DbCommand command = Query("SELECT id FROM model");
        CheckModel((string?)await command.ExecuteScalarAsync(cancellationToken), await ModelKeyAsync(cancellationToken));
    }

    /// <summary>
    /// Gets the key of the model in the store: its fingerprint, the dimension and the format. The fingerprint is the same on every machine, and
    /// another one for other weights of the same name. A generator without a pool of Stella has only a name.
    /// </summary>
    protected async Task<string> ModelKeyAsync(CancellationToken cancellationToken)
    {
        string? model = documents.GetService<StellaEmbeddingPool>() is { } pool
            ? await pool.GetFingerprintAsync(Dimension, cancellationToken)
            : modelName;
        return $"{model}, {Dimension}{Format}";
    }

    /// <summary>Refuses a store that was made with another model.</summary>
    protected void CheckModel(string? found, string modelKey)
    {
        if (found?.EndsWith(Format, StringComparison.Ordinal) == false)
        {
            throw new InvalidOperationException("The store was made by another version of folder-search. Index into another store.");
        }

        if (found is not null && found != modelKey)
        {
            throw new InvalidOperationException(
                $"The store was made with the model '{found}', and '{modelName}' is '{modelKey}': their vectors cannot be compared. Index into another store.");
        }
    }
}
