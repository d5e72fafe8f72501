using System.Diagnostics;
using System.Net.Http.Json;
using System.Text.Json;
using System.Text.RegularExpressions;
using StellaInterop.DocsTests;

namespace StellaInterop.PackageTests;

/// <summary>Programs that reference the packages embed texts with the packaged model, in an otherwise empty environment.</summary>
internal sealed class ProgramTests
{
    private static PackageWorkspace PackageWorkspace => Programs.PackageWorkspace;

    [TestCase("Cached")]
    [TestCase("Console")]
    [TestCase("Inside")]
    [TestCase("Worker")]
    public void A_program_that_references_the_packages_ranks_texts(string name) =>
        Ranking.AssertWrittenBy(ProgramRun.RunIsolated(PackageWorkspace.Program(Programs.Output(name), name)));

    [Test]
    public Task A_web_service_ranks_texts_and_reports_its_health() => RunServiceAsync("Web", async client =>
    {
        string[] answers = await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => client.GetStringAsync(Relative("ranking"))));
        Assert.Multiple(() => Array.ForEach(answers, answer => Ranking.AssertIs(answer.Split('\n'))));
        Assert.That(await client.GetStringAsync(Relative("health")), Is.EqualTo("Healthy"));
    });

    [Test]
    public Task An_application_that_maps_the_routes_of_the_server_answers_requests_for_embeddings() => RunServiceAsync("Server", async client =>
    {
        string[] texts = ["How do I reset my password?", "Banana bread with walnuts", "Steps to recover access to your account"];
        using HttpResponseMessage response = await client.PostAsJsonAsync(Relative("v1/embeddings"), new { input = texts, input_type = "similarity" });
        JsonElement answer = await response.Content.ReadFromJsonAsync<JsonElement>();
        Assert.That(response.IsSuccessStatusCode, Is.True, answer.ToString());
        double[][] vectors = [.. answer.GetProperty("data").EnumerateArray().Select(row => row.GetProperty("embedding").Deserialize<double[]>()!)];
        // The tolerance allows for every precision that Auto may choose.
        Assert.That(
            vectors.Select(vector => vector.Zip(vectors[0], (a, b) => a * b).Sum()), Is.EqualTo(new[] { 1, 0.03, 0.62 }).Within(0.02));
        Assert.That(await client.GetStringAsync(Relative("")), Is.EqualTo("a route of the application"));
    });

    [Test]
    public void A_test_host_finds_the_library_and_the_model()
    {
        string ranking = PackageWorkspace.At("ranking.txt");
        PackageWorkspace.DotNet(
            "test", "apps/HostedTests", "-c", "Release", "--no-build", "--", $"TestRunParameters.Parameter(name=\"ranking\", value=\"{ranking}\")");
        Ranking.AssertIs(File.ReadAllLines(ranking));
    }

    [Test]
    public void A_plugin_finds_the_library_and_the_model_next_to_itself()
    {
        string plugin = PackageWorkspace.At(Path.Combine(Programs.Output("Plugin"), "Plugin.dll"));
        Ranking.AssertWrittenBy(ProgramRun.RunIsolated(PackageWorkspace.Program(Programs.Output("PluginHost"), "PluginHost"), plugin));
    }

    [Test]
    public void The_installed_tool_ranks_texts()
    {
        PackageWorkspace.DotNet("tool", "install", "StellaInterop.Cli", "--tool-path", "tool", "--prerelease");
        ProgramRun run = ProgramRun.RunIsolated(
            PackageWorkspace.Program("tool", "stella"), "similarity", "How do I reset my password?", "Banana bread with walnuts", "Steps to recover access");
        Assert.That(run.ExitCode, Is.Zero, run.Errors);
        Assert.That(run.Lines[0], Does.EndWith("Steps to recover access"));
    }

    [Test]
    public void The_tool_runs_from_its_package_without_an_installation()
    {
        string package = $"StellaInterop.Cli@{PackageWorkspace.Version}";
        Assert.That(PackageWorkspace.DotNet("dnx", package, "--yes", "--", "--version").Output, Does.StartWith(PackageWorkspace.Version));
        ProgramRun run = PackageWorkspace.DotNet("dnx", package, "--yes", "similarity", "How do I tune my instrument?", "Mix flour and water.", "Turn the pegs.");
        Assert.That(run.Lines[0], Does.EndWith("Turn the pegs."));
    }

    [Test]
    public void The_documented_program_in_one_file_prints_the_documented_output()
    {
        CodeBlock program = Document.Blocks("csharp").Single(block => block.Code.StartsWith("#:package", StringComparison.Ordinal));
        Directory.CreateDirectory(PackageWorkspace.At("file"));
        File.WriteAllText(PackageWorkspace.At("file/app.cs"), program.Code);
        // The program names the versions of its packages, unlike the projects beside it.
        File.WriteAllText(PackageWorkspace.At("file/Directory.Packages.props"), "<Project />");
        DocumentedOutput.AssertMatches(PackageWorkspace.DotNet("run", "file/app.cs").Output, program.Output!, program.ToString());
    }

    private static Uri Relative(string path) => new(path, UriKind.Relative);

    /// <summary>Starts a web program, waits for its address, and ends it by closing its standard input.</summary>
    private static async Task RunServiceAsync(string name, Func<HttpClient, Task> use)
    {
        using Process service = ProgramRun.StartIsolated(PackageWorkspace.Program(Programs.Output(name), name), "--urls", "http://127.0.0.1:0");
        try
        {
            using var client = new HttpClient { BaseAddress = new Uri(await ListeningAddress(service)) };
            await use(client);
            service.StandardInput.Close();
            await service.WaitForExitAsync();
            Assert.That(service.ExitCode, Is.Zero);
        }
        finally
        {
            service.Kill();
        }
    }

    private static async Task<string> ListeningAddress(Process service)
    {
        while (await service.StandardOutput.ReadLineAsync() is { } line)
        {
            if (Regex.Match(line, @"Now listening on: (\S+)") is { Success: true } match)
            {
                return match.Groups[1].Value;
            }
        }

        throw new AssertionException($"The service ended: {await service.StandardError.ReadToEndAsync()}");
    }
}
