using System.Data.Common;
using System.Runtime.InteropServices;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.AI;

namespace StellaInterop.Samples.FolderSearch;

/// <summary>Passages in a file of SQLite. A search compares the query with every vector, which are kept in memory once read.</summary>
internal sealed class SqlitePassages : PassageCollection
{
    private readonly SqliteConnection connection;
    private (string[] Keys, float[] Rows)? cached;

    public SqlitePassages(
        string file, IEmbeddingGenerator<string, Embedding<float>> documents, IEmbeddingGenerator<string, Embedding<float>> queries)
        : base(documents, queries)
    {
        connection = new SqliteConnection(new SqliteConnectionStringBuilder { DataSource = file, Pooling = false }.ToString());
        connection.Open();
    }

    /// <inheritdoc/>
    public override async Task<bool> CollectionExistsAsync(CancellationToken cancellationToken = default)
    {
        await using SqliteCommand command = Command("SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'passages'");
        return (long)(await command.ExecuteScalarAsync(cancellationToken))! > 0;
    }

    /// <inheritdoc/>
    public override async Task EnsureCollectionExistsAsync(CancellationToken cancellationToken = default)
    {
        string modelKey = await ModelKeyAsync(cancellationToken);
        await using SqliteCommand command = Command(
            """
            CREATE TABLE IF NOT EXISTS model (id TEXT NOT NULL);
            INSERT INTO model SELECT $model WHERE NOT EXISTS (SELECT * FROM model);
            CREATE TABLE IF NOT EXISTS passages (
                key TEXT PRIMARY KEY, path TEXT NOT NULL, line INTEGER NOT NULL, file_hash TEXT NOT NULL, text TEXT NOT NULL,
                vector BLOB NOT NULL);
            SELECT id FROM model;
            """,
            ("$model", modelKey));
        CheckModel((string?)await command.ExecuteScalarAsync(cancellationToken), modelKey);
    }

    /// <inheritdoc/>
    public override async Task EnsureCollectionDeletedAsync(CancellationToken cancellationToken = default)
    {
        cached = null;
        await using SqliteCommand command = Command("DROP TABLE IF EXISTS passages; DROP TABLE IF EXISTS model;");
        await command.ExecuteNonQueryAsync(cancellationToken);
    }

    /// <inheritdoc/>
    public override async Task<Passage?> GetAsync(
        string key, Microsoft.Extensions.VectorData.RecordRetrievalOptions? options = null, CancellationToken cancellationToken = default)
    {
        await using SqliteCommand command = Command($"SELECT {Columns} FROM passages WHERE key = $key", ("$key", key));
        await using SqliteDataReader reader = await command.ExecuteReaderAsync(cancellationToken);
        return await reader.ReadAsync(cancellationToken) ? Read(reader) : null;
    }

    /// <inheritdoc/>
    public override async Task DeleteAsync(string key, CancellationToken cancellationToken = default)
    {
        cached = null;
        await using SqliteCommand command = Command("DELETE FROM passages WHERE key = $key", ("$key", key));
        await command.ExecuteNonQueryAsync(cancellationToken);
    }

    /// <inheritdoc/>
    protected override async Task WriteAsync(
        IReadOnlyList<(Passage Passage, ReadOnlyMemory<float> Vector)> passages, CancellationToken cancellationToken)
    {
        cached = null;
        await using var transaction = (SqliteTransaction)await connection.BeginTransactionAsync(cancellationToken);
        foreach ((Passage passage, ReadOnlyMemory<float> vector) in passages)
        {
            await using SqliteCommand command = Command(
                "INSERT OR REPLACE INTO passages VALUES ($key, $path, $line, $hash, $text, $vector)",
                ("$key", passage.Key),
                ("$path", passage.Path),
                ("$line", passage.Line),
                ("$hash", passage.FileHash),
                ("$text", passage.Text),
                ("$vector", MemoryMarshal.AsBytes(vector.Span).ToArray()));
            command.Transaction = transaction;
            await command.ExecuteNonQueryAsync(cancellationToken);
        }

        await transaction.CommitAsync(cancellationToken);
    }

    /// <inheritdoc/>
    protected override async Task<IReadOnlyList<(Passage Passage, double Score)>> NearestAsync(
        ReadOnlyMemory<float> vector, int count, CancellationToken cancellationToken)
    {
        (string[] keys, float[] rows) = cached ??= await VectorsAsync(cancellationToken);
        float[] scores = new float[keys.Length];
        Similarity.Dot(vector.Span, rows, scores);
        int[] best = new int[Math.Min(count, keys.Length)];
        Similarity.TopK<float>(scores, best);
        var found = new List<(Passage Passage, double Score)>();
        foreach (int row in best)
        {
            if (await GetAsync(keys[row], null, cancellationToken) is { } passage)
            {
                found.Add((passage, scores[row]));
            }
        }

        return found;
    }

    /// <inheritdoc/>
    protected override DbCommand Query(string text) => Command(text);

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        connection.Dispose();
        base.Dispose(disposing);
    }

    private async Task<(string[] Keys, float[] Rows)> VectorsAsync(CancellationToken cancellationToken)
    {
        var keys = new List<string>();
        var rows = new List<float>();
        await using SqliteCommand command = Command("SELECT key, vector FROM passages ORDER BY key");
        await using SqliteDataReader reader = await command.ExecuteReaderAsync(cancellationToken);
        while (await reader.ReadAsync(cancellationToken))
        {
            keys.Add(reader.GetString(0));
            rows.AddRange(MemoryMarshal.Cast<byte, float>(await reader.GetFieldValueAsync<byte[]>(1, cancellationToken)));
        }

        return ([.. keys], [.. rows]);
    }

#pragma warning disable CA2100 // Every text of a command is a constant of this file.
    private SqliteCommand Command(string text, params ReadOnlySpan<(string Name, object Value)> parameters)
    {
        SqliteCommand command = connection.CreateCommand();
        command.CommandText = text;
        foreach ((string name, object value) in parameters)
        {
            command.Parameters.AddWithValue(name, value);
        }

        return command;
    }
#pragma warning restore CA2100
}
