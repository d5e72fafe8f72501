using System.Data.Common;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.VectorData;
using Microsoft.SemanticKernel.Data;
using Npgsql;
using StellaInterop.ModelFiles;
using StellaInterop.Models.Mini;
using StellaInterop.Samples.FolderSearch;
using StellaInterop.Tests;
using StellaInterop.Vectors;

namespace StellaInterop.Samples.Tests;

/// <summary>
/// Tests folder search with each store. PostgreSQL is included if STELLA_POSTGRES is the connection string of a server.
/// </summary>
[TestFixtureSource(nameof(Stores))]
internal sealed class StoreTests(string kind)
{
    private readonly List<string> warnings = [];
    private ServiceProvider services = null!;
    private StellaModel model = null!;
    private string folder = null!;
    private PassageCollection store = null!;
    private IndexReport first = null!;

    public static IEnumerable<string> Stores() => Server is null ? ["SQLite"] : ["SQLite", "PostgreSQL"];

    private static string? Server => Environment.GetEnvironmentVariable("STELLA_POSTGRES");

    private IEmbeddingGenerator<string, Embedding<float>> ForDocuments => services.GetRequiredService<IEmbeddingGenerator<string, Embedding<float>>>();

    private IEmbeddingGenerator<string, Embedding<float>> ForQueries =>
        services.GetRequiredKeyedService<IEmbeddingGenerator<string, Embedding<float>>>(StellaServiceKeys.Query);

    [OneTimeSetUp]
    public async Task IndexAsync()
    {
        var collection = new ServiceCollection();
        collection.AddStellaEmbeddings(options => options.ModelPath = StellaMiniModel.Path);
        collection.AddStellaQueryEmbeddings();
        services = collection.BuildServiceProvider();
        await services.GetRequiredService<StellaEmbeddingPool>().WarmUpAsync();
        model = StellaModel.Load(StellaMiniModel.Path);
        folder = Directory.CreateTempSubdirectory("stella-search").FullName;
        foreach ((string name, string text) in Documents.All())
        {
            await File.WriteAllTextAsync(Path.Combine(folder, name), text);
        }

        store = await OpenAsync(ForDocuments);
        await store.EnsureCollectionDeletedAsync();
        first = await UpdateAsync();
    }

    [OneTimeTearDown]
    public async Task CloseAsync()
    {
        store?.Dispose();
        model?.Dispose();
        await services.DisposeAsync();
        Directory.Delete(folder, recursive: true);
    }

    [Test]
    public async Task Twenty_questions_find_their_answers_in_two_thousand_documents()
    {
        Assert.That(first, Is.EqualTo(new IndexReport(Documents.Count, Documents.Count, 0, 0, Documents.Count)));
        var query = new FolderQuery(store, ForDocuments, ForQueries);
        var found = new List<string>();
        foreach (string question in Documents.Questions)
        {
            IReadOnlyList<Answer> answers = await query.SearchAsync(question, 3, CancellationToken.None);
            Assert.That(answers.Select(answer => answer.Score), Is.Ordered.Descending.And.All.InRange(-1, 1.001));
            found.Add(answers[0].Passage.Path);
        }

        Assert.That(Documents.Questions, Has.Count.EqualTo(20));
        Assert.That(string.Join('\n', found), Is.EqualTo(string.Join('\n', Enumerable.Range(0, 20).Select(Documents.Name))));
    }

    [Test]
    public async Task Scores_are_the_cosines_of_the_vectors()
    {
        ReadOnlyMemory<float> query = await ForQueries.GenerateVectorAsync(Documents.Questions[3]);
        VectorSearchResult<Passage> nearest = (await store.SearchAsync(Documents.Questions[3], 1).ToArrayAsync())[0];
        ReadOnlyMemory<float> vector = await ForDocuments.GenerateVectorAsync(nearest.Record.Text);
        Assert.That(nearest.Score, Is.EqualTo(Similarity.Cosine(query.Span, vector.Span)).Within(1e-5), "a search by text uses the prompt for queries");
        Assert.That(
            (await store.SearchAsync(query, 1).ToArrayAsync())[0], Is.EqualTo(nearest).Using<VectorSearchResult<Passage>>((a, b) => a.Record == b.Record));
    }

