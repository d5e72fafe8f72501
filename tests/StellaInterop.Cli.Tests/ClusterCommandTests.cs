using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Text.Json;
using System.Text.RegularExpressions;
using StellaInterop.Cluster.Tests.Membership;

namespace StellaInterop.Tests;

/// <summary>Tests <c>stella node</c>, <c>stella jobs</c> and <c>stella bulk --cluster</c>.</summary>
internal sealed class ClusterCommandTests
{
    private const int RowCount = 1200;
    private const int ChunkTokens = 600;

    /// <summary>The exit code of a command that the cluster does not answer in time.</summary>
    private const int Unanswered = 5;

    /// <summary>The time after which a test that waits in vain fails.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(5);

    /// <summary>The options of a node that takes nothing of the jobs of these tests.</summary>
    private static readonly string[] Unfit = ["--max-tokens", "100"];

    private readonly List<Process> processes = [];
    private TemporaryFolder folder = null!;
    private Dictionary<string, string?> variables = null!;

    private string Input => folder.File("texts.jsonl");

    private string Output => folder.File("out");

    [SetUp]
    public void Prepare()
    {
        folder = new TemporaryFolder();
        variables = new() { ["XDG_STATE_HOME"] = folder.File("state"), ["STELLA_CLUSTER"] = null };
        File.WriteAllLines(Input, Enumerable.Range(0, RowCount).Select(i => $$"""{"id":"id{{i}}","text":"Text {{i}} about {{i % 7}} cats and {{i % 11}} dogs in a house."}"""));
    }

    [TearDown]
    public void Stop()
    {
        foreach (Process process in processes)
        {
            process.Kill(entireProcessTree: true);
            process.WaitForExit();
            process.Dispose();
        }

        processes.Clear();
        folder.Dispose();
    }

    [TestCase("There is no address of a cluster. Give --cluster ADDRESS, or set the variable STELLA_CLUSTER.", "node")]
    [TestCase("There is no address of a cluster.", "node", "--cluster")]
    [TestCase("There is no address of a cluster.", "jobs")]
    [TestCase("There is no address of a cluster.", "bulk", "INPUT", "--output", "OUTPUT", "--cluster")]
    [TestCase("The cluster address 'mysql://…@host' is not valid", "jobs", "--cluster", "mysql://user:secret@host")]
    [TestCase("The cluster address 'nowhere' is not valid", "bulk", "INPUT", "--output", "OUTPUT", "--cluster", "nowhere")]
    [TestCase("TLS between nodes needs both --cert and --ca.", "node", "--cluster", "localhost", "--cert", "a.pem")]
    [TestCase("TLS between nodes needs both --cert and --ca.", "jobs", "--cluster", "localhost", "--ca", "a.pem")]
    [TestCase("TLS between nodes needs both --cert and --ca.", "jobs", "pause", "OUTPUT", "--cluster", "localhost", "--cert", "a.pem", "--verbosity", "quiet")]
    [TestCase("--urls has no address.", "node", "--cluster", "localhost", "--urls", ";")]
    [TestCase("--key belongs to a certificate, and --cert names none. Give --cert FILE too.", "jobs", "--cluster", "localhost", "--key", "a.key")]
    [TestCase("--level is 'avx3'; it must be one of portable, avx2, avx512, avx512-vnni, avx512-bf16, amx.", "node", "--cluster", "localhost", "--level", "avx3")]
    [TestCase("The address 'a:b:c' of a node is not valid", "node", "--cluster", "localhost", "--advertise", "a:b:c")]
    [TestCase("--keys is for the pages of the node, and it has none. Give --urls URL", "node", "--cluster", "localhost", "--keys", "keys.json")]
    [TestCase("--dashboard is for the pages of the node, and it has none. Give --urls URL", "node", "--cluster", "localhost", "--dashboard")]
    [TestCase("The dashboard shows the state of all nodes, so it needs keys.", "node", "--cluster", "localhost", "--urls", "http://127.0.0.1:0", "--dashboard")]
    [TestCase("http://0.0.0.0:80 can be reached by other machines, and there are no keys.", "node", "--cluster", "localhost", "--urls", "http://0.0.0.0:80")]
    [TestCase("https://127.0.0.1:0 needs a certificate.", "node", "--cluster", "localhost", "--urls", "https://127.0.0.1:0")]
    [TestCase("--shard is for runs on one machine.", "bulk", "INPUT", "--output", "OUTPUT", "--cluster", "localhost", "--shard", "1/2")]
    [TestCase("--dry-run is for runs on one machine.", "bulk", "INPUT", "--output", "OUTPUT", "--cluster", "localhost", "--dry-run")]
    [TestCase("Required argument missing for command: 'pause'", "jobs", "pause", "--cluster", "localhost")]
    public void Wrong_usage_is_refused_with_a_reason(string message, params string[] arguments)
    {
        StellaResult result = Run([.. arguments.Select(argument => argument == "INPUT" ? Input : argument == "OUTPUT" ? Output : argument)]);
        Assert.That((result.ExitCode, result.Error), Is.EqualTo((2, result.Error)));
        Assert.That(result.Error, Does.Contain(message).And.Not.Contain("secret").And.Not.Contain("   at "));
        Assert.That(Directory.Exists(Output), Is.False);
    }

