using System.Globalization;

namespace StellaInterop.Cli.Hub;

/// <summary>Which server to ask, and as whom.</summary>
/// <param name="Endpoint">Its address, without a slash at the end.</param>
/// <param name="Token">The token of an account, for the endpoint alone.</param>
/// <param name="Retries">How often in a row a request is tried again.</param>
/// <param name="StallTimeout">How long the server may be silent.</param>
internal sealed record HubSettings(Uri Endpoint, string? Token, int Retries, TimeSpan StallTimeout)
{
    /// <summary>How long a server may be silent where the environment says nothing.</summary>
    public const int DefaultStallSeconds = 60;

    private const int MaxStallSeconds = 3600;
    private const string DefaultEndpoint = "https://huggingface.co";

    // As the tools of Hugging Face read it.
    private static readonly string[] True = ["1", "ON", "YES", "TRUE"];

    /// <summary>Whether <c>HF_HUB_OFFLINE</c> forbids connections.</summary>
    public static bool IsOffline =>
        True.Contains(Environment.GetEnvironmentVariable("HF_HUB_OFFLINE"), StringComparer.OrdinalIgnoreCase);

    /// <summary>The settings of the environment, with the endpoint of the command line before its own.</summary>
    public static HubSettings FromEnvironment(string? endpoint, int retries) =>
        new(ParseEndpoint(endpoint ?? Variable("HF_ENDPOINT") ?? DefaultEndpoint), ReadToken(), retries, ReadStallTimeout());

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

    /// <summary>The name and the unit are those of the tools of Hugging Face.</summary>
    private static TimeSpan ReadStallTimeout()
    {
        const string Name = "HF_HUB_DOWNLOAD_TIMEOUT";
        if (Variable(Name) is not { } text)
        {
            return TimeSpan.FromSeconds(DefaultStallSeconds);
        }

        return int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int seconds) && seconds is >= 1 and <= MaxStallSeconds
            ? TimeSpan.FromSeconds(seconds)
            : throw new CliException(ExitCode.Usage, $"{Name} is '{text}'; it must be a number of seconds, 1 to {MaxStallSeconds}");
    }

    private static string? ReadToken()
    {
        string file = Path.Combine(HuggingFaceCache.HomeFromEnvironment(), "token");
        string? token = Variable("HF_TOKEN") ?? (File.Exists(file) ? File.ReadAllText(file) : null);
        token = token?.Trim();
        return token is null or "" || token.All(c => c is > ' ' and <= '~')
            ? token
            : throw new CliException(ExitCode.Usage, $"the token in HF_TOKEN or {file} has characters that no token has");
    }

    private static string? Variable(string name) =>
        Environment.GetEnvironmentVariable(name) is { Length: > 0 } value ? value : null;
}
