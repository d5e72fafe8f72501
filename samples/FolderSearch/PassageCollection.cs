using System.Data.Common;
using System.Linq.Expressions;
using System.Runtime.CompilerServices;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.VectorData;

namespace StellaInterop.Samples.FolderSearch;

/// <summary>
/// Represents a vector collection of passages for Microsoft.Extensions.VectorData. A connector from NuGet can replace it, and any
/// code that uses this interface can search it.
/// </summary>
/// <remarks>
/// The generator for documents embeds passages, and the generator for queries embeds the text of a search. A connector has only one
/// generator: give it the generator for documents, and search with vectors of the generator for queries.
/// </remarks>
internal abstract class PassageCollection : VectorStoreCollection<string, Passage>
{
    /// <summary>The default dimension of Stella models.</summary>
    public const int DefaultDimension = 1024;

    /// <summary>The end of each model key. The number changes with the way in which texts are split and stored.</summary>
    private const string Format = ", format 2";

    /// <summary>The columns of a passage, in the order of <see cref="Read"/>.</summary>
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

    /// <summary>Gets the dimension of the vectors.</summary>
    protected int Dimension { get; }

    /// <summary>Gets the file hash and key of each passage, grouped by the path of the file.</summary>
    public async Task<ILookup<string, (string Hash, string Key)>> GetFilesAsync(CancellationToken cancellationToken)
    {
        await using DbCommand command = CreateCommand("SELECT path, file_hash, key FROM passages");
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
        GeneratedEmbeddings<Embedding<float>> embeddings = await documents.GenerateAsync(
            passages.Select(passage => passage.Embedding), cancellationToken: cancellationToken);
        await WriteAsync([.. passages.Zip(embeddings.Select(embedding => embedding.Vector))], cancellationToken);
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
            throw new NotSupportedException("This collection does not support filters. Search without a filter.");
        }

        ReadOnlyMemory<float> vector = searchValue switch
        {
            ReadOnlyMemory<float> numbers => numbers,
            float[] numbers => numbers,
            Embedding<float> embedding => embedding.Vector,
            string text => await queries.GenerateVectorAsync(text, cancellationToken: cancellationToken),
            _ => throw new NotSupportedException($"This collection cannot search by {typeof(TInput)}. Search by a text or a vector."),
        };
        (int skip, double? threshold) = (options?.Skip ?? 0, options?.ScoreThreshold);
        foreach ((Passage passage, double score) in (await GetNearestAsync(vector, skip + top, cancellationToken)).Skip(skip))
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
            throw new NotSupportedException("This collection supports only the order of keys. Omit OrderBy.");
        }

        Func<Passage, bool> matches = filter.Compile();
        int skip = options?.Skip ?? 0;
        await using DbCommand command = CreateCommand($"SELECT {Columns} FROM passages ORDER BY key");
        await using DbDataReader reader = await command.ExecuteReaderAsync(cancellationToken);
        while (await reader.ReadAsync(cancellationToken))
        {
            Passage passage = Read(reader);
            if (matches(passage) && skip-- <= 0 && top-- > 0)
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

    /// <summary>Writes passages with their vectors in one transaction.</summary>
    protected abstract Task WriteAsync(
        IReadOnlyList<(Passage Passage, ReadOnlyMemory<float> Vector)> passages, CancellationToken cancellationToken);

    /// <summary>Gets the passages nearest to a vector with their scores, best first.</summary>
    protected abstract Task<IReadOnlyList<(Passage Passage, double Score)>> GetNearestAsync(
        ReadOnlyMemory<float> vector, int count, CancellationToken cancellationToken);

    /// <summary>Creates a command without parameters.</summary>
    protected abstract DbCommand CreateCommand(string text);

    /// <summary>Reads a passage from the first columns of a row, which are <see cref="Columns"/>.</summary>
    protected static Passage Read(DbDataReader reader) => new()
    {
        Key = reader.GetString(0),
        Path = reader.GetString(1),
        Line = reader.GetInt32(2),
        FileHash = reader.GetString(3),
        Text = reader.GetString(4),
    };

    /// <summary>Checks that the store was created with the current model. The store is not changed.</summary>
    /// <exception cref="InvalidOperationException">The store was created with another model or by another version.</exception>
    public async Task CheckAsync(CancellationToken cancellationToken)
    {
        await using DbCommand command = CreateCommand("SELECT id FROM model");
        CheckModel((string?)await command.ExecuteScalarAsync(cancellationToken), await GetModelKeyAsync(cancellationToken));
    }

    /// <summary>
    /// Gets the key of the model: its fingerprint, the dimension and the format. The fingerprint is the same on every machine, and
    /// differs for other weights with the same name. For a generator without a Stella pool, the name replaces the fingerprint.
    /// </summary>
    protected async Task<string> GetModelKeyAsync(CancellationToken cancellationToken)
    {
        string? model = documents.GetService<StellaEmbeddingPool>() is { } pool
            ? await pool.GetFingerprintAsync(Dimension, cancellationToken)
            : modelName;
        return $"{model}, {Dimension}{Format}";
    }

    /// <summary>Checks that the model key of a store equals the key of the current model.</summary>
    protected void CheckModel(string? found, string modelKey)
    {
        if (found?.EndsWith(Format, StringComparison.Ordinal) == false)
        {
            throw new InvalidOperationException("The store was created by another version of folder-search. Index into another store.");
        }

        if (found is not null && found != modelKey)
        {
            throw new InvalidOperationException(
                $"The store was created with the model '{found}', but the current model '{modelName}' is '{modelKey}'. Index into another store.");
        }
    }
}