    [Test]
    public void The_help_says_that_folders_are_shared()
    {
        Assert.That(Run("node", "--help").Output, Does.Contain("share under the same path"));
        Assert.That(Run("bulk", "--help").Output, Does.Contain("share under the same path"));
        Assert.That(Run("jobs", "--help").Output, Does.Contain("pause").And.Contain("resume").And.Contain("cancel").And.Contain("remove"));
    }

    [Test]
    public void A_cluster_without_a_node_is_one_line_that_says_what_to_start()
    {
        StellaResult result = Run("jobs", "--cluster", $"localhost:{FreePort.Find()}");
        Assert.That((result.ExitCode, result.Error), Is.EqualTo((Unanswered, result.Error)));
        Assert.That(result.Error, Does.Match(@"\Aerror: No node of the cluster at localhost:\d+ answers\. Start one by 'stella node --cluster', [^\n]*\n\z"));
    }

    [Test]
    public void Inputs_that_are_not_there_are_refused_before_anything_is_submitted()
    {
        StellaResult result = Run("bulk", folder.File("none.jsonl"), "--output", Output, "--cluster", $"localhost:{FreePort.Find()}");
        Assert.That((result.ExitCode, result.Error), Is.EqualTo((4, result.Error)));
        Assert.That(result.Error, Does.Contain("none.jsonl"));
        Assert.That(Directory.Exists(Output), Is.False);
    }

    [Test]
    public void A_level_that_the_processor_lacks_is_refused_with_those_that_it_has()
    {
        StellaResult best = Run("info", "--format", "json");
        Assume.That(best.Output, Does.Not.Contain("\"amx\""));
        StellaResult result = Run("node", "--cluster", $"localhost:{FreePort.Find()}", "--level", "amx");
        Assert.That((result.ExitCode, result.Error), Is.EqualTo((2, result.Error)));
        Assert.That(result.Error, Does.Match("--level is 'amx', and this processor does not have it. It has portable"));
    }

