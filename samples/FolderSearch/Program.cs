using System.CommandLine;
using System.Data.Common;
using System.Globalization;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using StellaInterop;
using StellaInterop.ModelFiles;
using StellaInterop.Models.Mini;
using StellaInterop.Samples;
using StellaInterop.Samples.FolderSearch;

var folder = new Argument<DirectoryInfo>("FOLDER") { Description = "The folder, with all that is in it." }.AcceptExistingOnly();
var query = new Argument<string>("QUERY") { Description = "What you want to know, in your own words." };
var storeFile = new Option<string>("--store")
{
    Description = "The file that the index is in.",
    DefaultValueFactory = _ => "folder-search.db",
    Recursive = true,
};
var postgres = new Option<string?>("--postgres")
{
    Description = "Keeps the index in PostgreSQL with pgvector instead: a connection string, like \"Host=/tmp;Username=me\".",
    Recursive = true,
};
var model = new Option<string?>("--model")
{
    Description = "A model's folder, or the name of one in the Hugging Face cache. Without it, the one beside the program.",
    Recursive = true,
};
var top = new Option<int>("--top") { Description = "How many answers.", DefaultValueFactory = _ => 3 };
top.Validators.Add(result =>
{
    if (result.GetValue(top) < 1)
    {
        result.AddError("--top must be at least 1.");
    }
});
query.Validators.Add(result =>
{
    if (string.IsNullOrWhiteSpace(result.GetValue(query)))
    {
        result.AddError("QUERY is blank.");
    }
});

var index = new Command(
    "index",
    """
    Reads the .md and .txt files of a folder into the index. Files that did not change are left alone.
    The files must be UTF-8. Hidden ones are left out, and links to folders are not followed.
    Exit codes: 0 done, 3 done but a file could not be read, 130 stopped, 1 anything else. The next run completes a stopped one.
    """)
{
    folder,
};
index.SetAction((parsed, cancelled) => WithStoreAsync(parsed, SqliteOpenMode.ReadWriteCreate, cancelled, async (store, services, path) =>
{
    // For a person who waits, and not for a file.
    Action<int>? progress = Console.IsErrorRedirected ? null : files => Console.Error.Write($"\r{files} files ");

    // The pool has the same model: its weights are in memory once.
    using StellaModel loaded = await StellaModel.LoadAsync(path, cancellationToken: cancelled);
    var update = new FolderIndex(
        parsed.GetRequiredValue(folder).FullName, store, PassageReader.SplitterOf(loaded), told => Console.Error.WriteLine($"folder-search: {told}"));
    IndexReport report = await update.UpdateAsync(progress, cancelled);
    await Console.Error.WriteAsync(progress is null ? string.Empty : "\r");
    Console.WriteLine(
        $"{report.Files} files, {report.Changed} new or changed, {report.Removed} gone, {report.Skipped} skipped; {report.Passages} passages written");
    return report.Skipped > 0 ? 3 : 0;
}));

var search = new Command("search", "Finds the passages that are nearest to a question, and shows the sentence that says why.") { query, top };
search.SetAction((parsed, cancelled) => WithStoreAsync(parsed, SqliteOpenMode.ReadWrite, cancelled, async (store, services, _) =>
{
    if (!await store.CollectionExistsAsync(cancelled))
    {
        throw new InvalidOperationException("There is no index yet. Make one: folder-search index FOLDER.");
    }

    await store.CheckAsync(cancelled);
    var ask = new FolderQuery(store, Documents(services), Queries(services));
    foreach (Answer answer in await ask.AskAsync(parsed.GetRequiredValue(query), parsed.GetValue(top), cancelled))
    {
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{answer.Score:0.000}  {Terminal.Line(answer.Passage.Path)}:{answer.Passage.Line}"));
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"       {answer.SentenceScore:0.000}  {Terminal.Line(answer.Sentence)}"));
    }

    return 0;
}));

var root = new RootCommand(
    """
    Searches a folder by meaning, on this machine.

    Examples:
      folder-search index docs
      folder-search search "how much memory does it take?"
      folder-search search "what happens when the queue is full?" --top 5
      folder-search index docs --postgres "Host=/var/run/postgresql;Username=me"
    """)
{
    index,
    search,
    storeFile,
    postgres,
    model,
};
return await root.Parse(args).InvokeAsync();

async Task<int> WithStoreAsync(
    ParseResult parsed, SqliteOpenMode mode, CancellationToken cancelled, Func<PassageCollection, IServiceProvider, string, Task<int>> run)
{
    string file = parsed.GetRequiredValue(storeFile);
    try
    {
        string? wanted = parsed.GetValue(model);
        string path = wanted is null ? StellaMiniModel.Path : Directory.Exists(wanted) ? wanted : HuggingFaceCache.FromEnvironment().GetModelFolder(wanted);
        string? connection = parsed.GetValue(postgres);
        if (connection is null && mode == SqliteOpenMode.ReadWrite && !Path.Exists(file))
        {
            throw new InvalidOperationException("There is no index yet. Make one: folder-search index FOLDER.");
        }

        var services = new ServiceCollection();

        // A query that is cut would find other things than were asked for.
        services.AddStellaEmbeddings(options => (options.ModelPath, options.LongTextBehavior) = (path, StellaLongTextBehavior.Error));
        services.AddStellaQueryEmbeddings();
        await using ServiceProvider provider = services.BuildServiceProvider();

        // The store wants to know how long vectors are, which the model says.
        await provider.GetRequiredService<StellaEmbeddingPool>().WarmUpAsync(cancelled);
        using PassageCollection store = connection is not null
            ? await PostgresPassages.ConnectAsync(connection, Documents(provider), Queries(provider), cancelled)
            : new SqlitePassages(file, Documents(provider), Queries(provider), mode);
        return await run(store, provider, path);
    }
    catch (OperationCanceledException)
    {
        await Console.Error.WriteLineAsync("folder-search: stopped.");
        return 130;
    }
    catch (DbException e)
    {
        await Console.Error.WriteLineAsync($"folder-search: {StoreErrors.Describe(file, e)}");
        return 1;
    }
    catch (Exception e) when (e is StellaException or InvalidOperationException or ArgumentException or IOException or UnauthorizedAccessException)
    {
        await Console.Error.WriteLineAsync($"folder-search: {e.Message}");
        return 1;
    }
}

static IEmbeddingGenerator<string, Embedding<float>> Documents(IServiceProvider services) =>
    services.GetRequiredService<IEmbeddingGenerator<string, Embedding<float>>>();

static IEmbeddingGenerator<string, Embedding<float>> Queries(IServiceProvider services) =>
    services.GetRequiredKeyedService<IEmbeddingGenerator<string, Embedding<float>>>(StellaServiceKeys.Query);