    [Test]
    public async Task The_result_has_the_sentence_closest_to_the_question()
    {
        const string Name = "long.md";
        await WriteAsync(Name, "# Things\n\nSnow fell all night. The frog is green. Paris is the capital of France! Who sings?\n");
        await UpdateAsync();
        Answer answer = (await new FolderQuery(store, ForDocuments, ForQueries).SearchAsync("What is the French capital?", 1, CancellationToken.None))[0];
        Assert.That((answer.Passage.Path, answer.Passage.Line, answer.Sentence), Is.EqualTo((Name, 1, "Paris is the capital of France!")));
        await RemoveAsync(Name);
    }

    [Test]
    public async Task Only_changed_files_are_read_again()
    {
        const string Name = "sub/changing.txt";
        string text = string.Concat(Enumerable.Range(0, 60).Select(i => $"In the year {i} the river ran by the mill.\n\n"));
        await WriteAsync(Name, text);
        IndexReport report = await UpdateAsync();
        Assert.That(report, Is.EqualTo(new IndexReport(Documents.Count + 1, 1, 0, 0, PassageReader.CreateSplitter(model).Split(text).Count())));
        Assert.That(report.Passages, Is.GreaterThan(3));
        Assert.That(await UpdateAsync(), Is.EqualTo(new IndexReport(Documents.Count + 1, 0, 0, 0, 0)));
        await WriteAsync(Name, "Shorter now.");
        Assert.That(await UpdateAsync(), Is.EqualTo(new IndexReport(Documents.Count + 1, 1, 0, 0, 1)));
        Passage[] remaining = await store.GetAsync(passage => passage.Path == Name, 10).ToArrayAsync();
        Assert.That(remaining.Select(passage => (passage.Key, passage.Text)), Is.EqualTo(new[] { ($"{Name}#0", "Shorter now.") }));
        await RemoveAsync(Name);
        Assert.That(await store.GetAsync($"{Name}#0"), Is.Null);
    }

    [Test]
    public async Task A_file_with_passages_of_two_hashes_is_read_again()
    {
        const string Name = "begun.txt";
        await WriteAsync(Name, "It began, and it was stopped before what was left of the file was gone.");
        await UpdateAsync();
        Passage old = (await store.GetAsync($"{Name}#0"))!;
        await store.UpsertAsync(old with { Key = $"{Name}#1", FileHash = "of another file", Text = "what is left" });
        Assert.That(await UpdateAsync(), Has.Property(nameof(IndexReport.Changed)).EqualTo(1));
        Assert.That(await store.GetAsync($"{Name}#1"), Is.Null);
        await RemoveAsync(Name);
    }

    /// <summary>A run that is killed in the middle of a file leaves no first passage, because it is written last.</summary>
    [Test]
    public async Task A_file_without_its_first_passage_is_read_again()
    {
        const string Name = "killed.txt";
        string text = string.Concat(Enumerable.Range(0, 60).Select(i => $"In the year {i} the frost came early.\n\n"));
        await WriteAsync(Name, text);
        int passages = (await UpdateAsync()).Passages;
        await store.DeleteAsync($"{Name}#0");
        Assert.That(await UpdateAsync(), Is.EqualTo(new IndexReport(Documents.Count + 1, 1, 0, 0, passages)));
        Assert.That((await store.GetAsync($"{Name}#0"))!.Line, Is.EqualTo(1));
        Passage second = (await store.GetAsync($"{Name}#1"))!;
        Assert.That(text.Split('\n')[second.Line - 1], Is.EqualTo(second.Text.Split('\n')[0]), "the line of a passage is the line of its first character");
        await RemoveAsync(Name);
    }

    [Test]
    public async Task A_cancelled_run_is_completed_by_the_next_run()
    {
        string text = string.Concat(Enumerable.Range(0, 8000).Select(i => $"In the year {i} the harvest was good.\n\n"));
        const string Name = "harvest.txt";
        await WriteAsync(Name, text);
        using var cancel = new CancellationTokenSource();
        var generator = new CancellingGenerator(ForDocuments, cancel);
        using PassageCollection cancelled = await OpenAsync(generator);
        var index = new FolderIndex(folder, cancelled, PassageReader.CreateSplitter(model), warnings.Add);
        Assert.That(async () => await index.UpdateAsync(null, cancel.Token), Throws.InstanceOf<OperationCanceledException>());
        Passage[] written = await store.GetAsync(passage => passage.Path == Name, int.MaxValue).ToArrayAsync();
        Assert.That(written, Is.Not.Empty.And.None.Matches<Passage>(passage => passage.Key == $"{Name}#0"));
        IndexReport report = await UpdateAsync();
        Assert.That(report, Is.EqualTo(new IndexReport(Documents.Count + 1, 1, 0, 0, PassageReader.CreateSplitter(model).Split(text).Count())));
        Assert.That(await UpdateAsync(), Has.Property(nameof(IndexReport.Changed)).Zero);
        await RemoveAsync(Name);
    }