    /// <summary>A node with another limit of tokens takes nothing of the job, so the job waits while the test looks at it.</summary>
    [Test]
    public async Task A_job_waits_for_a_node_with_its_settings_is_paused_and_resumed_and_survives_a_killed_node()
    {
        string keys = folder.File("keys.json");
        string key = Run("keys", "add", "alice", "--keys", keys).Output.Trim();
        string cluster = $"localhost:{FreePort.Find()}";
        string ready = (await StartNodeAsync(cluster, [.. Unfit, "--urls", "http://127.0.0.1:0", "--keys", keys, "--dashboard"])).Ready;
        Follower bulk = await FollowAsync(cluster, "--json-progress");
        JsonElement waiting = await UntilAsync(cluster, status => Refusals(status).Any());
        Assert.That(Refusals(waiting).Single(), Does.Contain("max_tokens"));
        Assert.That((await AskAsync("jobs", "pause", Output, "--cluster", cluster)).ExitCode, Is.Zero);
        await CheckPagesAsync(new Uri(Regex.Match(ready, @"http://[\d.]+:\d+").Value), key);

        (Process killed, string portable) = await StartNodeAsync(cluster, "--level", "portable");
        Assert.That(portable, Does.EndWith(": stella-mini, portable."));
        killed.Kill(entireProcessTree: true);
        (killed, _) = await StartNodeAsync(cluster);
        await StartNodeAsync(cluster);
        JsonElement paused = await UntilAsync(cluster, status => Job(status) is not null);
        Assert.That(Job(paused)!.Value.GetProperty("rows_done").GetInt32(), Is.Zero);
        StellaResult table = await AskAsync("jobs", "--cluster", cluster);
        Assert.That(table.Output, Does.Match(@"(?s)JOB +PHASE.*NODE +MACHINE.*stella-mini.*takes nothing of .*max_tokens"));
        Assert.That(await bulk.SaysAsync("The job is paused."));
        Assert.That((await AskAsync("jobs", "resume", Output, "--cluster", cluster)).ExitCode, Is.Zero);
        await UntilAsync(cluster, status => Job(status)!.Value.GetProperty("rows_done").GetInt64() > 0);
        killed.Kill(entireProcessTree: true);
        StellaResult end = await bulk.EndAsync();
        Assert.That((end.ExitCode, end.Error), Is.EqualTo((0, end.Error)));
        JsonElement last = end.Rows[^1];
        Assert.That((last.GetProperty("event").GetString(), last.GetProperty("rows").GetInt32()), Is.EqualTo(("end", RowCount)));
        CheckPartsAreThoseOfOneRun();

        Assert.That((await AskAsync("jobs", "pause", Output, "--cluster", cluster)).Error, Does.Contain("is open in the cluster"), "the job has ended");
        Assert.That((await AskAsync("jobs", "remove", Output, "--cluster", cluster)).ExitCode, Is.Zero);
        Assert.That((await AskAsync("jobs", "remove", Output, "--cluster", cluster)).ExitCode, Is.EqualTo(2), "the job is not in the list");
        Assert.That((await AskAsync("jobs", "--cluster", cluster)).Output, Does.Contain("There are no jobs."));
    }

    [Test]
    [Platform("Linux", Reason = "Windows has no SIGTERM.")]
    public async Task An_interruption_ends_the_following_and_not_the_job_which_outlives_its_nodes()
    {
        string cluster = $"localhost:{FreePort.Find()}";
        (Process node, _) = await StartNodeAsync(cluster, Unfit);
        Follower bulk = await FollowAsync(cluster);
        StellaProcess.Signal(bulk.Process, "INT");
        StellaResult end = await bulk.EndAsync();
        Assert.That((end.ExitCode, end.Error), Is.EqualTo((130, end.Error)));
        Assert.That(end.Error, Does.Contain("The job goes on in the cluster."));
        StellaProcess.Signal(node, "TERM");
        Assert.That(node.ExitCode, Is.Zero);

        // The list of jobs is in a file, so the next first node goes on.
        await StartNodeAsync(cluster);
        await UntilAsync(cluster, status => Job(status)!.Value.GetProperty("phase").GetString() == "complete");
        CheckPartsAreThoseOfOneRun();
    }

    [Test]
    public async Task A_cancelled_job_ends_its_following_and_a_removed_one_goes_on_without_the_cluster()
    {
        string cluster = $"localhost:{FreePort.Find()}";
        await StartNodeAsync(cluster, Unfit);
        Follower bulk = await FollowAsync(cluster);
        Assert.That((await AskAsync("jobs", "cancel", Output, "--cluster", cluster)).ExitCode, Is.Zero);
        StellaResult end = await bulk.EndAsync();
        Assert.That((end.ExitCode, end.Error), Is.EqualTo((8, end.Error)));
        Assert.That(end.Error, Does.Contain("error: The job was cancelled."));
        // As a node leaves it that was killed.
        Directory.CreateDirectory(Path.Combine(Output, "_cluster"));
        Assert.That(Run(Bulk(Output)).Error, Does.Contain("A cluster works on the output folder"));
        Assert.That((await AskAsync("jobs", "remove", Output, "--cluster", cluster)).ExitCode, Is.Zero);
        Assert.That(Run(Bulk(Output)).ExitCode, Is.Zero);
        CheckPartsAreThoseOfOneRun();
    }

