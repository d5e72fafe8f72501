using System.Text.Json;
using System.Text.RegularExpressions;

namespace StellaInterop.ModelFiles;

/// <summary>Determines which files of a folder in the sentence-transformers layout belong to the model.</summary>
/// <remarks>
/// A repository has other files too: code, other formats of the same weights, a model card. <see cref="StellaModel.Load"/> reads only the
/// files of the model; manifests list them, and downloads fetch them. Thread-safe.
/// </remarks>
public static partial class StellaModelFiles
{
    /// <summary>The name of the file that lists the modules after the encoder: the pooling and the default head.</summary>
    public const string ModulesFileName = "modules.json";

    /// <summary>The name of the file with the weights of the encoder, if they are in one file.</summary>
    public const string WeightsFileName = "model.safetensors";

    /// <summary>The name of the file that lists the files with the weights of the encoder, if they are in several.</summary>
    public const string ShardIndexFileName = "model.safetensors.index.json";

    private const int MaxSettingsBytes = 4 << 20;

    /// <summary>Determines whether a path is that of a file of a model in the standard layout.</summary>
    /// <param name="path">A path relative to the model folder, with forward slashes.</param>
    /// <returns><see langword="true"/> for a file of a model; its path is also a plain one, see <see cref="IsPlainPath"/>.</returns>
    public static bool IsModelFile(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        return ModelFile().IsMatch(path);
    }

    /// <summary>
    /// Determines whether a relative path stays inside its folder on every operating system and can be printed without escapes.
    /// </summary>
    /// <param name="path">A relative path with forward slashes.</param>
    /// <returns><see langword="false"/> also for a path with control characters, which Windows refuses and a terminal executes.</returns>
    public static bool IsPlainPath(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        return Printable.IsSafe(path) && path.Split('/').All(part => part is not ("" or "." or "..") && !part.AsSpan().ContainsAny("\\:"));
    }

    /// <summary>Returns the files in a folder that belong to the model.</summary>
    /// <param name="folder">The folder.</param>
    /// <returns>Paths relative to the folder, with forward slashes, in ordinal order.</returns>
    /// <exception cref="ArgumentException"><paramref name="folder"/> is null or empty.</exception>
    /// <exception cref="StellaModelFolderException">The folder does not exist or cannot be listed.</exception>
    public static IReadOnlyList<string> GetFiles(string folder)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        if (!Directory.Exists(folder))
        {
            throw new StellaModelFolderException(StellaErrorCode.ModelFolderNotFound, $"{folder} does not exist or is not a folder.");
        }

        try
        {
            // Files of a model are at most one folder deep, so a large tree around the model is not searched.
            var depth = new EnumerationOptions { RecurseSubdirectories = true, MaxRecursionDepth = 1 };
            HashSet<string> modules = NamedBy(
                Path.Combine(folder, ModulesFileName),
                json => json.EnumerateArray().Select(module => module.GetProperty("path").GetString()));
            HashSet<string> shards = NamedBy(
                Path.Combine(folder, ShardIndexFileName),
                json => json.GetProperty("weight_map").EnumerateObject().Select(tensor => tensor.Value.GetString()));
            return [.. Directory.EnumerateFiles(folder, "*", depth)
                .Select(file => Path.GetRelativePath(folder, file).Replace(Path.DirectorySeparatorChar, '/'))
                .Where(path => IsModelFile(path) || IsFileOfModule(path, modules) || shards.Contains(path))
                .Order(StringComparer.Ordinal)];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new StellaModelFolderException(StellaErrorCode.ModelFileUnreadable, $"{folder} cannot be listed.", e);
        }
    }

    private static bool IsFileOfModule(string path, HashSet<string> modules) =>
        path.Split('/') is [{ } folder, "config.json" or WeightsFileName] && modules.Contains(folder);

    /// <summary>Returns the files or folders that a settings file lists; empty if the file cannot be read, which a load reports.</summary>
    private static HashSet<string> NamedBy(string path, Func<JsonElement, IEnumerable<string?>> names)
    {
        try
        {
            // A pipe or a device has length 0, and opening a pipe would wait for a writer.
            var file = new FileInfo(path);
            if ((file.ResolveLinkTarget(returnFinalTarget: true) ?? file) is not FileInfo { Exists: true, Length: > 0 and <= MaxSettingsBytes })
            {
                return [];
            }

            using var json = JsonDocument.Parse(File.ReadAllBytes(path));
            return [.. names(json.RootElement).OfType<string>().Where(IsPlainPath)];
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or KeyNotFoundException or IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }

    [GeneratedRegex(
        """
        \A(
            (config|modules|config_sentence_transformers|tokenizer|tokenizer_config|special_tokens_map|added_tokens)\.json
          | adapter_config\.json
          | sentence_(bert|roberta|distilbert|camembert|albert|xlm-roberta|xlnet)_config\.json
          | model\.safetensors(\.index\.json)?
          | model-[A-Za-z0-9_-]+\.safetensors
          | [1-9]_(Pooling|Normalize)/config\.json
          | 2_Dense(_[A-Za-z0-9_]+)?/(config\.json|model\.safetensors)
        )\z
        """,
        RegexOptions.IgnorePatternWhitespace | RegexOptions.ExplicitCapture)]
    private static partial Regex ModelFile();
}
