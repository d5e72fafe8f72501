using System.Text.RegularExpressions;
using System.Xml.Linq;
using StellaInterop.Tests;

namespace StellaInterop.DocsTests;

/// <summary>The workflows cover every platform of native/Rids.props, and what they run from elsewhere cannot change unseen.</summary>
internal sealed partial class WorkflowTests
{
    private const string Folder = ".github/workflows";

    private static readonly string[] Files =
    [
        .. Directory.EnumerateFiles(Path.Combine(SourceTree.Root, Folder), "*.yml").Select(file => Path.GetFileName(file)).Order(StringComparer.Ordinal),
    ];

    private static readonly string[] Rids =
    [
        .. XDocument.Load(Path.Combine(SourceTree.Root, "native/Rids.props")).Descendants("NativeRid").Select(rid => rid.Attribute("Include")!.Value),
    ];

    [TestCase("native")]
    [TestCase("smoke")]
    public void Every_platform_has_a_machine(string job) =>
        Assert.That(MatrixRid().Matches(Jobs("ci.yml")[job]).Select(rid => rid.Groups[1].Value), Is.EquivalentTo(Rids));

    [Test]
    public void The_packages_contain_every_platform() =>
        Assert.That(RidsOption().Match(Jobs("ci.yml")["pack"]).Groups[1].Value.Split(','), Is.EquivalentTo(Rids));

    [TestCaseSource(nameof(Files))]
    public void Every_action_is_pinned_by_hash_and_names_its_version(string file)
    {
        string[] uses = [.. Uses().Matches(Read(file)).Select(use => use.Groups[1].Value)];
        Assert.That(uses, Is.Not.Empty);
        foreach (string use in uses)
        {
            Assert.That(use, Does.Match(@"^([\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+|\./\.github/workflows/\w+\.yml)$"));
            Assert.That(use[0] != '.' || File.Exists(Path.Combine(SourceTree.Root, use)), use);
        }
    }

    [Test]
    public void An_action_has_one_hash_in_all_workflows()
    {
        IEnumerable<string> actions = Files.SelectMany(file => Uses().Matches(Read(file))).Select(use => use.Groups[1].Value).Distinct();
        Assert.That(actions.Select(action => action.Split('@')[0]), Is.Unique);
    }

    [Test]
    public void Only_the_approved_job_has_an_identity()
    {
        string[] identified = [.. from file in Files from job in Jobs(file) where job.Value.Contains("id-token:", StringComparison.Ordinal) select $"{file}: {job.Key}"];
        Assert.That(identified, Is.EqualTo(new[] { "release.yml: publish" }));
        Assert.That(Jobs("release.yml")["publish"], Does.Contain("\n    environment: nuget\n"));
    }

    [TestCaseSource(nameof(Files))]
    public void A_workflow_grants_at_most_reading_to_all_jobs(string file) =>
        Assert.That(Read(file), Does.Match(@"(?m)^permissions:( \{\}|\n  contents: read)\n(?! )"));

    /// <summary>A job that needs a reusable workflow needs all of its jobs.</summary>
    [Test]
    public void Nothing_is_published_before_the_checks()
    {
        Dictionary<string, string> jobs = Jobs("release.yml");
        Assert.That(jobs["check"], Does.Contain("--target=ReleaseCheck --tag=\"$GITHUB_REF_NAME\""));
        Assert.That(jobs["ci"], Does.Contain("\n    needs: check\n").And.Contain("\n    uses: ./.github/workflows/ci.yml\n"));
        Assert.That(jobs["publish"], Does.Contain("\n    needs: ci\n"));
        Assert.That(jobs["github"], Does.Contain("\n    needs: publish\n"));
    }

    [Test]
    public void A_change_and_every_week_need_an_answer_of_the_advisory_database()
    {
        Assert.That(Jobs("ci.yml")["advisories"], Does.Contain("uses: ./.github/workflows/advisories.yml\n"));
        Assert.That(Jobs("advisories.yml")["advisories"], Does.Contain("dotnet cake --target=Advisories --require\n"));
        Assert.That(Read("advisories.yml"), Does.Match(@"(?m)^  schedule:\n    - cron: '\d+ \d+ \* \* \d'$"));
    }

    private static string Read(string file) => Document.Read($"{Folder}/{file}");

    /// <summary>Returns the lines of each job by the name of the job.</summary>
    private static Dictionary<string, string> Jobs(string file)
    {
        string[] parts = Job().Split(Read(file).Split("\njobs:\n")[1]);
        return Enumerable.Range(0, parts.Length / 2).ToDictionary(i => parts[(2 * i) + 1], i => parts[(2 * i) + 2]);
    }

    [GeneratedRegex(@"^  ([\w-]+):$", RegexOptions.Multiline)]
    private static partial Regex Job();

    [GeneratedRegex(@"^ +- \{ rid: ([\w-]+),", RegexOptions.Multiline)]
    private static partial Regex MatrixRid();

    [GeneratedRegex(@"--rids=(\S+)")]
    private static partial Regex RidsOption();

    [GeneratedRegex(@"\buses:\s*(.+?)\s*$", RegexOptions.Multiline)]
    private static partial Regex Uses();
}
