using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text.Json;

namespace StellaInterop.Tests.Clients;

/// <summary>A client of npm, which a process of Node.js runs. The process starts with the first request.</summary>
/// <param name="package">The name of the package.</param>
/// <param name="module">The name of its module in <c>Npm/</c>.</param>
internal sealed class NpmClient(string package, string module) : ServerClient("npm", package)
{
    private const string Sources = "tests/StellaInterop.Server.Tests/Clients/Npm";

    private Process? process;

    /// <summary>Gets the folder in which the Cake task NpmClients installs the clients; <see langword="null"/> if they are not installed.</summary>
    public static string? Folder { get; } = Environment.GetEnvironmentVariable("STELLA_CLIENTS") is { Length: > 0 } folder
        ? Path.GetFullPath(folder, SourceTree.Root)
        : null;

    public override string Version { get; } = JsonSerializer.Deserialize<JsonElement>(File.ReadAllText(Path.Combine(SourceTree.Root, Sources, "package.json")))
        .GetProperty("dependencies").GetProperty(package).GetString()!;

    public override async Task<ClientResult> EmbedAsync(ClientRequest request)
    {
        process ??= Start();
        await process.StandardInput.WriteLineAsync(JsonSerializer.Serialize(request, JsonSerializerOptions.Web));
        await process.StandardInput.FlushAsync();
        string line = await process.StandardOutput.ReadLineAsync() ?? throw new InvalidOperationException($"{module}.mjs ended: {await process.StandardError.ReadToEndAsync()}");
        JsonElement answer = JsonSerializer.Deserialize<JsonElement>(line);
        if (answer.TryGetProperty("error", out JsonElement error))
        {
            return new ClientResult(null, error.GetString());
        }

        ReadOnlySpan<double> numbers = MemoryMarshal.Cast<byte, double>(answer.GetProperty("numbers").GetBytesFromBase64());
        var vectors = new List<double[]>();
        foreach (JsonElement length in answer.GetProperty("lengths").EnumerateArray())
        {
            vectors.Add(numbers[..length.GetInt32()].ToArray());
            numbers = numbers[length.GetInt32()..];
        }

        return new ClientResult([.. vectors], null);
    }

    public override void Dispose()
    {
        base.Dispose();
        if (process is not null)
        {
            process.Kill();
            process.Dispose();
        }
    }

    private Process Start()
    {
        string node = $"node_modules/node-linux-{RuntimeInformation.OSArchitecture.ToString().ToLowerInvariant()}/bin/node";
        var start = new ProcessStartInfo(Path.Combine(Folder!, node), ["run.mjs", module])
        {
            WorkingDirectory = Folder,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
        };
        // A proxy of the machine has no route to this server.
        start.Environment["NO_PROXY"] = "127.0.0.1";
        return Process.Start(start)!;
    }
}
