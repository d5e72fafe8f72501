using System.Globalization;
using System.Text.Json;
using StellaInterop.Cli.Errors;
using StellaInterop.ModelFiles;

namespace StellaInterop.Cli.Hub;

/// <summary>Selects the files of a repository that a model needs.</summary>
/// <param name="source">The name of the repository or folder for messages.</param>
/// <param name="available">The paths of its files.</param>
internal sealed class ModelSelection(string source, IReadOnlySet<string> available)
{
    private static readonly string[] Required = ["config.json", "tokenizer.json"];

    private bool IsSharded => !available.Contains(StellaModelFiles.WeightsFileName) && available.Contains(StellaModelFiles.ShardIndexFileName);

    /// <summary>Returns the files that list other files. <see cref="GetOtherFiles"/> reads them.</summary>
    public IReadOnlyList<string> GetIndexFiles() =>
        RequireAvailable(IsSharded ? [StellaModelFiles.ModulesFileName, StellaModelFiles.ShardIndexFileName] : [StellaModelFiles.ModulesFileName]);

    /// <summary>Returns all other required files.</summary>
    /// <param name="getPath">Returns the path of a downloaded file of <see cref="GetIndexFiles"/>.</param>
    /// <param name="dimensions">The dimensions of heads to include besides the default head.</param>
    public IReadOnlyList<string> GetOtherFiles(Func<string, string> getPath, IReadOnlyCollection<int> dimensions)
    {
        string[] heads = [.. dimensions.Select(GetHeadFolder)];
        if (heads.FirstOrDefault(head => !available.Contains(GetHeadWeights(head))) is { } missing)
        {
            string[] existing = [.. available.Where(path => path.StartsWith("2_Dense_", StringComparison.Ordinal))
                .Select(path => path.Split('/')[0]["2_Dense_".Length..]).Distinct().Order(StringComparer.Ordinal)];
            throw new CliException(
                ExitCode.Usage, $"{source} has no {missing}. Its dimensions are {Listing.Of(existing)}.");
        }

        (string Type, string Path)[] modules = Parse(StellaModelFiles.ModulesFileName, getPath, ParseModules);
        // The loader reads the default head even if it computes another dimension.
        IEnumerable<string> headFiles = heads.Concat(GetModuleFolders(modules, "Dense")).Distinct()
            .SelectMany(head => new[] { $"{head}/config.json", GetHeadWeights(head) });
        IEnumerable<string> pooling = GetModuleFolders(modules, "Pooling").Select(folder => $"{folder}/config.json");
        // A model loads without these files, but they set prompts, the length limit and tokens. Older releases write fewer of them.
        IEnumerable<string> optional = GetModuleFolders(modules, "Normalize").Select(folder => $"{folder}/config.json")
            .Concat(available.Where(IsSettings).Order(StringComparer.Ordinal));
        IEnumerable<string> weights = IsSharded ? Parse(StellaModelFiles.ShardIndexFileName, getPath, ParseShards) : [StellaModelFiles.WeightsFileName];
        return RequireAvailable([.. Required, .. pooling, .. optional.Where(available.Contains).Except(Required), .. headFiles, .. weights]);
    }

    /// <summary>Returns whether a path is a settings file of the model other than the index files.</summary>
    private static bool IsSettings(string path) => !path.Contains('/', StringComparison.Ordinal)
        && path.EndsWith(".json", StringComparison.Ordinal)
        && path is not (StellaModelFiles.ModulesFileName or StellaModelFiles.ShardIndexFileName)
        && StellaModelFiles.IsModelFile(path);

    private static string GetHeadFolder(int dimension) => string.Create(CultureInfo.InvariantCulture, $"2_Dense_{dimension}");

    private static string GetHeadWeights(string head) => $"{head}/model.safetensors";

    private string[] RequireAvailable(string[] paths) =>
        paths.Where(path => !available.Contains(path)).ToArray() is { Length: > 0 } missing
            ? throw new CliException(ExitCode.ModelRefused, $"{source} has no {Listing.Of(missing, ", no ")}.")
            : paths;

    private T Parse<T>(string file, Func<string, string> getPath, Func<JsonElement, T> read)
    {
        string path = getPath(file);
        if (!IsRegular(path))
        {
            throw new CliException(ExitCode.ModelRefused, $"{path} is empty or not a regular file.");
        }

        byte[] content = File.ReadAllBytes(path);
        try
        {
            using var json = JsonDocument.Parse(content);
            return read(json.RootElement);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or KeyNotFoundException)
        {
            string fault = WrongFile.Recognize(content) ?? "is not JSON of the expected structure";
            throw new CliException(ExitCode.ModelRefused, $"{source}: {file} {fault}.", e);
        }
    }

    /// <summary>
    /// Returns whether a file has bytes. Pipes and devices have length 0, and opening a pipe would wait for a writer.
    /// </summary>
    private static bool IsRegular(string path)
    {
        var file = new FileInfo(path);
        return (file.ResolveLinkTarget(returnFinalTarget: true) as FileInfo ?? file).Length > 0;
    }

    private static (string Type, string Path)[] ParseModules(JsonElement modules) =>
    [
        .. modules.EnumerateArray().Select(module =>
            (module.GetProperty("type").GetString()?.Split('.')[^1] ?? "", module.GetProperty("path").GetString() ?? "")),
    ];

    /// <summary>Returns the folders of the modules of a type, and refuses names that no folder of a model may have.</summary>
    private IEnumerable<string> GetModuleFolders((string Type, string Path)[] modules, string type)
    {
        foreach ((_, string path) in modules.Where(module => module.Type == type))
        {
            if (!StellaModelFiles.IsModelFile($"{path}/config.json"))
            {
                throw new CliException(
                    ExitCode.ModelRefused, $"{source}: {StellaModelFiles.ModulesFileName} names the folder '{path}' for {type}; it must be N_{type}.");
            }

            yield return path;
        }
    }

    private string[] ParseShards(JsonElement index)
    {
        string[] shards = [.. index.GetProperty("weight_map").EnumerateObject()
            .Select(tensor => tensor.Value.GetString() ?? "").Distinct().Order(StringComparer.Ordinal)];
        return shards.FirstOrDefault(shard => !StellaModelFiles.IsModelFile(shard)) is { } invalid
            ? throw new CliException(ExitCode.ModelRefused, $"{source}: {StellaModelFiles.ShardIndexFileName} names '{invalid}'; it must be model-N-of-N.safetensors.")
            : shards;
    }
}
