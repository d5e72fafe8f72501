using System.Diagnostics;

namespace StellaInterop.DocsTests;

/// <summary>Runs a web service from a document in its own process and sends it requests.</summary>
internal static class WebProgram
{
    private const string Listening = "Now listening on: ";

    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(2);

    /// <summary>Sends each GET request and returns the request lines, each followed by its answer.</summary>
    public static async Task<string> AnswerAsync(Stream program, string? settings, string requests)
    {
        // The program is next to the assemblies that it uses. Its settings are in a separate folder.
        string bin = TestContext.CurrentContext.TestDirectory;
        string name = $"web{Guid.NewGuid():N}";
        string assembly = Path.Combine(bin, $"{name}.dll");
        string folder = Directory.CreateTempSubdirectory("stella-docs").FullName;
        try
        {
            await using (FileStream file = File.Create(assembly))
            {
                await program.CopyToAsync(file);
            }

            await File.WriteAllTextAsync(Path.Combine(folder, "appsettings.json"), settings ?? "{}");
            string tests = typeof(WebProgram).Assembly.GetName().Name!;
            string[] arguments =
            [
                "exec", "--runtimeconfig", Path.Combine(bin, $"{tests}.runtimeconfig.json"), "--depsfile", Path.Combine(bin, $"{tests}.deps.json"),
                assembly, "--urls", "http://127.0.0.1:0", "--contentRoot", folder,
            ];
            var start = new ProcessStartInfo("dotnet", arguments) { WorkingDirectory = folder, RedirectStandardOutput = true };
            using Process process = Process.Start(start)!;
            try
            {
                using var limit = new CancellationTokenSource(Limit);
                using var client = new HttpClient { BaseAddress = await AddressAsync(process, limit.Token) };
                var answers = new List<string>();
                foreach (string line in requests.Split('\n').Where(line => line.StartsWith("GET ", StringComparison.Ordinal)))
                {
                    using HttpResponseMessage response = await client.GetAsync(new Uri(line[4..], UriKind.Relative), limit.Token);
                    answers.Add($"{line}\n{(int)response.StatusCode} {await response.Content.ReadAsStringAsync(limit.Token)}");
                }

                return string.Join('\n', answers);
            }
            finally
            {
                process.Kill(entireProcessTree: true);
                await process.WaitForExitAsync();
            }
        }
        finally
        {
            File.Delete(assembly);
            Directory.Delete(folder, recursive: true);
        }
    }

    private static async Task<Uri> AddressAsync(Process process, CancellationToken cancellationToken)
    {
        var output = new List<string>();
        while (await process.StandardOutput.ReadLineAsync(cancellationToken) is { } line)
        {
            output.Add(line);
            if (line.IndexOf(Listening, StringComparison.Ordinal) is var at and >= 0)
            {
                return new Uri(line[(at + Listening.Length)..].Trim());
            }
        }

        throw new InvalidOperationException($"The service ended before it listened:\n{string.Join('\n', output)}");
    }
}
