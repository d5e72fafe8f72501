using System.CommandLine;
using StellaInterop.Cli.Errors;
using StellaInterop.Cli.Hub;
using StellaInterop.Cli.Loading;
using StellaInterop.Cli.Options;
using StellaInterop.Cli.Terminal;
using StellaInterop.ModelFiles;

namespace StellaInterop.Cli.Commands;

/// <summary>
/// Implements <c>stella download</c>, which downloads a model from Hugging Face. No other command opens connections.
/// </summary>
internal static class DownloadCommand
{
    private const int DefaultRetries = 5;

    public static Command Create()
    {
        var command = new Command(
            "download",
            $"""
            Downloads the files that are needed to load a model, compares them with the hashes that the repository publishes,
            and writes the path of the model folder to standard output. Files that are complete and correct are not downloaded
            again, and partial files are continued. Also writes {StellaManifest.FileName} for `stella verify`.

            Examples:
              stella download NovaSearch/stella_en_400M_v5
              stella download NovaSearch/stella_en_400M_v5 --dimension 256 --dimension 2048
              stella download NovaSearch/stella_en_400M_v5 --dir models/stella

            Environment, as in the tools of Hugging Face:
              HF_HOME, HF_HUB_CACHE, XDG_CACHE_HOME   folder of the cache; ~ and $NAME in them are expanded
              HF_ENDPOINT                             address of the server
              HF_TOKEN, HF_TOKEN_PATH                 token of an account, or a file with it; default: token in HF_HOME
              HF_HUB_DISABLE_IMPLICIT_TOKEN=1         send no token
              HF_HUB_OFFLINE=1                        open no connections
              HF_HUB_ETAG_TIMEOUT                     timeout in seconds while the server prepares the list of files; default {HubSettings.DefaultTimeoutSeconds}
              HF_HUB_DOWNLOAD_TIMEOUT                 timeout in seconds while the server sends no bytes of a file; default {HubSettings.DefaultTimeoutSeconds}
              HF_HUB_DISABLE_SYMLINKS=1               store copies in the cache instead of links
              HF_HUB_DISABLE_PROGRESS_BARS=1          show lines instead of progress bars
              HF_HUB_USER_AGENT_ORIGIN                name of the caller for the User-Agent header
            HUGGINGFACE_HUB_CACHE, HUGGING_FACE_HUB_TOKEN and TRANSFORMERS_OFFLINE are used if the newer names are not set.
            """);
        var model = new Argument<string>("ORG/NAME") { Description = "Repository of the model." };
        var revision = new Option<string>("--revision")
        {
            Description = $"Branch, tag or full commit. Default: {HuggingFaceCache.DefaultRevision}.",
            HelpName = "REV",
            DefaultValueFactory = _ => HuggingFaceCache.DefaultRevision,
        };
        var folder = new Option<string?>("--dir")
        {
            Description = "Write plain files into this folder. Default: the Hugging Face cache, which --model ORG/NAME searches.",
            HelpName = "DIR",
        };
        var dimensions = new Option<int[]>("--dimension")
        {
            Description = "Dimension of a head to download besides the default head. Can be repeated.",
            HelpName = "N",
        };
        var endpoint = new Option<string?>("--endpoint")
        {
            Description = "Address of a server with the API of Hugging Face. Default: HF_ENDPOINT, or https://huggingface.co.",
            HelpName = "URL",
        };
        var offline = new Option<bool>("--offline")
        {
            Description = "Open no connections. Succeeds if the model is complete, otherwise reports the missing files. Same as HF_HUB_OFFLINE=1.",
        };
        var retries = new Option<int>("--retries")
        {
            Description = $"Number of consecutive retries of a failed request, with increasing waits. Default: {DefaultRetries}.",
            HelpName = "N",
            DefaultValueFactory = _ => DefaultRetries,
        };
        model.Validators.Add(result =>
        {
            foreach (var token in result.Tokens.Where(token => !HuggingFaceCache.IsModelName(token.Value)))
            {
                result.AddError($"'{token.Value}' is not the name of a model. Use the form ORG/NAME.");
            }
        });
        ModelLocation.AddRevisionCheck(revision);
        NumberOption.AddRange(dimensions, minimum: 1);
        NumberOption.AddRange(retries, minimum: 0);
        command.Add(model);
        command.Add(revision);
        command.Add(folder);
        command.Add(dimensions);
        command.Add(endpoint);
        command.Add(offline);
        command.Add(retries);
        command.Add(VerbosityOption.Instance.Option);
        command.SetAction(async (parsed, cancellationToken) =>
        {
            var request = new DownloadRequest(
                parsed.GetRequiredValue(model),
                parsed.GetRequiredValue(revision),
                parsed.GetValue(folder),
                parsed.GetValue(dimensions) ?? []);
            string path;
            if (parsed.GetValue(offline) || HubSettings.IsOffline)
            {
                path = FindOffline(request);
            }
            else
            {
                HubSettings settings = HubSettings.FromEnvironment(parsed.GetValue(endpoint), parsed.GetValue(retries));
                path = await ShowProgress(parsed, progress => DownloadAsync(request, settings, progress, cancellationToken)).ConfigureAwait(false);
            }

            ConsoleOutput.WriteResult(path);
            return (int)ExitCode.Success;
        });
        return command;
    }

    private static Task<T> ShowProgress<T>(ParseResult parsed, Func<IDownloadProgress, Task<T>> work)
    {
        if (VerbosityOption.Instance.Get(parsed) == Verbosity.Quiet)
        {
            return work(new SilentProgress());
        }

        return Console.IsErrorRedirected || HubSettings.AreProgressBarsDisabled ? work(new LineProgress()) : ProgressBars.ShowAsync(work);
    }

    private static async Task<string> DownloadAsync(
        DownloadRequest request, HubSettings settings, IDownloadProgress progress, CancellationToken cancellationToken)
    {
        using var client = new HubClient(settings, TimeProvider.System, progress.ReportWarning);
        try
        {
            return await new ModelDownload(client, progress)
                .RunAsync(request.Model, request.Revision, request.Dimensions, OpenStore, cancellationToken).ConfigureAwait(false);
        }
        catch (OperationCanceledException e)
        {
            throw new CliException(ExitCode.Other, "The download was stopped. The received bytes are kept. Run the same command again to continue.", e);
        }

        ModelStore OpenStore(string commit) => request.Folder is { } folder
            ? new FolderStore(folder, commit)
            : new CacheStore(HuggingFaceCache.FromEnvironment(), request.Model, request.Revision, commit, HubSettings.SnapshotFiles);
    }

    private static string FindOffline(DownloadRequest request)
    {
        string folder = request.Folder ?? HuggingFaceCache.FromEnvironment().GetModelFolder(request.Model, request.Revision);
        var selection = new ModelSelection($"{folder} (offline)", StellaModelFiles.GetFiles(folder).ToHashSet());
        _ = selection.GetIndexFiles();
        _ = selection.GetOtherFiles(path => Path.Combine(folder, path), request.Dimensions);
        return folder;
    }

    private sealed record DownloadRequest(string Model, string Revision, string? Folder, int[] Dimensions);
}
