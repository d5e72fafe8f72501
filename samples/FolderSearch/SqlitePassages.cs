using System.Data.Common;
using System.Runtime.InteropServices;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.AI;
using StellaInterop.Vectors;

namespace StellaInterop.Samples.FolderSearch;

/// <summary>
/// Stores passages in an SQLite file. A search compares the query with every vector and holds one row at a time in memory.
/// </summary>
internal sealed class SqlitePassages : PassageCollection
{
    /// <summary>The application id that marks an SQLite file as a store of this program: "Stla" in ASCII.</summary>
    private const int ApplicationId = 0x53746c61;

    /// <summary>The time in seconds to wait for another process that writes the store.</summary>
    private const int BusyTimeoutSeconds = 5;

    private readonly SqliteConnection connection;

    /// <summary>Opens a store.</summary>
    /// <param name="file">The file.</param>
    /// <param name="documents">The generator for passages.</param>
    /// <param name="queries">The generator for queries.</param>
    /// <param name="mode">Whether the file may be created. A read-only file is opened for reading in every mode.</param>
    /// <exception cref="InvalidOperationException">The file cannot be opened, or belongs to another program.</exception>
    public SqlitePassages(
        string file,
        IEmbeddingGenerator<string, Embedding<float>> documents,
        IEmbeddingGenerator<string, Embedding<float>> queries,
        SqliteOpenMode mode = SqliteOpenMode.ReadWriteCreate)
        : base(documents, queries)
    {
        connection = new SqliteConnection(
            new SqliteConnectionStringBuilder { DataSource = file, Mode = mode, Pooling = false, DefaultTimeout = BusyTimeoutSeconds }.ToString());
        try
        {
            connection.Open();
            CheckOwner();
        }
        catch
        {
            connection.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public override async Task<bool> CollectionExistsAsync(CancellationToken cancellationToken = default)
    {
        await using SqliteCommand command = CreateSqliteCommand("SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'passages'");
        return (long)(await command.ExecuteScalarAsync(cancellationToken))! > 0;
    }

    /// <inheritdoc/>
    public override async Task EnsureCollectionExistsAsync(CancellationToken cancellationToken = default)
    {
        if (await CollectionExistsAsync(cancellationToken))
        {
            // A store of another model is not changed.
            await CheckAsync(cancellationToken);
            return;
        }

        string modelKey = await GetModelKeyAsync(cancellationToken);
        await using SqliteCommand command = CreateSqliteCommand(
            $"""
            BEGIN IMMEDIATE;
            PRAGMA application_id = {ApplicationId};
            CREATE TABLE IF NOT EXISTS model (id TEXT NOT NULL);
            INSERT INTO model SELECT $model WHERE NOT EXISTS (SELECT * FROM model);
            CREATE TABLE IF NOT EXISTS passages (
                key TEXT PRIMARY KEY, path TEXT NOT NULL, line INTEGER NOT NULL, file_hash TEXT NOT NULL, text TEXT NOT NULL,
                vector BLOB NOT NULL);
            COMMIT;
            SELECT id FROM model;
            """,
            ("$model", modelKey));
        CheckModel((string?)await command.ExecuteScalarAsync(cancellationToken), modelKey);
    }

    /// <inheritdoc/>
    public override async Task EnsureCollectionDeletedAsync(CancellationToken cancellationToken = default)
    {
        await using SqliteCommand command = CreateSqliteCommand("DROP TABLE IF EXISTS passages; DROP TABLE IF EXISTS model;");
        await command.ExecuteNonQueryAsync(cancellationToken);
    }

    /// <inheritdoc/>
    public override async Task<Passage?> GetAsync(
        string key, Microsoft.Extensions.VectorData.RecordRetrievalOptions? options = null, CancellationToken cancellationToken = default)
    {
        await using SqliteCommand command = CreateSqliteCommand($"SELECT {Columns} FROM passages WHERE key = $key", ("$key", key));
        await using SqliteDataReader reader = await command.ExecuteReaderAsync(cancellationToken);
        return await reader.ReadAsync(cancellationToken) ? Read(reader) : null;
    }

    /// <inheritdoc/>
    public override async Task DeleteAsync(string key, CancellationToken cancellationToken = default)
    {
        await using SqliteCommand command = CreateSqliteCommand("DELETE FROM passages WHERE key = $key", ("$key", key));
        await command.ExecuteNonQueryAsync(cancellationToken);
    }

    /// <inheritdoc/>
    protected override async Task WriteAsync(
        IReadOnlyList<(Passage Passage, ReadOnlyMemory<float> Vector)> passages, CancellationToken cancellationToken)
    {
        await using var transaction = (SqliteTransaction)await connection.BeginTransactionAsync(cancellationToken);
        foreach ((Passage passage, ReadOnlyMemory<float> vector) in passages)
        {
            await using SqliteCommand command = CreateSqliteCommand(
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
    protected override async Task<IReadOnlyList<(Passage Passage, double Score)>> GetNearestAsync(
        ReadOnlyMemory<float> vector, int count, CancellationToken cancellationToken)
    {
        // The queue drops the lowest score first. Among equal scores it drops the later passage.
        var best = new PriorityQueue<string, (float Score, int Order)>();
        await using SqliteCommand command = CreateSqliteCommand("SELECT key, vector FROM passages ORDER BY key");
        await using SqliteDataReader reader = await command.ExecuteReaderAsync(cancellationToken);
        for (int order = 0; await reader.ReadAsync(cancellationToken); order--)
        {
            byte[] row = await reader.GetFieldValueAsync<byte[]>(1, cancellationToken);
            best.Enqueue(reader.GetString(0), (Similarity.Dot(vector.Span, MemoryMarshal.Cast<byte, float>(row)), order));
            if (best.Count > count)
            {
                best.Dequeue();
            }
        }

        var found = new List<(Passage Passage, double Score)>();
        foreach ((string key, (float score, _)) in best.UnorderedItems.OrderByDescending(item => item.Priority))
        {
            if (await GetAsync(key, null, cancellationToken) is { } passage)
            {
                found.Add((passage, score));
            }
        }

        return found;
    }

    /// <inheritdoc/>
    protected override DbCommand CreateCommand(string text) => CreateSqliteCommand(text);

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        connection.Dispose();
        base.Dispose(disposing);
    }

    /// <summary>Refuses a file that another program created.</summary>
    private void CheckOwner()
    {
        using SqliteCommand tables = CreateSqliteCommand("SELECT COUNT(*), SUM(name IN ('model', 'passages')) FROM sqlite_master WHERE type = 'table'");
        using SqliteDataReader counts = tables.ExecuteReader();
        counts.Read();
        using SqliteCommand command = CreateSqliteCommand("PRAGMA application_id");
        if (counts.GetInt64(0) > 0 && (long)command.ExecuteScalar()! != ApplicationId)
        {
            throw new InvalidOperationException(
                counts.GetInt64(0) == 2 && counts.GetInt64(1) == 2
                    ? "The store was created by another version of folder-search. Index into another store."
                    : "The file is a database of another program. Index into another store.");
        }
    }

#pragma warning disable CA2100 // All command texts are constants of this file.
    private SqliteCommand CreateSqliteCommand(string text, params ReadOnlySpan<(string Name, object Value)> parameters)
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
