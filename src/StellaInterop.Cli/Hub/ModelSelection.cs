using System.Globalization;
using System.Text.Json;
using StellaInterop.ModelFiles;

namespace StellaInterop.Cli.Hub;

/// <summary>Which files of a repository make the model that is wanted.</summary>
/// <param name="where">The repository, for messages.</param>
/// <param name="available">The paths that it has.</param>
internal sealed class ModelSelection(string where, IReadOnlySet<string> available)
{
    private static readonly string[] Required = ["config.json", "tokenizer.json"];

    private bool IsSharded => !available.Contains(StellaModelFiles.WeightsFileName) && available.Contains(StellaModelFiles.ShardIndexFileName);

    /// <summary>The files that name others. They have to be there before <see cref="Rest"/> can be asked.</summary>
    public IReadOnlyList<string> Naming() =>
        Present(IsSharded ? [StellaModelFiles.ModulesFileName, StellaModelFiles.ShardIndexFileName] : [StellaModelFiles.ModulesFileName]);

    /// <summary>All other files that are needed.</summary>
    /// <param name="pathOf">Where one of <see cref="Naming"/> lies.</param>
    /// <param name="dimensions">The heads that are wanted beside the one that the model computes by default.</param>
    public IReadOnlyList<string> Rest(Func<string, string> pathOf, IReadOnlyCollection<int> dimensions)
    {
        string[] heads = [.. dimensions.Select(HeadOf)];
        if (heads.FirstOrDefault(head => !available.Contains(WeightsOf(head))) is { } missing)
        {
            string[] there = [.. available.Where(path => path.StartsWith("2_Dense_", StringComparison.Ordinal))
                .Select(path => path.Split('/')[0]["2_Dense_".Length..]).Distinct().Order(StringComparer.Ordinal)];
            throw new CliException(
                ExitCode.Usage, $"{where} has no {missing}; its dimensions are {Listing.Of(there)}");
        }

        (string Type, string Path)[] modules = Parse(StellaModelFiles.ModulesFileName, pathOf, ModulesOf);
        // The loader reads the default head too, whatever dimension is asked of it.
        IEnumerable<string> headFiles = heads.Concat(FoldersOf(modules, "Dense")).Distinct()
            .SelectMany(head => new[] { $"{head}/config.json", WeightsOf(head) });
        IEnumerable<string> pooling = FoldersOf(modules, "Pooling").Select(folder => $"{folder}/config.json");
        // A model loads without these, but they count: prompts, the length of a text, tokens. Older releases write fewer of them.
        IEnumerable<string> optional = FoldersOf(modules, "Normalize").Select(folder => $"{folder}/config.json")
            .Concat(available.Where(IsSettings).Order(StringComparer.Ordinal));
        IEnumerable<string> weights = IsSharded ? Parse(StellaModelFiles.ShardIndexFileName, pathOf, Shards) : [StellaModelFiles.WeightsFileName];
        return Present([.. Required, .. pooling, .. optional.Where(available.Contains).Except(Required), .. headFiles, .. weights]);
    }

    /// <summary>Whether a path is a settings file of the model itself, beside those that name other files.</summary>
    private static bool IsSettings(string path) => !path.Contains('/', StringComparison.Ordinal)
        && path.EndsWith(".json", StringComparison.Ordinal)
        && path is not (StellaModelFiles.ModulesFileName or StellaModelFiles.ShardIndexFileName)
        && StellaModelFiles.IsModelFile(path);

    private static string HeadOf(int dimension) => string.Create(CultureInfo.InvariantCulture, $"2_Dense_{dimension}");

    private static string WeightsOf(string head) => $"{head}/model.safetensors";

    private string[] Present(string[] paths) =>
        paths.Where(path => !available.Contains(path)).ToArray() is { Length: > 0 } missing
            ? throw new CliException(ExitCode.ModelRefused, $"{where} has no {Listing.Of(missing, ", no ")}")
            : paths;

    private T Parse<T>(string file, Func<string, string> pathOf, Func<JsonElement, T> read)
    {
        string path = pathOf(file);
        if (!IsRegular(path))
        {
            throw new CliException(ExitCode.ModelRefused, $"{path} is empty or not a regular file");
        }

        byte[] content = File.ReadAllBytes(path);
        try
        {
            using var json = JsonDocument.Parse(content);
            return read(json.RootElement);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or KeyNotFoundException)
        {
            string what = WrongFile.Recognize(content) ?? "is not the JSON that is expected";
            throw new CliException(ExitCode.ModelRefused, $"{where}: {file} {what}", e);
        }
    }

    /// <summary>Pipes and devices have length 0, and opening a pipe waits for a writer.</summary>
    private static bool IsRegular(string path)
    {
        var file = new FileInfo(path);
        return (file.ResolveLinkTarget(returnFinalTarget: true) as FileInfo ?? file).Length > 0;
    }

    private static (string Type, string Path)[] ModulesOf(JsonElement modules) =>
    [
        .. modules.EnumerateArray().Select(module =>
            (module.GetProperty("type").GetString()?.Split('.')[^1] ?? "", module.GetProperty("path").GetString() ?? "")),
    ];

    /// <summary>The folders of the modules of a type. Every name is one that a file of a model may have.</summary>
    private IEnumerable<string> FoldersOf((string Type, string Path)[] modules, string type)
    {
        foreach ((_, string path) in modules.Where(module => module.Type == type))
        {
            if (!StellaModelFiles.IsModelFile($"{path}/config.json"))
            {
                throw new CliException(
                    ExitCode.ModelRefused, $"{where}: {StellaModelFiles.ModulesFileName} names the folder '{path}' for {type}; it must be N_{type}");
            }

            yield return path;
        }
    }

    private string[] Shards(JsonElement index)
    {
        string[] shards = [.. index.GetProperty("weight_map").EnumerateObject()
            .Select(tensor => tensor.Value.GetString() ?? "").Distinct().Order(StringComparer.Ordinal)];
        return shards.FirstOrDefault(shard => !StellaModelFiles.IsModelFile(shard)) is { } other
            ? throw new CliException(ExitCode.ModelRefused, $"{where}: {StellaModelFiles.ShardIndexFileName} names '{other}'; a shard is model-N-of-N.safetensors")
            : shards;
    }
}