    [Test]
    public async Task An_unreadable_file_keeps_its_passages()
    {
        const string Name = "sub/damaged.txt";
        await WriteAsync(Name, "The bell of the church was cast in spring.");
        await UpdateAsync();
        await File.WriteAllBytesAsync(Path.Combine(folder, Name), [.. "The bell "u8, 0xff, .. "of the church"u8]);
        warnings.Clear();
        Assert.That(await UpdateAsync(), Is.EqualTo(new IndexReport(Documents.Count + 1, 0, 0, 1, 0)));
        Assert.That(warnings, Is.EqualTo(new[] { $"skipped: {Name} is not valid UTF-8 at byte 9. Save it as UTF-8." }));
        Assert.That(await store.GetAsync($"{Name}#0"), Is.Not.Null);
        await RemoveAsync(Name);
    }

    [Test]
    public async Task A_store_of_another_model_is_refused()
    {
        using PassageCollection other = await OpenAsync(new ConfigureOptionsEmbeddingGenerator<string, Embedding<float>>(new GeneratorOfAnotherModel(), _ => { }));
        Assert.That(
            async () => await other.EnsureCollectionExistsAsync(),
            Throws.InvalidOperationException.With.Message.Contains(await PoolFingerprintAsync(ForDocuments)).And.Message.Contains("somebody else"));
        Assert.That(async () => await other.CheckAsync(CancellationToken.None), Throws.InvalidOperationException.With.Message.Contains("somebody else"));
        await store.CheckAsync(CancellationToken.None);
    }

    [Test]
    public async Task A_store_depends_on_the_contents_of_the_model_but_not_on_its_name()
    {
        using var copy = new TemporaryFolder();
        copy.CopyFrom(StellaMiniModel.Path);
        using (StellaEmbeddingGenerator same = await GeneratorAsync(copy.Path, "another name"))
        using (PassageCollection again = await OpenAsync(same))
        {
            await again.EnsureCollectionExistsAsync();
        }

        File.Delete(copy.File(StellaManifest.FileName));
        File.AppendAllText(copy.File("config.json"), " ");
        using StellaEmbeddingGenerator changed = await GeneratorAsync(copy.Path, "stella-mini");
        using PassageCollection other = await OpenAsync(changed);
        Assert.That(
            async () => await other.EnsureCollectionExistsAsync(),
            Throws.InvalidOperationException
                .With.Message.Contains(await PoolFingerprintAsync(ForDocuments))
                .And.Message.Contains(await PoolFingerprintAsync(changed))
                .And.Message.Contains("Index into another store."));
    }

    private static async Task<StellaEmbeddingGenerator> GeneratorAsync(string path, string name)
    {
        var pool = new StellaEmbeddingPool(path, new StellaModelOptions { Name = name });
        _ = await pool.WarmUpAsync();
        return new StellaEmbeddingGenerator(pool, ownsPool: true);
    }

    [Test]
    public async Task Semantic_Kernel_can_search_a_store()
    {
        // The search of Semantic Kernel gets the generator for queries.
#pragma warning disable SKEXP0001 // The text search of Semantic Kernel is experimental.
        ITextSearch<Passage> search = new VectorStoreTextSearch<Passage>(
            store, ForQueries, passage => ((Passage)passage).Text, passage => new TextSearchResult(((Passage)passage).Text) { Name = ((Passage)passage).Path });
        KernelSearchResults<TextSearchResult> found = await search.GetTextSearchResultsAsync(
            Documents.Questions[0], new TextSearchOptions<Passage> { Top = 2 });
#pragma warning restore SKEXP0001
        TextSearchResult[] results = await found.Results.ToArrayAsync();
        Assert.That(results, Has.Length.EqualTo(2));
        Assert.That(results[0].Name, Is.EqualTo(Documents.Name(0)));
    }

