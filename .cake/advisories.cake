// Asks the OSV database (https://osv.dev) for advisories about the crates and the NuGet packages of this tree.

using System.Net.Http;
using System.Text.Json.Serialization;

record Dependency(string Ecosystem, string Name, string Version);
record Advisory(string Id, Dependency Dependency);
record AcceptedAdvisory(string Id, string Name, string Reason);

// The answer of POST /v1/querybatch: one result for each query, in the same order.
record OsvAnswer([property: JsonPropertyName("results")] OsvResult[] Results);
record OsvResult([property: JsonPropertyName("vulns")] OsvVulnerability[] Vulnerabilities, [property: JsonPropertyName("next_page_token")] string NextPage);
record OsvVulnerability([property: JsonPropertyName("id")] string Id);

/// The database did not give an answer. This says nothing about the dependencies.
class AdvisoriesUnknownException(string reason) : Exception(reason);

// The limit of the API for one request.
const int OsvBatch = 1000;

// No dependency has this many pages of advisories. A server that always names another page is stopped here.
const int MaxOsvRounds = 50;

var acceptedAdvisories = root.CombineWithFilePath(".cake/accepted-advisories.json");

Task("Advisories")
    .Description("Fails if the OSV database has an advisory for a crate or a NuGet package that is not in .cake/accepted-advisories.json. Without the database, warns, or fails with --require. --advisories-url=URL names another server.")
    .Does(() =>
{
    var accepted = ReadAcceptedAdvisories();
    var dependencies = LockedCrates().Concat(LockedPackages()).Concat(Tools()).Distinct().ToArray();
    var address = Argument("advisories-url", "https://api.osv.dev");
    if (!Uri.TryCreate(address, UriKind.Absolute, out var server) || server.Scheme is not ("https" or "http"))
    {
        throw new CakeException($"--advisories-url={address} is not the address of a server. Write it as https://HOST.");
    }

    var counts = string.Join(", ", dependencies.CountBy(d => d.Ecosystem).Select(c => $"{c.Key}: {c.Value}"));
    Advisory[] advisories;
    try
    {
        advisories = QueryAdvisories(server, dependencies);
    }
    catch (AdvisoriesUnknownException e) when (!HasArgument("require"))
    {
        Warning("NOT CHECKED: {0}", e.Message);
        return;
    }
    catch (AdvisoriesUnknownException e)
    {
        throw new CakeException($"NOT CHECKED: {e.Message}");
    }

    foreach (var (id, dependency) in advisories)
    {
        var line = $"{id}: {dependency.Name} {dependency.Version} ({dependency.Ecosystem}), https://osv.dev/vulnerability/{id}";
        if (accepted.FirstOrDefault(a => a.Id == id && a.Name == dependency.Name) is { } known)
        {
            Information("{0}", $"{line}. Accepted: {known.Reason}");
        }
        else
        {
            Error("{0}", line);
        }
    }

    foreach (var unused in accepted.Where(a => !advisories.Any(b => b.Id == a.Id && b.Dependency.Name == a.Name)))
    {
        Warning("{0} of {1} is accepted in {2}, but no longer applies. Remove it.", unused.Id, unused.Name, acceptedAdvisories.GetFilename());
    }

    var open = advisories.Where(b => !accepted.Any(a => a.Id == b.Id && a.Name == b.Dependency.Name)).ToArray();
    if (open.Length > 0)
    {
        throw new CakeException(
            $"Advisories that are not accepted: {string.Join(", ", open.Select(a => $"{a.Id} ({a.Dependency.Name} {a.Dependency.Version})"))}. Update the dependency, or accept the advisory with a reason in .cake/{acceptedAdvisories.GetFilename()}.");
    }

    Information("No advisory that is not accepted ({0}).", counts);
});

AcceptedAdvisory[] ReadAcceptedAdvisories()
{
    var accepted = JsonSerializer.Deserialize<AcceptedAdvisory[]>(System.IO.File.ReadAllText(acceptedAdvisories.FullPath), JsonSerializerOptions.Web);
    var incomplete = accepted.FirstOrDefault(a => new[] { a.Id, a.Name, a.Reason }.Any(string.IsNullOrWhiteSpace));
    return incomplete is null
        ? accepted
        : throw new CakeException($"{acceptedAdvisories} has an incomplete entry: {incomplete}. Write the id of the advisory, the name of the dependency, and the reason.");
}

/// Returns the crates of Cargo.lock, also those that only build, test or fuzz the library.
IEnumerable<Dependency> LockedCrates() =>
    Regex.Matches(System.IO.File.ReadAllText(native.CombineWithFilePath("Cargo.lock").FullPath), "name = \"(.+)\"\r?\nversion = \"(.+)\"\r?\nsource = ")
        .Select(m => new Dependency("crates.io", m.Groups[1].Value, m.Groups[2].Value));

