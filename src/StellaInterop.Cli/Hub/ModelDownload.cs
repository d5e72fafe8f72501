using System.Text.Json;
using StellaInterop.ModelFiles;

namespace StellaInterop.Cli.Hub;

/// <summary>Brings the files of a model from its repository into a store.</summary>
internal sealed class ModelDownload(HubClient client, IDownloadReport report)
{
    /// <summary>Fetches what is missing or damaged. Every file is compared with what is published before it is used.</summary>
    /// <param name="model">The repository.</param>
    /// <param name="revision">The revision.</param>
    /// <param name="dimensions">The heads that are wanted beside the default one.</param>
    /// <param name="openStore">Opens the store for the commit that the revision is.</param>
    /// <param name="cancellationToken">Stops it. What has arrived is kept.</param>
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
        // A path of any other form is never looked at, so none that the server makes up can lead out of the store.
        Dictionary<string, JsonElement> files = repository.Siblings
            .Where(file => HubRepository.PathOf(file) is { } path && StellaModelFiles.IsModelFile(path))
            .DistinctBy(HubRepository.PathOf)
            .ToDictionary(file => HubRepository.PathOf(file)!);
        var selection = new ModelSelection($"{model} at {revision}", files.Keys.ToHashSet());
        var contents = new Dictionary<string, StellaManifestFile>();

        IReadOnlyList<string> naming = selection.Naming();
        await FetchAllAsync(naming).ConfigureAwait(false);
        await FetchAllAsync(selection.Rest(path => store.ContentPath(HubRepository.FileOf(files[path])), dimensions)).ConfigureAwait(false);
        WriteManifest(store.Folder, model, repository.Sha, contents);
        store.Complete();
        return store.Folder;

        async Task FetchAllAsync(IReadOnlyList<string> paths)
        {
            foreach (string path in paths)
            {
                Uri address = client.AddressOf(model, repository.Sha, path);
                contents[path] = await FetchAsync(HubRepository.FileOf(files[path]), address, store, cancellationToken).ConfigureAwait(false);
            }
        }
    }

    private async Task<StellaManifestFile> FetchAsync(
        HubFile file, Uri address, ModelStore store, CancellationToken cancellationToken)
    {
        string content = store.ContentPath(file);
        report.Begin(file.Path, file.PublishedSize);
        StellaManifestFile? found = File.Exists(content) ? ContentCheck.Match(file, content, cancellationToken) : null;
        if (found is null)
        {
            string partial = store.PartialPath(file);
            await new FileDownload(client, report).FetchAsync(file, address, partial, cancellationToken).ConfigureAwait(false);
            found = ContentCheck.Match(file, partial, cancellationToken);
            if (found is null)
            {
                File.Delete(partial);
                throw new CliException(
                    ExitCode.ModelRefused,
                    $"{file.Path} from {address} is not what the repository publishes (size or hash differ) and was deleted; "
                    + "run this again, and if it happens again do not trust the endpoint");
            }

            Directory.CreateDirectory(Path.GetDirectoryName(content)!);
            File.Move(partial, content, overwrite: true);
        }

        store.Publish(file);
        report.Done(found.Size);
        return found;
    }

    /// <summary>Lists the files of this run and those of earlier runs for the same commit, which may have brought other heads.</summary>
    private static void WriteManifest(string folder, string model, string commit, Dictionary<string, StellaManifestFile> contents)
    {
        string path = Path.Combine(folder, StellaManifest.FileName);
        if (Earlier(path) is { } earlier && earlier.Repository == model && earlier.Revision == commit)
        {
            foreach (var (name, file) in earlier.Files)
            {
                contents.TryAdd(name, file);
            }
        }

        new StellaManifest(contents) { Repository = model, Revision = commit }.Save(path);
    }

    private static StellaManifest? Earlier(string path)
    {
        try
        {
            return File.Exists(path) ? StellaManifest.Load(path) : null;
        }
        catch (StellaModelFolderException)
        {
            // It is replaced by one that can be read.
            return null;
        }
    }
}