    /// <summary>The second node takes the place of the first, which has the members in its memory.</summary>
    [Test]
    public async Task A_job_goes_on_after_the_first_node_of_localhost_is_killed()
    {
        string cluster = $"localhost:{FreePort.Find()}";
        (Process first, _) = await StartNodeAsync(cluster, Unfit);
        Follower bulk = await FollowAsync(cluster);
        Assert.That((await AskAsync("jobs", "pause", Output, "--cluster", cluster)).ExitCode, Is.Zero);
        await StartNodeAsync(cluster);
        first.Kill(entireProcessTree: true);
        Assert.That(await bulk.SaysAsync("This command keeps trying."));
        await UntilAsync(cluster, status => Job(status) is not null);
        Assert.That((await AskAsync("jobs", "resume", Output, "--cluster", cluster)).ExitCode, Is.Zero);
        StellaResult end = await bulk.EndAsync();
        Assert.That((end.ExitCode, end.Error), Is.EqualTo((0, end.Error)));
        Assert.That(end.Error, Does.Contain("The cluster answers again."));
        CheckPartsAreThoseOfOneRun();
    }

    [Test]
    public async Task Nodes_with_certificates_work_together_and_a_command_without_one_is_no_part_of_the_cluster()
    {
        using var authority = new TestAuthority(folder, "authority");
        using var other = new TestAuthority(folder, "other");
        string[] Tls(TestAuthority signer, string name)
        {
            (string certificate, string key) = signer.Sign(name);
            return ["--cert", certificate, "--key", key, "--ca", authority.AuthorityFile];
        }

        string cluster = $"localhost:{FreePort.Find()}";
        string[] client = Tls(authority, "client");
        await StartNodeAsync(cluster, Tls(authority, "first"));
        await StartNodeAsync(cluster, Tls(authority, "second"));
        StellaResult bulk = await AskAsync([.. Bulk(Output), "--cluster", cluster, .. client]);
        Assert.That((bulk.ExitCode, bulk.Error), Is.EqualTo((0, bulk.Error)));
        CheckPartsAreThoseOfOneRun();
        await UntilAsync(cluster, status => status.GetProperty("nodes").GetArrayLength() == 2, client);

        Assert.That(Run("jobs", "--cluster", cluster).Error, Does.Contain("No node of the cluster"), "no TLS");
        await RunUntilAsync(result => result.Error.Contains("is refused by the authority"), ["jobs", "--cluster", cluster, .. Tls(other, "stranger")]);
    }

    private static async Task CheckPagesAsync(Uri address, string key)
    {
        using var client = new HttpClient { BaseAddress = address };
        async Task<HttpStatusCode> StatusOf(string path) => (await client.GetAsync(new Uri(path, UriKind.Relative))).StatusCode;
        Assert.That(await StatusOf("/health"), Is.EqualTo(HttpStatusCode.OK));
        foreach (string path in (string[])["/jobs", "/dashboard/", "/dashboard/ClusterStats", "/nothing"])
        {
            Assert.That(await StatusOf(path), Is.EqualTo(HttpStatusCode.Unauthorized), path);
        }

        client.DefaultRequestHeaders.Authorization = new("Bearer", key);
        JsonElement status = StellaResult.Parse(await client.GetStringAsync(new Uri("/jobs", UriKind.Relative)));
        Assert.That(status.GetProperty("jobs")[0].GetProperty("wish").GetString(), Is.EqualTo("pause"));
        Assert.That(status.GetProperty("nodes").EnumerateArray().Select(node => node.GetProperty("model").GetString()), Has.Member("stella-mini"));
        client.DefaultRequestHeaders.Authorization = new("Basic", Convert.ToBase64String(System.Text.Encoding.UTF8.GetBytes($"browser:{key}")));
        Assert.That(await StatusOf("/dashboard/"), Is.EqualTo(HttpStatusCode.OK));
        Assert.That(await StatusOf("/nothing"), Is.EqualTo(HttpStatusCode.NotFound));
    }

    /// <summary>Submits a job that a node refuses, and waits until the command that follows the job says so.</summary>
    private async Task<Follower> FollowAsync(string cluster, params string[] arguments)
    {
        long start = Stopwatch.GetTimestamp();
        while (true)
        {
            var follower = new Follower(StellaProcess.Start(variables, [.. Bulk(Output), "--cluster", cluster, .. arguments]));
            processes.Add(follower.Process);
            if (await follower.SaysAsync("takes nothing of the job"))
            {
                return follower;
            }

            StellaResult end = await follower.EndAsync();
            Assert.That(end.ExitCode == Unanswered && Stopwatch.GetElapsedTime(start) < Patience, end.Error);
        }
    }