/// Returns the NuGet packages of all lock files, with the transitive ones.
IEnumerable<Dependency> LockedPackages()
{
    CheckPackageLists();
    return from file in GetFiles($"{packageLists}/*/packages.lock.json")
        from framework in JsonDocument.Parse(System.IO.File.ReadAllText(file.FullPath)).RootElement.GetProperty("dependencies").EnumerateObject()
        from package in framework.Value.EnumerateObject()
        where package.Value.GetProperty("type").GetString() != "Project"
        select new Dependency("NuGet", package.Name, package.Value.GetProperty("resolved").GetString());
}

IEnumerable<Dependency> Tools() =>
    JsonDocument.Parse(System.IO.File.ReadAllText(root.CombineWithFilePath(".config/dotnet-tools.json").FullPath)).RootElement.GetProperty("tools").EnumerateObject()
        .Select(tool => new Dependency("NuGet", tool.Name, tool.Value.GetProperty("version").GetString()));

/// Returns the advisories of all dependencies, ordered by id.
Advisory[] QueryAdvisories(Uri server, IEnumerable<Dependency> dependencies)
{
    using var client = new HttpClient { Timeout = TimeSpan.FromSeconds(30) };
    var found = new List<Advisory>();
    var pending = dependencies.Select(d => (Dependency: d, Page: (string)null)).ToArray();
    for (var round = 0; pending.Length > 0; round++)
    {
        if (round == MaxOsvRounds)
        {
            throw new AdvisoriesUnknownException($"{server} still names another page after {MaxOsvRounds} requests for one dependency. Check --advisories-url.");
        }

        var next = new List<(Dependency, string)>();
        foreach (var batch in pending.Chunk(OsvBatch))
        {
            foreach (var (query, result) in batch.Zip(PostOsv(client, server, batch)))
            {
                found.AddRange((result.Vulnerabilities ?? []).Select(v => new Advisory(v.Id, query.Dependency)));
                if (!string.IsNullOrEmpty(result.NextPage))
                {
                    next.Add((query.Dependency, result.NextPage));
                }
            }
        }

        pending = next.ToArray();
    }

    return found.Distinct().OrderBy(a => a.Id, StringComparer.Ordinal).ThenBy(a => a.Dependency.Name, StringComparer.Ordinal).ToArray();
}

OsvResult[] PostOsv(HttpClient client, Uri server, (Dependency Dependency, string Page)[] batch)
{
    var queries = batch.Select(q => new { package = new { name = q.Dependency.Name, ecosystem = q.Dependency.Ecosystem }, version = q.Dependency.Version, page_token = q.Page });
    OsvAnswer answer;
    try
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, new Uri(server, "/v1/querybatch"))
        {
            Content = new StringContent(
                JsonSerializer.Serialize(new { queries }, new JsonSerializerOptions { DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull }),
                System.Text.Encoding.UTF8,
                "application/json"),
        };
        using var response = client.Send(request);
        if (!response.IsSuccessStatusCode)
        {
            throw new AdvisoriesUnknownException($"{server} answered with the HTTP status {(int)response.StatusCode}. Run the task again later.");
        }

        answer = JsonSerializer.Deserialize<OsvAnswer>(response.Content.ReadAsStream());
    }
    catch (Exception e) when (e is HttpRequestException or TaskCanceledException or System.IO.IOException)
    {
        throw new AdvisoriesUnknownException($"{server} cannot be reached ({e.GetBaseException().Message.ReplaceLineEndings(" ").TrimEnd('.')}). Run the task on a machine that reaches it.");
    }
    catch (JsonException)
    {
        throw new AdvisoriesUnknownException($"{server} did not answer with the JSON of the OSV API. Check --advisories-url.");
    }

    if (answer?.Results?.Length != batch.Length)
    {
        throw new AdvisoriesUnknownException($"{server} answered {batch.Length} queries with {answer?.Results?.Length ?? 0} results. Check --advisories-url.");
    }

    // An id is printed, and a workflow would take some lines of the output for commands.
    return answer.Results.All(r => r is not null && (r.Vulnerabilities ?? []).All(v => Regex.IsMatch(v?.Id ?? "", @"\A[A-Za-z0-9][A-Za-z0-9.:_-]{0,99}\z")))
        ? answer.Results
        : throw new AdvisoriesUnknownException($"{server} answered with an advisory without a valid id. Check --advisories-url.");
}
