using StellaInterop.Bulk.Commit;
using StellaInterop.Chaos.History;

namespace StellaInterop.Chaos.Checking;

/// <summary>
/// Watches the parts of a job while it runs. A part keeps its name and its file for ever: a writer that replaced one by equal bytes would leave
/// no trace in the complete output.
/// </summary>
internal sealed class OutputWatch(string output, RunHistory history)
{
    public const string PartsStay = "A part never goes away and is never replaced";

    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(200);
    private static readonly TimeSpan ReportInterval = TimeSpan.FromSeconds(10);

    private readonly Dictionary<string, (DateTime Written, long Length)> parts = [];
    private readonly List<string> violations = [];

    /// <summary>Watches until the token is cancelled.</summary>
    /// <returns>The rule.</returns>
    public async Task<Rule> RunAsync(CancellationToken cancellationToken)
    {
        TimeSpan report = TimeSpan.Zero;
        while (!cancellationToken.IsCancellationRequested)
        {
            Look();
            if (history.Elapsed >= report)
            {
                history.Add("output", "parts", parts.Count.ToString(System.Globalization.CultureInfo.InvariantCulture));
                report = history.Elapsed + ReportInterval;
            }

            await Task.Delay(Interval, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }

        Look();
        return new Rule(PartsStay, violations);
    }

    private void Look()
    {
        if (!Directory.Exists(output))
        {
            return;
        }

        // The names are read before the files: a part that appears meanwhile is seen at the next look.
        var found = Directory.EnumerateFiles(output, $"{OutputNames.PartPrefix}*")
            .Select(file => new FileInfo(file)).Where(file => file.Exists)
            .ToDictionary(file => file.Name, file => (file.LastWriteTimeUtc, file.Length));
        foreach ((string name, (DateTime Written, long Length) before) in parts)
        {
            if (!found.TryGetValue(name, out (DateTime, long) now) || now != before)
            {
                Report(found.ContainsKey(name) ? $"{name} was replaced" : $"{name} went away");
            }
        }

        parts.Clear();
        foreach ((string name, (DateTime, long) file) in found)
        {
            parts.Add(name, file);
        }
    }

    private void Report(string violation)
    {
        violations.Add(violation);
        history.Add("output", "violation", violation);
    }
}
