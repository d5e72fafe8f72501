using System.Data.Common;
using System.Globalization;
using Microsoft.Extensions.AI;
using Npgsql;
using Pgvector;

namespace StellaInterop.Samples.FolderSearch;

/// <summary>Stores passages in PostgreSQL with pgvector. A search compares the query with every vector, so it is exact.</summary>
/// <remarks>
/// For hundreds of thousands of passages, an approximate index may be worth its misses: <c>CREATE INDEX ON folder_search.passages
/// USING hnsw (vector vector_ip_ops)</c>, for dimensions up to 2,000. If most passages are very similar, the index can miss the
/// few different ones. The tables have their own schema, so that other tables with the same names are neither read nor changed.
/// </remarks>
internal sealed class PostgresPassages : PassageCollection
{
    private const string Schema = "folder_search";

    private readonly NpgsqlDataSource source;

    private PostgresPassages(
        NpgsqlDataSource source, IEmbeddingGenerator<string, Embedding<float>> documents, IEmbeddingGenerator<string, Embedding<float>> queries)
        : base(documents, queries) => this.source = source;

    /// <summary>Connects to a server and creates the vector extension and the schema if necessary.</summary>
    public static async Task<PostgresPassages> ConnectAsync(
        string connectionString,
        IEmbeddingGenerator<string, Embedding<float>> documents,
        IEmbeddingGenerator<string, Embedding<float>> queries,
        CancellationToken cancellationToken)
    {
        // The vector type must exist before the connections that use it are opened.
        await using (NpgsqlDataSource plain = NpgsqlDataSource.Create(connectionString))
        await using (NpgsqlCommand command = plain.CreateCommand($"CREATE EXTENSION IF NOT EXISTS vector; CREATE SCHEMA IF NOT EXISTS {Schema}"))
        {
            await command.ExecuteNonQueryAsync(cancellationToken);
        }

        var builder = new NpgsqlDataSourceBuilder(connectionString);

        // The type and operators of vectors are in the schema of the extension.
        builder.ConnectionStringBuilder.SearchPath = $"{Schema}, public";
        builder.UseVector();
        return new PostgresPassages(builder.Build(), documents, queries);
    }

    /// <inheritdoc/>
    public override async Task<bool> CollectionExistsAsync(CancellationToken cancellationToken = default)
    {
        await using NpgsqlCommand command = source.CreateCommand($"SELECT to_regclass('{Schema}.passages') IS NOT NULL");
        return (bool)(await command.ExecuteScalarAsync(cancellationToken))!;
    }

    /// <inheritdoc/>
    public override async Task EnsureCollectionExistsAsync(CancellationToken cancellationToken = default)
    {
        await using (NpgsqlCommand tables = source.CreateCommand(string.Create(CultureInfo.InvariantCulture,
            $"""
            CREATE TABLE IF NOT EXISTS model (id text NOT NULL);
            CREATE TABLE IF NOT EXISTS passages (
                key text PRIMARY KEY, path text NOT NULL, line integer NOT NULL, file_hash text NOT NULL, text text NOT NULL,
                vector vector({Dimension}) NOT NULL);
            """)))
        {
            await tables.ExecuteNonQueryAsync(cancellationToken);
        }

        string modelKey = await GetModelKeyAsync(cancellationToken);
        await using NpgsqlCommand model = source.CreateCommand(
            "INSERT INTO model SELECT $1 WHERE NOT EXISTS (SELECT * FROM model)");
        model.Parameters.Add(new NpgsqlParameter { Value = modelKey });
        await model.ExecuteNonQueryAsync(cancellationToken);
        await using NpgsqlCommand found = source.CreateCommand("SELECT id FROM model");
        CheckModel((string?)await found.ExecuteScalarAsync(cancellationToken), modelKey);
    }

    /// <inheritdoc/>
    public override async Task EnsureCollectionDeletedAsync(CancellationToken cancellationToken = default)
    {
        await using NpgsqlCommand command = source.CreateCommand($"DROP TABLE IF EXISTS {Schema}.passages; DROP TABLE IF EXISTS {Schema}.model");
        await command.ExecuteNonQueryAsync(cancellationToken);
    }

    /// <inheritdoc/>
    public override async Task<Passage?> GetAsync(
        string key, Microsoft.Extensions.VectorData.RecordRetrievalOptions? options = null, CancellationToken cancellationToken = default)
    {
        await using NpgsqlCommand command = source.CreateCommand($"SELECT {Columns} FROM passages WHERE key = $1");
        command.Parameters.Add(new NpgsqlParameter { Value = key });
        await using NpgsqlDataReader reader = await command.ExecuteReaderAsync(cancellationToken);
        return await reader.ReadAsync(cancellationToken) ? Read(reader) : null;
    }

    /// <inheritdoc/>
    public override async Task DeleteAsync(string key, CancellationToken cancellationToken = default)
    {
        await using NpgsqlCommand command = source.CreateCommand("DELETE FROM passages WHERE key = $1");
        command.Parameters.Add(new NpgsqlParameter { Value = key });
        await command.ExecuteNonQueryAsync(cancellationToken);
    }

    /// <inheritdoc/>
    protected override async Task WriteAsync(
        IReadOnlyList<(Passage Passage, ReadOnlyMemory<float> Vector)> passages, CancellationToken cancellationToken)
    {
        // A batch is one transaction.
        await using NpgsqlBatch batch = source.CreateBatch();
        foreach ((Passage passage, ReadOnlyMemory<float> vector) in passages)
        {
            batch.BatchCommands.Add(new NpgsqlBatchCommand(
                """
                INSERT INTO passages VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (key) DO UPDATE SET
                path = EXCLUDED.path, line = EXCLUDED.line, file_hash = EXCLUDED.file_hash, text = EXCLUDED.text, vector = EXCLUDED.vector
                """)
            {
                Parameters =
                {
                    new NpgsqlParameter { Value = passage.Key },
                    new NpgsqlParameter { Value = passage.Path },
                    new NpgsqlParameter { Value = passage.Line },
                    new NpgsqlParameter { Value = passage.FileHash },
                    new NpgsqlParameter { Value = passage.Text },
                    new NpgsqlParameter { Value = new Vector(vector) },
                },
            });
        }

        await batch.ExecuteNonQueryAsync(cancellationToken);
    }

    /// <inheritdoc/>
    protected override async Task<IReadOnlyList<(Passage Passage, double Score)>> GetNearestAsync(
        ReadOnlyMemory<float> vector, int count, CancellationToken cancellationToken)
    {
        // Vectors have length 1, so their dot product is their cosine. The operator <#> returns the negative dot product.
        await using NpgsqlCommand command = source.CreateCommand(
            $"SELECT {Columns}, -(vector <#> $1) FROM passages ORDER BY vector <#> $1 LIMIT $2");
        command.Parameters.Add(new NpgsqlParameter { Value = new Vector(vector) });
        command.Parameters.Add(new NpgsqlParameter { Value = count });
        await using NpgsqlDataReader reader = await command.ExecuteReaderAsync(cancellationToken);
        var found = new List<(Passage Passage, double Score)>();
        while (await reader.ReadAsync(cancellationToken))
        {
            found.Add((Read(reader), reader.GetDouble(5)));
        }

        return found;
    }

    /// <inheritdoc/>
    protected override DbCommand CreateCommand(string text) => source.CreateCommand(text);

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        source.Dispose();
        base.Dispose(disposing);
    }
}
