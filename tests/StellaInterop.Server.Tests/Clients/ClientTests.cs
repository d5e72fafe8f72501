namespace StellaInterop.Tests.Clients;

/// <summary>
/// Published clients do what docs/clients.md says. With STELLA_WRITE_DOCS, the tests write the document instead of comparing it. The
/// clients of npm are tested if STELLA_CLIENTS names the folder in which <c>dotnet cake --target=NpmClients</c> installed them.
/// </summary>
internal sealed class ClientTests
{
    /// <summary>The settings of a client of TEI are the address alone.</summary>
    private static readonly string[] NoModel = [ClientCase.WrongModel];

    private static readonly ServerClient[] AllClients =
    [
        new OpenAIClientOfNuGet(),
        new ExtensionsAIClient(),
        new OllamaSharpClient(),
        new NpmClient("openai", "openai"),
        new NpmClient("@langchain/openai", "langchain"),
        new NpmClient("@llamaindex/openai", "llamaindex"),
        new NpmClient("@ai-sdk/openai-compatible", "ai-sdk"),
        new NpmClient("ollama", "ollama"),
        new NpmClient("@huggingface/inference", "huggingface") { CannotSay = NoModel },
    ];

    private CommandLineVectors vectors = null!;
    private ClientServer server = null!;
    private ClientServer smallServer = null!;

    private static IEnumerable<ServerClient> InstalledClients() => AllClients.Where(client => client is not NpmClient || NpmClient.Folder is not null);

    [OneTimeSetUp]
    public async Task Start()
    {
        vectors = await CommandLineVectors.ComputeAsync();
        server = await ClientServer.StartAsync(maxQueuedCalls: 1024);
        smallServer = await ClientServer.StartAsync(maxQueuedCalls: 1);
    }

    [OneTimeTearDown]
    public async Task Stop()
    {
        Array.ForEach(AllClients, client => client.Dispose());
        await server.DisposeAsync();
        await smallServer.DisposeAsync();
    }

    [TestCaseSource(nameof(InstalledClients))]
    public async Task A_client_does_what_its_rows_say(ServerClient client)
    {
        var cells = new Dictionary<ClientTable, List<string>> { [ClientTable.Vectors] = [], [ClientTable.Refusals] = [] };
        foreach (ClientCase each in ClientCase.All)
        {
            cells[each.Table].Add(client.CannotSay.Contains(each.Name) ? "cannot say it" : await RunAsync(client, each));
        }

        foreach ((ClientTable table, List<string> row) in cells)
        {
            ClientDocument.CompareOrWrite(table, client, row);
        }
    }

    [Test]
    public void Every_client_has_a_row_in_every_table_with_its_version() => Assert.Multiple(() =>
    {
        foreach (ClientTable table in Enum.GetValues<ClientTable>())
        {
            Assert.That(ClientDocument.ReadRows(table).Select(row => row.Split(" | ")[0]), Is.EqualTo(AllClients.Select(ClientDocument.Head)), $"{table}");
            Assert.That(
                ClientDocument.ReadColumns(table).Skip(1), Is.EqualTo(ClientCase.All.Where(each => each.Table == table).Select(each => each.Name)), $"{table}");
        }
    });

    /// <summary>The rows are written by the tests, so their content must be judged too.</summary>
    [Test]
    public void No_row_tells_of_a_defect_of_the_server()
    {
        Assert.That(ClientDocument.ReadRows(ClientTable.Vectors), Is.All.Match(
            @"^\| [^|]+( \| equal (bits|digits)(, [0-9]+ requests)?){5}( \| (equal (bits|digits)|no vectors|refused by the client))"
            + @" \| (no vectors(, no request)?|refused by the client|400, message shown) \| (cut, equal (bits|digits)|400, message shown) \|$"));
        Assert.That(ClientDocument.ReadRows(ClientTable.Refusals), Is.All.Match(
            @"^\| [^|]+ \| (404, message (shown|lost)|cannot say it) \| 4(00|22), message shown \| 401, message (shown|lost)"
            + @" \| (429, retried: equal (bits|digits)|(429|503), message (shown|lost)) \|$"));
    }

    private async Task<string> RunAsync(ServerClient client, ClientCase of)
    {
        ClientServer asked = of.HasFullQueue ? smallServer : server;
        var request = new ClientRequest(asked.Address, of.HasWrongKey ? "sk-wrong" : asked.Key, of.Model, of.Texts, of.IsSingle, of.Dimension);
        _ = await asked.TakeRequestsAsync();
        ClientResult result;
        await using (IAsyncDisposable? hold = of.HasFullQueue ? await asked.FillQueueAsync() : null)
        {
            result = await client.EmbedAsync(request);
        }

        return Describe(result, of, await asked.TakeRequestsAsync());
    }

    private string Describe(ClientResult result, ClientCase of, IReadOnlyList<ServedRequest> requests)
    {
        int[] refusals = [.. requests.Select(request => request.Status).Where(status => status >= 400).Distinct()];
        string status = string.Join(" and ", refusals);
        if (result.Vectors is { } actual)
        {
            string answer = (of.IsTooLong ? "cut, " : "") + (actual.Length == 0 ? "no vectors" : vectors.Compare(actual, of));
            // The number of attempts depends on the time that they take.
            return refusals.Length > 0 ? $"{status}, retried: {answer}"
                : requests.Count == 0 ? $"{answer}, no request"
                : requests.Count > 1 ? $"{answer}, {requests.Count} requests"
                : answer;
        }

        string message = requests.Count > 0 && result.Error!.Contains(requests[^1].Message, StringComparison.Ordinal) ? "message shown" : "message lost";
        return requests.Count == 0 ? "refused by the client" : refusals.Length == 0 ? "answer refused by the client" : $"{status}, {message}";
    }
}