    private async Task<(Process Node, string Ready)> StartNodeAsync(string cluster, params string[] arguments)
    {
        Process node = StellaProcess.Start(variables, ["node", "--cluster", cluster, .. arguments]);
        processes.Add(node);
        using var limit = new CancellationTokenSource(Patience);
        string? ready = await node.StandardOutput.ReadLineAsync(limit.Token);
        Assert.That(ready, Does.Contain("is ready: stella-mini"), ready is null ? await node.StandardError.ReadToEndAsync(limit.Token) : "");
        // A pipe that nobody reads would stop the node when it is full.
        _ = node.StandardError.ReadToEndAsync(CancellationToken.None);
        return (node, ready!);
    }

    /// <summary>Waits until something is true of the cluster.</summary>
    /// <returns>The jobs and the nodes of that moment.</returns>
    private async Task<JsonElement> UntilAsync(string cluster, Predicate<JsonElement> condition, params string[] options) =>
        (await RunUntilAsync(result => result.ExitCode == 0 && condition(result.Rows.Single()), ["jobs", "--json", "--cluster", cluster, .. options])).Rows.Single();

    /// <summary>Runs a command again while the cluster does not answer it in time, as on a loaded machine.</summary>
    private Task<StellaResult> AskAsync(params string[] arguments) => RunUntilAsync(result => result.ExitCode != Unanswered, arguments);

    private async Task<StellaResult> RunUntilAsync(Predicate<StellaResult> condition, params string[] arguments)
    {
        long start = Stopwatch.GetTimestamp();
        StellaResult result = Run(arguments);
        while (!condition(result))
        {
            Assert.That(Stopwatch.GetElapsedTime(start), Is.LessThan(Patience), $"{result}");
            await Task.Delay(200);
            result = Run(arguments);
        }

        return result;
    }

    private JsonElement? Job(JsonElement status) =>
        status.GetProperty("jobs").EnumerateArray().Where(job => job.GetProperty("folder").GetString() == Output).Select(job => (JsonElement?)job).FirstOrDefault();

    /// <summary>Returns the reasons for which nodes take nothing of the job.</summary>
    private IEnumerable<string> Refusals(JsonElement status) => status.GetProperty("nodes").EnumerateArray()
        .Select(node => node.GetProperty("refusals").TryGetProperty(Output, out JsonElement reason) ? reason.GetString()! : "")
        .Where(reason => reason.Length > 0);

    private void CheckPartsAreThoseOfOneRun()
    {
        string alone = folder.File("alone");
        Assert.That(Run(Bulk(alone)).ExitCode, Is.Zero);
        Assert.That(Parts(Output), Is.EqualTo(Parts(alone)));
    }

    private static Dictionary<string, byte[]> Parts(string output) =>
        Directory.GetFiles(output, "part-*").ToDictionary(file => Path.GetFileName(file), File.ReadAllBytes);

    private StellaResult Run(params string[] arguments) => StellaProcess.RunWith(variables, arguments);

    private string[] Bulk(string output) => ["bulk", Input, "--output", output, "--chunk-tokens", ChunkTokens.ToString(CultureInfo.InvariantCulture)];

    /// <summary>Represents a command that follows a job.</summary>
    private sealed class Follower(Process process)
    {
        // A pipe that nobody reads would stop the command when it is full.
        private readonly Task<string> output = process.StandardOutput.ReadToEndAsync();
        private string messages = "";

        public Process Process => process;

        /// <summary>Waits for a message on standard error.</summary>
        /// <returns><see langword="false"/> if the command ends without it.</returns>
        public async Task<bool> SaysAsync(string message)
        {
            using var limit = new CancellationTokenSource(Patience);
            while (!messages.Contains(message))
            {
                if (await process.StandardError.ReadLineAsync(limit.Token) is not { } line)
                {
                    return false;
                }

                messages += line + "\n";
            }

            return true;
        }

        /// <summary>Waits for the end of the command.</summary>
        public async Task<StellaResult> EndAsync()
        {
            using var limit = new CancellationTokenSource(Patience);
            messages += await process.StandardError.ReadToEndAsync(limit.Token);
            await process.WaitForExitAsync(limit.Token);
            return new StellaResult(process.ExitCode, await output, messages);
        }
    }
}
