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

var folder = new Argument<DirectoryInfo>("FOLDER") { Description = "Folder to index, including its subfolders." }.AcceptExistingOnly();
var query = new Argument<string>("QUERY") { Description = "Question in your own words." };
var storeFile = new Option<string>("--store")
{
    Description = "File of the index.",
    DefaultValueFactory = _ => "folder-search.db",
    Recursive = true,
};
var postgres = new Option<string?>("--postgres")
{
    Description = "Connection string of a PostgreSQL server with pgvector for the index, such as \"Host=/tmp;Username=me\".",
    Recursive = true,
};
var model = new Option<string?>("--model")
{
    Description = "Model folder, or the name of a model in the Hugging Face cache. Default: the model next to the program.",
    Recursive = true,
};
var top = new Option<int>("--top") { Description = "Number of answers.", DefaultValueFactory = _ => 3 };
top.Validators.Add(result =>
{
    if (result.GetValue(top) < 1)
    {
        result.AddError($"--top is {result.GetValue(top)}; it must be at least 1.");
    }
});
query.Validators.Add(result =>
{
    if (string.IsNullOrWhiteSpace(result.GetValue(query)))
    {
        result.AddError("QUERY is blank; it must be a question.");
    }
});

var index = new Command(
    "index",
    """
    Reads the .md and .txt files of a folder into the index. Unchanged files are not read again.
    The files must be UTF-8. Hidden files are skipped, and links to folders are not followed.
    Exit codes: 0 success, 3 success except for unreadable files, 130 stopped, 1 any other error. The next run completes a stopped run.
    """)
{
    folder,
};
index.SetAction((parsed, cancelled) => WithStoreAsync(parsed, SqliteOpenMode.ReadWriteCreate, cancelled, async (store, services, path) =>
{
    // Progress is only for a terminal.
    Action<int>? progress = Console.IsErrorRedirected ? null : files => Console.Error.Write($"\r{files} files ");

    // The pool uses the same model, so its weights are in memory only once.
    using StellaModel loaded = await StellaModel.LoadAsync(path, cancellationToken: cancelled);
    var update = new FolderIndex(
        parsed.GetRequiredValue(folder).FullName, store, PassageReader.CreateSplitter(loaded), message => Console.Error.WriteLine($"folder-search: {message}"));
    IndexReport report = await update.UpdateAsync(progress, cancelled);
    await Console.Error.WriteAsync(progress is null ? string.Empty : "\r");
    Console.WriteLine(
        $"{report.Files} files, {report.Changed} new or changed, {report.Removed} gone, {report.Skipped} skipped; {report.Passages} passages written");
    return report.Skipped > 0 ? 3 : 0;
}));

var search = new Command("search", "Finds the passages closest to a question, and shows the best sentence of each.") { query, top };
search.SetAction((parsed, cancelled) => WithStoreAsync(parsed, SqliteOpenMode.ReadWrite, cancelled, async (store, services, _) =>
{
    if (!await store.CollectionExistsAsync(cancelled))
    {
        throw new InvalidOperationException("There is no index yet. Create it with `folder-search index FOLDER`.");
    }

    await store.CheckAsync(cancelled);
    var folderQuery = new FolderQuery(store, Documents(services), Queries(services));
    foreach (Answer answer in await folderQuery.SearchAsync(parsed.GetRequiredValue(query), parsed.GetValue(top), cancelled))
    {
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{answer.Score:0.000}  {Terminal.Escape(answer.Passage.Path)}:{answer.Passage.Line}"));
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"       {answer.SentenceScore:0.000}  {Terminal.Escape(answer.Sentence)}"));
    }

    return 0;
}));

var root = new RootCommand(
    """
    Searches a folder by meaning on this machine.

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
        string? modelName = parsed.GetValue(model);
        string path = modelName is null ? StellaMiniModel.Path : Directory.Exists(modelName) ? modelName : HuggingFaceCache.FromEnvironment().GetModelFolder(modelName);
        string? connection = parsed.GetValue(postgres);
        if (connection is null && mode == SqliteOpenMode.ReadWrite && !Path.Exists(file))
        {
            throw new InvalidOperationException("There is no index yet. Create it with `folder-search index FOLDER`.");
        }

        var services = new ServiceCollection();

        // A truncated query would find answers to another question.
        services.AddStellaEmbeddings(options => (options.ModelPath, options.LongTextBehavior) = (path, StellaLongTextBehavior.Error));
        services.AddStellaQueryEmbeddings();
        await using ServiceProvider provider = services.BuildServiceProvider();

        // The store needs the dimension of the vectors, which is known after the model is loaded.
        await provider.GetRequiredService<StellaEmbeddingPool>().WarmUpAsync(cancelled);
        using PassageCollection store = connection is not null
            ? await PostgresPassages.ConnectAsync(connection, Documents(provider), Queries(provider), cancelled)
            : new SqlitePassages(file, Documents(provider), Queries(provider), mode);
        return await run(store, provider, path);
    }
    catch (OperationCanceledException)
    {
        await Console.Error.WriteLineAsync("folder-search: Stopped. Run this again to continue.");
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
