using System.Diagnostics;
using System.Text.RegularExpressions;

namespace StellaInterop.PackageTests;

/// <summary>Programs that take the packages embed with the model that comes in one, with nothing else on the path.</summary>
internal sealed class ProgramTests
{
    private static Workshop Workshop => Programs.Workshop;

    [TestCase("Cached")]
    [TestCase("Console")]
    [TestCase("Inside")]
    [TestCase("Worker")]
    public void A_program_that_references_the_packages_ranks_texts(string name) =>
        Ranking.AssertWrittenBy(ProgramRun.Alone(Workshop.Program(Programs.Output(name), name)));

    [Test]
    public async Task A_web_service_ranks_texts_for_its_clients()
    {
        using Process service = ProgramRun.StartAlone(Workshop.Program(Programs.Output("Web"), "Web"), "--urls", "http://127.0.0.1:0");
        try
        {
            var address = new Uri(await Listening(service));
            using var client = new HttpClient { BaseAddress = address };
            string[] answers = await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => client.GetStringAsync(new Uri(address, "ranking"))));
            Assert.Multiple(() => Array.ForEach(answers, answer => Ranking.AssertIs(answer.Split('\n'))));
            Assert.That(await client.GetStringAsync(new Uri(address, "health")), Is.EqualTo("Healthy"));
            service.StandardInput.Close();
            await service.WaitForExitAsync();
            Assert.That(service.ExitCode, Is.Zero);
        }
        finally
        {
            service.Kill();
        }
    }

    [Test]
    public void A_test_host_finds_library_and_model()
    {
        string ranking = Workshop.At("ranking.txt");
        Workshop.DotNet(
            "test", "apps/HostedTests", "-c", "Release", "--no-build", "--", $"TestRunParameters.Parameter(name=\"ranking\", value=\"{ranking}\")");
        Ranking.AssertIs(File.ReadAllLines(ranking));
    }

    [Test]
    public void A_plugin_finds_library_and_model_beside_itself()
    {
        string plugin = Workshop.At(Path.Combine(Programs.Output("Plugin"), "Plugin.dll"));
        Ranking.AssertWrittenBy(ProgramRun.Alone(Workshop.Program(Programs.Output("PluginHost"), "PluginHost"), plugin));
    }

    [Test]
    public void The_tool_is_installed_from_its_package_and_ranks_texts()
    {
        Workshop.DotNet("tool", "install", "StellaInterop.Cli", "--tool-path", "tool", "--version", Workshop.Version);
        ProgramRun run = ProgramRun.Alone(
            Workshop.Program("tool", "stella"), "similarity", "How do I reset my password?", "Banana bread with walnuts", "Steps to recover access");
        Assert.That(run.ExitCode, Is.Zero, run.Errors);
        Assert.That(run.Lines[0], Does.EndWith("Steps to recover access"));
    }

    private static async Task<string> Listening(Process service)
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