    [Test]
    public void Unsupported_searches_are_refused()
    {
        Assert.That(
            async () => await store.SearchAsync("x", 1, new VectorSearchOptions<Passage> { Filter = passage => passage.Line > 3 }).ToArrayAsync(),
            Throws.TypeOf<NotSupportedException>().With.Message.Contains("filters"));
        Assert.That(async () => await store.SearchAsync(3, 1).ToArrayAsync(), Throws.TypeOf<NotSupportedException>().With.Message.Contains("Int32"));
        Assert.That(async () => await store.SearchAsync("x", 0).ToArrayAsync(), Throws.TypeOf<ArgumentOutOfRangeException>());
    }

    [Test]
    public async Task Tables_of_other_programs_with_the_same_names_are_not_changed()
    {
        const string Others = "CREATE TABLE model (name text); CREATE TABLE passages (other text); INSERT INTO model VALUES ('mine')";
        string file = Path.Combine(folder, "others.db");
        await using DbConnection connection = kind == "SQLite"
            ? new SqliteConnection($"Data Source={file};Pooling=false")
            : new NpgsqlConnection(Server!);
        await connection.OpenAsync();
        await RunAsync(Others);
        if (kind == "SQLite")
        {
            Assert.That(() => new SqlitePassages(file, ForDocuments, ForQueries), Throws.InvalidOperationException.With.Message.Contains("Index into another store"));
        }
        else
        {
            using PassageCollection own = await OpenAsync(ForDocuments);
            await own.EnsureCollectionExistsAsync();
            Assert.That(await own.CollectionExistsAsync());
        }

        Assert.That(await RunAsync("SELECT count(*) FROM model WHERE name = 'mine'"), Is.EqualTo(1L));
        await RunAsync("DROP TABLE model; DROP TABLE passages");

        async Task<object?> RunAsync(string text)
        {
            await using DbCommand command = connection.CreateCommand();
#pragma warning disable CA2100 // All texts are constants of this test.
            command.CommandText = text;
#pragma warning restore CA2100
            return await command.ExecuteScalarAsync();
        }
    }

    private async Task<PassageCollection> OpenAsync(IEmbeddingGenerator<string, Embedding<float>> documents) => kind == "SQLite"
        ? new SqlitePassages(Path.Combine(folder, "index.db"), documents, ForQueries)
        : await PostgresPassages.ConnectAsync(Server!, documents, ForQueries, CancellationToken.None);

    private static Task<string> PoolFingerprintAsync(IEmbeddingGenerator<string, Embedding<float>> generator) =>
        generator.GetService<StellaEmbeddingPool>()!.GetFingerprintAsync();

    private Task<IndexReport> UpdateAsync() =>
        new FolderIndex(folder, store, PassageReader.CreateSplitter(model), warnings.Add).UpdateAsync(null, CancellationToken.None);

    private async Task WriteAsync(string name, string text)
    {
        string file = Path.Combine(folder, name);
        Directory.CreateDirectory(Path.GetDirectoryName(file)!);
        await File.WriteAllTextAsync(file, text);
    }

    private async Task RemoveAsync(string name)
    {
        File.Delete(Path.Combine(folder, name));
        Assert.That(await UpdateAsync(), Has.Property(nameof(IndexReport.Removed)).EqualTo(1));
    }

    /// <summary>Cancels a token source in the third call.</summary>
    private sealed class CancellingGenerator(IEmbeddingGenerator<string, Embedding<float>> inner, CancellationTokenSource cancel)
        : DelegatingEmbeddingGenerator<string, Embedding<float>>(inner)
    {
        private int calls;

        public override Task<GeneratedEmbeddings<Embedding<float>>> GenerateAsync(
            IEnumerable<string> values, EmbeddingGenerationOptions? options = null, CancellationToken cancellationToken = default)
        {
            if (++calls == 3)
            {
                cancel.Cancel();
            }

            return base.GenerateAsync(values, options, cancellationToken);
        }
    }

    /// <summary>Represents a generator of another model without a Stella pool.</summary>
    private sealed class GeneratorOfAnotherModel : IEmbeddingGenerator<string, Embedding<float>>
    {
        public Task<GeneratedEmbeddings<Embedding<float>>> GenerateAsync(
            IEnumerable<string> values, EmbeddingGenerationOptions? options = null, CancellationToken cancellationToken = default) =>
            throw new NotSupportedException();

        public object? GetService(Type serviceType, object? serviceKey = null) =>
            serviceType == typeof(EmbeddingGeneratorMetadata) ? new EmbeddingGeneratorMetadata("x", null, "somebody else", 1024) : null;

        public void Dispose()
        {
        }
    }
}
