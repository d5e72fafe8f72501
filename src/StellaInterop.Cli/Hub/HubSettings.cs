using System.Globalization;
using System.Net.Http.Headers;
using StellaInterop.Cli.Errors;
using StellaInterop.ModelFiles;

namespace StellaInterop.Cli.Hub;

/// <summary>Provides the settings of connections to a Hugging Face server.</summary>
/// <param name="Endpoint">The address of the server.</param>
/// <param name="Token">The token of an account. It is sent only to the endpoint.</param>
/// <param name="Retries">The maximum number of consecutive retries of a request.</param>
/// <param name="ListTimeout">The maximum time without data before the server sends the list of files.</param>
/// <param name="FileTimeout">The maximum time without data while the server sends a file.</param>
/// <param name="Origin">The name of the caller for the User-Agent header.</param>
internal sealed record HubSettings(
    Uri Endpoint, string? Token, int Retries, TimeSpan ListTimeout, TimeSpan FileTimeout, ProductInfoHeaderValue? Origin)
{
    /// <summary>The default of both timeouts in seconds.</summary>
    public const int DefaultTimeoutSeconds = 60;

    private const int MaxTimeoutSeconds = 3600;
    private const string DefaultEndpoint = "https://huggingface.co";

    // The values that huggingface_hub accepts as true.
    private static readonly string[] TrueValues = ["1", "ON", "YES", "TRUE"];

    /// <summary>Gets whether the environment forbids connections. The older variable is used if the newer one is not set.</summary>
    public static bool IsOffline => IsTrue(GetVariable("HF_HUB_OFFLINE") ?? GetVariable("TRANSFORMERS_OFFLINE"));

    /// <summary>Gets whether the environment forbids progress bars.</summary>
    public static bool AreProgressBarsDisabled => IsTrue(GetVariable("HF_HUB_DISABLE_PROGRESS_BARS"));

    /// <summary>Gets the kind of files in a snapshot: copies if the environment forbids links.</summary>
    public static SnapshotFiles SnapshotFiles =>
        IsTrue(GetVariable("HF_HUB_DISABLE_SYMLINKS")) ? SnapshotFiles.Copies : SnapshotFiles.Links;

    /// <summary>Reads the settings from the environment.</summary>
    /// <param name="endpoint">The endpoint of the command line, which replaces that of the environment.</param>
    /// <param name="retries">The maximum number of consecutive retries.</param>
    public static HubSettings FromEnvironment(string? endpoint, int retries) => new(
        ParseEndpoint(endpoint ?? GetVariable("HF_ENDPOINT") ?? DefaultEndpoint),
        IsTrue(GetVariable("HF_HUB_DISABLE_IMPLICIT_TOKEN")) ? null : ReadToken(),
        retries,
        ReadTimeout("HF_HUB_ETAG_TIMEOUT"),
        ReadTimeout("HF_HUB_DOWNLOAD_TIMEOUT"),
        ReadOrigin());

    /// <summary>Returns the address of a path on the endpoint.</summary>
    public Uri GetAddress(string path) => Uri.TryCreate($"{Endpoint.AbsoluteUri.TrimEnd('/')}/{path}", UriKind.Absolute, out Uri? address)
        ? address
        : throw new CliException(ExitCode.Usage, $"The endpoint '{Endpoint}' and the path '{path}' do not form a valid address. Name another --endpoint.");

    /// <summary>Returns whether the token may be sent to an address.</summary>
    public bool IsEndpoint(Uri address) =>
        (address.Scheme, address.IdnHost, address.Port) == (Endpoint.Scheme, Endpoint.IdnHost, Endpoint.Port);

    private static Uri ParseEndpoint(string text) =>
        Uri.TryCreate(text, UriKind.Absolute, out Uri? endpoint)
        && (endpoint.Scheme == Uri.UriSchemeHttps || endpoint.Scheme == Uri.UriSchemeHttp)
        && endpoint is { UserInfo: "", Query: "", Fragment: "" }
            ? endpoint
            : throw new CliException(
                ExitCode.Usage, $"The endpoint '{text}' is not a valid address. Use an address such as {DefaultEndpoint}, without user, query and fragment.");

    /// <summary>Reads a number of seconds. As in huggingface_hub, 0 means the default.</summary>
    private static TimeSpan ReadTimeout(string name)
    {
        if (GetVariable(name) is not { } text)
        {
            return TimeSpan.FromSeconds(DefaultTimeoutSeconds);
        }

        return int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int seconds) && seconds <= MaxTimeoutSeconds
            ? TimeSpan.FromSeconds(seconds == 0 ? DefaultTimeoutSeconds : seconds)
            : throw new CliException(ExitCode.Usage, $"{name} is '{text}'; it must be a number of seconds, 0 (the default) to {MaxTimeoutSeconds}.");
    }

    /// <summary>Reads the token from a variable, or from the file that <c>hf auth login</c> writes.</summary>
    private static string? ReadToken()
    {
        string file = EnvironmentPath.Of("HF_TOKEN_PATH") ?? Path.Combine(HuggingFaceCache.GetHomeFromEnvironment(), "token");
        string? token = Clean(GetVariable("HF_TOKEN") ?? GetVariable("HUGGING_FACE_HUB_TOKEN"));
        try
        {
            token ??= File.Exists(file) ? Clean(File.ReadAllText(file)) : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new CliException(ExitCode.Usage, $"The token file {file} cannot be read. Set HF_TOKEN, or set HF_HUB_DISABLE_IMPLICIT_TOKEN=1 to send no token.", e);
        }

        return token is null || token.All(c => c is > ' ' and <= '~')
            ? token
            : throw new CliException(ExitCode.Usage, $"The token in HF_TOKEN or {file} has invalid characters. A token has only printable ASCII characters without blanks.");
    }

    /// <summary>Removes blanks and line ends around a copied token, like huggingface_hub.</summary>
    private static string? Clean(string? token) =>
        token?.ReplaceLineEndings("").Trim() is { Length: > 0 } clean ? clean : null;

    private static ProductInfoHeaderValue? ReadOrigin()
    {
        const string Name = "HF_HUB_USER_AGENT_ORIGIN";
        if (GetVariable(Name) is not { } origin)
        {
            return null;
        }

        return ProductInfoHeaderValue.TryParse($"origin/{origin}", out ProductInfoHeaderValue? parsed)
            ? parsed
            : throw new CliException(ExitCode.Usage, $"{Name} is '{origin}'; it must be a name without blanks.");
    }

    private static bool IsTrue(string? value) => TrueValues.Contains(value, StringComparer.OrdinalIgnoreCase);

    private static string? GetVariable(string name) =>
        Environment.GetEnvironmentVariable(name) is { Length: > 0 } value ? value : null;
}
