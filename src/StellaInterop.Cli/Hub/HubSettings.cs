using System.Globalization;
using System.Net.Http.Headers;
using StellaInterop.ModelFiles;

namespace StellaInterop.Cli.Hub;

/// <summary>Which server to ask, and as whom.</summary>
/// <param name="Endpoint">Its address, without a slash at the end.</param>
/// <param name="Token">The token of an account, for the endpoint alone.</param>
/// <param name="Retries">How often in a row a request is tried again.</param>
/// <param name="ListTimeout">How long the server may be silent before it sends the list of files.</param>
/// <param name="StallTimeout">How long it may be silent while it sends a file.</param>
/// <param name="Origin">The caller's name, for the server's records.</param>
internal sealed record HubSettings(
    Uri Endpoint, string? Token, int Retries, TimeSpan ListTimeout, TimeSpan StallTimeout, ProductInfoHeaderValue? Origin)
{
    /// <summary>How long a server may be silent where the environment says nothing.</summary>
    public const int DefaultStallSeconds = 60;

    private const int MaxStallSeconds = 3600;
    private const string DefaultEndpoint = "https://huggingface.co";

    // As the tools of Hugging Face read it.
    private static readonly string[] True = ["1", "ON", "YES", "TRUE"];

    /// <summary>Whether the environment forbids connections. The older variable counts if the other is not set.</summary>
    public static bool IsOffline => IsTrue(Variable("HF_HUB_OFFLINE") ?? Variable("TRANSFORMERS_OFFLINE"));

    /// <summary>Whether the environment forbids progress bars.</summary>
    public static bool IsWithoutBars => IsTrue(Variable("HF_HUB_DISABLE_PROGRESS_BARS"));

    /// <summary>Whether the environment forbids links in the cache.</summary>
    public static bool IsWithoutLinks => IsTrue(Variable("HF_HUB_DISABLE_SYMLINKS"));

    /// <summary>The settings of the environment, with the endpoint of the command line before its own.</summary>
    public static HubSettings FromEnvironment(string? endpoint, int retries) => new(
        ParseEndpoint(endpoint ?? Variable("HF_ENDPOINT") ?? DefaultEndpoint),
        IsTrue(Variable("HF_HUB_DISABLE_IMPLICIT_TOKEN")) ? null : ReadToken(),
        retries,
        ReadTimeout("HF_HUB_ETAG_TIMEOUT"),
        ReadTimeout("HF_HUB_DOWNLOAD_TIMEOUT"),
        ReadOrigin());

    /// <summary>An address on the endpoint.</summary>
    public Uri At(string path) => Uri.TryCreate($"{Endpoint.AbsoluteUri.TrimEnd('/')}/{path}", UriKind.Absolute, out Uri? address)
        ? address
        : throw new CliException(ExitCode.Usage, $"The endpoint '{Endpoint}' and the path '{path}' are not an address together. Name another --endpoint.");

    /// <summary>Whether the token may be sent to an address.</summary>
    public bool IsEndpoint(Uri address) =>
        (address.Scheme, address.IdnHost, address.Port) == (Endpoint.Scheme, Endpoint.IdnHost, Endpoint.Port);

    private static Uri ParseEndpoint(string text) =>
        Uri.TryCreate(text, UriKind.Absolute, out Uri? endpoint)
        && (endpoint.Scheme == Uri.UriSchemeHttps || endpoint.Scheme == Uri.UriSchemeHttp)
        && endpoint is { UserInfo: "", Query: "", Fragment: "" }
            ? endpoint
            : throw new CliException(
                ExitCode.Usage, $"the endpoint '{text}' is no address such as {DefaultEndpoint}, without user, query and fragment");

    /// <summary>Reads a number of seconds. 0 is the default, as in the tools of Hugging Face.</summary>
    private static TimeSpan ReadTimeout(string name)
    {
        if (Variable(name) is not { } text)
        {
            return TimeSpan.FromSeconds(DefaultStallSeconds);
        }

        return int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int seconds) && seconds <= MaxStallSeconds
            ? TimeSpan.FromSeconds(seconds == 0 ? DefaultStallSeconds : seconds)
            : throw new CliException(ExitCode.Usage, $"{name} is '{text}'; it must be a number of seconds, 0 (the default) to {MaxStallSeconds}");
    }

    /// <summary>Reads the token: of a variable, or of the file that <c>hf auth login</c> writes.</summary>
    private static string? ReadToken()
    {
        string file = EnvironmentPath.Of("HF_TOKEN_PATH") ?? Path.Combine(HuggingFaceCache.GetHomeFromEnvironment(), "token");
        string? token = Clean(Variable("HF_TOKEN") ?? Variable("HUGGING_FACE_HUB_TOKEN"));
        try
        {
            token ??= File.Exists(file) ? Clean(File.ReadAllText(file)) : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new CliException(ExitCode.Usage, $"the token file {file} cannot be read; set HF_TOKEN, or HF_HUB_DISABLE_IMPLICIT_TOKEN=1 to send none", e);
        }

        return token is null || token.All(c => c is > ' ' and <= '~')
            ? token
            : throw new CliException(ExitCode.Usage, $"the token in HF_TOKEN or {file} has characters that no token has");
    }

    /// <summary>Takes away the blanks and line ends that come with copying, as the tools of Hugging Face do.</summary>
    private static string? Clean(string? token) =>
        token?.ReplaceLineEndings("").Trim() is { Length: > 0 } clean ? clean : null;

    private static ProductInfoHeaderValue? ReadOrigin()
    {
        const string Name = "HF_HUB_USER_AGENT_ORIGIN";
        if (Variable(Name) is not { } origin)
        {
            return null;
        }

        return ProductInfoHeaderValue.TryParse($"origin/{origin}", out ProductInfoHeaderValue? parsed)
            ? parsed
            : throw new CliException(ExitCode.Usage, $"{Name} is '{origin}'; it must be a name without blanks");
    }

    private static bool IsTrue(string? value) => True.Contains(value, StringComparer.OrdinalIgnoreCase);

    private static string? Variable(string name) =>
        Environment.GetEnvironmentVariable(name) is { Length: > 0 } value ? value : null;
}
