using System.Text.Json;
using StellaInterop.Cli.Errors;
using StellaInterop.ModelFiles;

namespace StellaInterop.Cli.Hub;

/// <summary>Downloads the files of a model from its repository into a store.</summary>
internal sealed class ModelDownload(HubClient client, IDownloadProgress progress)
{
    /// <summary>
    /// Downloads the missing and damaged files. Every file is verified against the published hash before it is used.
    /// </summary>
    /// <param name="model">The repository.</param>
    /// <param name="revision">The revision.</param>
    /// <param name="dimensions">The dimensions of heads to download besides the default head.</param>
    /// <param name="openStore">Opens the store for the commit of the revision.</param>
    /// <param name="cancellationToken">Stops the download. Partial files are kept.</param>
    /// <returns>The folder of the model.</returns>
    public async Task<string> RunAsync(
        string model,
        string revision,
        IReadOnlyCollection<int> dimensions,
        Func<string, ModelStore> openStore,
        CancellationToken cancellationToken)
    {
        HubRepository repository = await client.GetRepositoryAsync(model, revision, cancellationToken).ConfigureAwait(false);
        ModelStore store = openStore(repository.Sha);
        // Only known paths of model files are used, so that a server cannot send a path that leads out of the store.
        Dictionary<string, JsonElement> files = repository.Siblings
            .Where(file => HubRepository.GetPath(file) is { } path && StellaModelFiles.IsModelFile(path))
            .DistinctBy(HubRepository.GetPath)
            .ToDictionary(file => HubRepository.GetPath(file)!);
        var selection = new ModelSelection($"{model} at {revision}", files.Keys.ToHashSet());
        var contents = new Dictionary<string, StellaManifestFile>();

        await DownloadAllAsync(selection.GetIndexFiles()).ConfigureAwait(false);
        await DownloadAllAsync(selection.GetOtherFiles(path => store.GetContentPath(HubRepository.ParseFile(files[path])), dimensions)).ConfigureAwait(false);
        WriteManifest(store.Folder, model, repository.Sha, contents);
        store.Complete();
        return store.Folder;

        async Task DownloadAllAsync(IReadOnlyList<string> paths)
        {
            foreach (string path in paths)
            {
                Uri address = client.GetFileAddress(model, repository.Sha, path);
                contents[path] = await DownloadAsync(HubRepository.ParseFile(files[path]), address, store, cancellationToken).ConfigureAwait(false);
            }
        }
    }

    private async Task<StellaManifestFile> DownloadAsync(
        HubFile file, Uri address, ModelStore store, CancellationToken cancellationToken)
    {
        string content = store.GetContentPath(file);
        progress.Begin(file.Path, file.PublishedSize);
        StellaManifestFile? found = File.Exists(content) ? ContentCheck.Match(file, content, cancellationToken) : null;
        if (found is null)
        {
            string partial = store.GetPartialPath(file);
            await new FileDownload(client, progress).DownloadAsync(file, address, partial, cancellationToken).ConfigureAwait(false);
            found = ContentCheck.Match(file, partial, cancellationToken);
            if (found is null)
            {
                File.Delete(partial);
                throw new CliException(
                    ExitCode.ModelRefused,
                    $"{file.Path} from {address} does not have the size and hash that the repository publishes, and was deleted. "
                    + "Run this again. If the error repeats, do not trust the endpoint.");
            }

            Directory.CreateDirectory(Path.GetDirectoryName(content)!);
            File.Move(partial, content, overwrite: true);
        }

        store.Publish(file);
        progress.Complete(found.Size);
        return found;
    }

    /// <summary>
    /// Writes the files of this run, and of earlier runs for the same commit, which may have downloaded other heads.
    /// </summary>
    private static void WriteManifest(string folder, string model, string commit, Dictionary<string, StellaManifestFile> contents)
    {
        string path = Path.Combine(folder, StellaManifest.FileName);
        if (LoadEarlierManifest(path) is { } earlier && earlier.Repository == model && earlier.Revision == commit)
        {
            foreach (var (name, file) in earlier.Files)
            {
                contents.TryAdd(name, file);
            }
        }

        new StellaManifest(contents) { Repository = model, Revision = commit }.Save(path);
    }

    private static StellaManifest? LoadEarlierManifest(string path)
    {
        try
        {
            return File.Exists(path) ? StellaManifest.Load(path) : null;
        }
        catch (StellaModelFolderException)
        {
            // The invalid manifest is replaced.
            return null;
        }
    }
}
