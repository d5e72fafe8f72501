using System.CommandLine;
using System.CommandLine.Parsing;
using StellaInterop.Cli.Hub;
using StellaInterop.ModelFiles;

namespace StellaInterop.Cli.Commands;

/// <summary><c>stella download</c>: a model from Hugging Face. No other command connects to anything.</summary>
internal static class DownloadCommand
{
    private const int DefaultRetries = 5;

    public static Command Create()
    {
        var command = new Command(
            "download",
            $"""
            Fetches the files of a model that are needed to load it, compares them with the hashes that its repository
            publishes, and writes the model's folder to standard output. What is there and good is not fetched again; what
            was broken off goes on where it stopped. A {StellaManifest.FileName} is left for `stella verify`.

            Examples:
              stella download NovaSearch/stella_en_400M_v5
              stella download NovaSearch/stella_en_400M_v5 --dimension 256 --dimension 2048
              stella download NovaSearch/stella_en_400M_v5 --dir models/stella

            Environment, as in the tools of Hugging Face:
              HF_HOME, HF_HUB_CACHE, XDG_CACHE_HOME   where the cache is; ~ and $NAME in them are expanded
              HF_ENDPOINT                             the server
              HF_TOKEN, HF_TOKEN_PATH                 the token of an account, or a file with it; default: token in HF_HOME
              HF_HUB_DISABLE_IMPLICIT_TOKEN=1         send no token
              HF_HUB_OFFLINE=1                        connect to nothing
              HF_HUB_ETAG_TIMEOUT                     seconds that the server may be silent before it lists its files, and
              HF_HUB_DOWNLOAD_TIMEOUT                 while it sends one; {HubSettings.DefaultStallSeconds} unless they are set
              HF_HUB_DISABLE_SYMLINKS=1               copies in the cache instead of links
              HF_HUB_DISABLE_PROGRESS_BARS=1          lines instead of bars
              HF_HUB_USER_AGENT_ORIGIN                a name to tell the server
            HUGGINGFACE_HUB_CACHE, HUGGING_FACE_HUB_TOKEN and TRANSFORMERS_OFFLINE count where the newer names are not set.
            """);
        var model = new Argument<string>("ORG/NAME") { Description = "The model's repository." };
        var revision = new Option<string>("--revision")
        {
            Description = $"A branch, a tag or a commit in full. Default: {HuggingFaceCache.DefaultRevision}.",
            HelpName = "REV",
            DefaultValueFactory = _ => HuggingFaceCache.DefaultRevision,
        };
        var folder = new Option<string?>("--dir")
        {
            Description = "Write plain files into this folder. Default: the Hugging Face cache, where --model ORG/NAME finds them.",
            HelpName = "DIR",
        };
        var dimensions = new Option<int[]>("--dimension")
        {
            Description = "A head to fetch beside the one that the model computes by default. May be given more than once.",
            HelpName = "N",
        };
        var endpoint = new Option<string?>("--endpoint")
        {
            Description = "Address of a server that speaks as Hugging Face does. Default: HF_ENDPOINT, or https://huggingface.co.",
            HelpName = "URL",
        };
        var offline = new Option<bool>("--offline")
        {
            Description = "Connect to nothing: succeed if the model is there, else say what is missing. HF_HUB_OFFLINE=1 does the same.",
        };
        var retries = new Option<int>("--retries")
        {
            Description = $"How often in a row a request that failed is tried again, each time after a longer wait. Default: {DefaultRetries}.",
            HelpName = "N",
            DefaultValueFactory = _ => DefaultRetries,
        };
        model.Validators.Add(result => Refuse(
            result, result.Tokens, HuggingFaceCache.IsModelName, "is not the name of a model; a name is ORG/NAME"));
        ModelLocation.RefuseOthers(revision);
        dimensions.Validators.Add(result => Refuse(
            result, result.Tokens, text => !int.TryParse(text, out int given) || given >= 1, "is no --dimension; it must be at least 1"));
        retries.Validators.Add(result => Refuse(
            result, result.Tokens, text => !int.TryParse(text, out int given) || given >= 0, "is no number of --retries; it must be at least 0"));
        command.Add(model);
        command.Add(revision);
        command.Add(folder);
        command.Add(dimensions);
        command.Add(endpoint);
        command.Add(offline);
        command.Add(retries);
        command.Add(ModelArguments.Verbosity.Option);
        command.SetAction(async (parsed, cancellationToken) =>
        {
            var wanted = new Wanted(
                parsed.GetRequiredValue(model),
                parsed.GetRequiredValue(revision),
                parsed.GetValue(folder),
                parsed.GetValue(dimensions) ?? []);
            string path;
            if (parsed.GetValue(offline) || HubSettings.IsOffline)
            {
                path = FindOffline(wanted);
            }
            else
            {
                HubSettings settings = HubSettings.FromEnvironment(parsed.GetValue(endpoint), parsed.GetValue(retries));
                path = await Show(parsed, report => FetchAsync(wanted, settings, report, cancellationToken)).ConfigureAwait(false);
            }

            Output.Result(path);
            return (int)ExitCode.Good;
        });
        return command;
    }

    private static void Refuse(
        SymbolResult result,
        IEnumerable<Token> tokens,
        Func<string, bool> isGood,
        string message)
    {
        foreach (var token in tokens.Where(token => !isGood(token.Value)))
        {
            result.AddError($"'{token.Value}' {message}.");
        }
    }

    private static Task<T> Show<T>(ParseResult parsed, Func<IDownloadReport, Task<T>> work)
    {
        if (ModelArguments.Verbosity.Get(parsed) == Verbosity.Quiet)
        {
            return work(new SilentReport());
        }

        return Console.IsErrorRedirected || HubSettings.IsWithoutBars ? work(new LineReport()) : BarReport.ShowAsync(work);
    }

    private static async Task<string> FetchAsync(
        Wanted wanted, HubSettings settings, IDownloadReport report, CancellationToken cancellationToken)
    {
        using var client = new HubClient(settings, TimeProvider.System, report.Note);
        try
        {
            return await new ModelDownload(client, report)
                .RunAsync(wanted.Model, wanted.Revision, wanted.Dimensions, Store, cancellationToken).ConfigureAwait(false);
        }
        catch (OperationCanceledException e)
        {
            throw new CliException(ExitCode.Other, "stopped; what has arrived is kept, and the same command goes on from there", e);
        }

        ModelStore Store(string commit) => wanted.Folder is { } folder
            ? new FolderStore(folder, commit)
            : new CacheStore(HuggingFaceCache.FromEnvironment(), wanted.Model, wanted.Revision, commit, HubSettings.IsWithoutLinks);
    }

    private static string FindOffline(Wanted wanted)
    {
        string folder = wanted.Folder ?? HuggingFaceCache.FromEnvironment().GetModelFolder(wanted.Model, wanted.Revision);
        var selection = new ModelSelection($"offline, and {folder}", StellaModelFiles.GetFiles(folder).ToHashSet());
        selection.Naming();
        selection.Rest(path => Path.Combine(folder, path), wanted.Dimensions);
        return folder;
    }

    private sealed record Wanted(string Model, string Revision, string? Folder, int[] Dimensions);
}
