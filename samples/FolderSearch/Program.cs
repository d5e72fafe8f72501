using System.CommandLine;
using System.Globalization;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using StellaInterop;
using StellaInterop.Models.Mini;
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

var index = new Command("index", "Reads the .md and .txt files of a folder into the index. What did not change is left alone.") { folder };
index.SetAction((parsed, cancelled) => WithStoreAsync(parsed, cancelled, async (store, _) =>
{
    // For a person who waits, and not for a file.
    Action<int>? progress = Console.IsErrorRedirected ? null : files => Console.Error.Write($"\r{files} files ");
    IndexReport report = await FolderIndex.UpdateAsync(parsed.GetRequiredValue(folder).FullName, store, progress, cancelled);
    await Console.Error.WriteAsync(progress is null ? string.Empty : "\r");
    Console.WriteLine($"{report.Files} files, {report.Changed} new or changed, {report.Removed} gone; {report.Passages} passages written");
}));

var search = new Command("search", "Finds the passages that are nearest to a question, and shows the sentence that says why.") { query, top };
search.SetAction((parsed, cancelled) => WithStoreAsync(parsed, cancelled, async (store, services) =>
{
    if (!await store.CollectionExistsAsync(cancelled))
    {
        throw new InvalidOperationException("there is no index yet: folder-search index FOLDER makes one.");
    }

    await store.EnsureCollectionExistsAsync(cancelled);
    var ask = new FolderQuery(store, Documents(services), Queries(services));
    foreach (Answer answer in await ask.AskAsync(parsed.GetRequiredValue(query), parsed.GetValue(top), cancelled))
    {
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{answer.Score:0.000}  {answer.Passage.Path}:{answer.Passage.Line}"));
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"       {answer.SentenceScore:0.000}  {answer.Sentence}"));
    }
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

async Task<int> WithStoreAsync(ParseResult parsed, CancellationToken cancelled, Func<PassageCollection, IServiceProvider, Task> run)
{
    var services = new ServiceCollection();
    services.AddStellaEmbeddings(options =>
    {
        string? wanted = parsed.GetValue(model);
        options.ModelPath = wanted is null ? StellaMiniModel.Path : Directory.Exists(wanted) ? wanted : null;
        options.ModelName = options.ModelPath is null ? wanted : null;
    });
    services.AddStellaQueryEmbeddings();
    await using ServiceProvider provider = services.BuildServiceProvider();
    try
    {
        // The store wants to know how long vectors are, which the model says.
        await provider.GetRequiredService<StellaEmbeddingPool>().WarmUpAsync(cancelled);
        using PassageCollection store = parsed.GetValue(postgres) is { } connection
            ? await PostgresPassages.ConnectAsync(connection, Documents(provider), Queries(provider), cancelled)
            : new SqlitePassages(parsed.GetRequiredValue(storeFile), Documents(provider), Queries(provider));
        await run(store, provider);
        return 0;
    }
    catch (Exception e) when (e is StellaException or InvalidOperationException or System.Data.Common.DbException or IOException)
    {
        await Console.Error.WriteLineAsync($"folder-search: {e.Message}");
        return 1;
    }
}

static IEmbeddingGenerator<string, Embedding<float>> Documents(IServiceProvider services) =>
    services.GetRequiredService<IEmbeddingGenerator<string, Embedding<float>>>();

static IEmbeddingGenerator<string, Embedding<float>> Queries(IServiceProvider services) =>
    services.GetRequiredKeyedService<IEmbeddingGenerator<string, Embedding<float>>>(StellaServiceKeys.Query);
