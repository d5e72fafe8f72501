using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Text.Json;
using StellaInterop.Cli.Errors;
using StellaInterop.ModelFiles;

namespace StellaInterop.Cli.Hub;

/// <summary>Represents a failure that may not occur again on a retry. The message is a sentence.</summary>
internal sealed class TransientHubException(string message, Exception? innerException = null, TimeSpan? retryAfter = null)
    : Exception(message, innerException)
{
    /// <summary>Gets the time that the server asks to wait.</summary>
    public TimeSpan? RetryAfter { get; } = retryAfter;
}

/// <summary>Sends requests to a server with the API of Hugging Face. No other class of the project opens connections.</summary>
internal sealed class HubClient : IDisposable
{
    private const int MaxRedirects = 5;
    private const long MaxJsonBytes = 64 << 20;

    /// <summary>The maximum number of characters of a server's value in a message.</summary>
    private const int MaxShownCharacters = 200;

    private static readonly TimeSpan ConnectTimeout = TimeSpan.FromSeconds(20);
    private static readonly TimeSpan FirstBackoff = TimeSpan.FromMilliseconds(250);
    private static readonly TimeSpan MaxBackoff = TimeSpan.FromSeconds(8);
    private static readonly TimeSpan MaxRetryAfter = TimeSpan.FromMinutes(2);

    /// <summary>The explanation of each status code for the user.</summary>
    private static readonly Dictionary<HttpStatusCode, string> Advice = new()
    {
        [HttpStatusCode.Unauthorized] =
            "The model does not exist or needs an account. Check its name, and set HF_TOKEN to a valid token.",
        [HttpStatusCode.Forbidden] =
            "The account of the token may not read this model. Accept its terms on its page, or use another HF_TOKEN.",
        [HttpStatusCode.NotFound] = "There is no such model, revision or file. Check the name and --revision.",
        [HttpStatusCode.TooManyRequests] = "There were too many requests. Wait before running this again. HF_TOKEN raises the limit.",
        [HttpStatusCode.ServiceUnavailable] = "The server is not available. Run this again later, or name another --endpoint.",
    };

    private readonly HubSettings settings;
    private readonly TimeProvider time;
    private readonly Action<string> warn;
    private readonly HttpClient http;

    /// <summary>Initializes a client without connecting.</summary>
    /// <param name="settings">The settings of connections.</param>
    /// <param name="time">The clock of timeouts and waits.</param>
    /// <param name="warn">Receives a message for each failure that is retried.</param>
    public HubClient(HubSettings settings, TimeProvider time, Action<string> warn)
    {
        (this.settings, this.time, this.warn) = (settings, time, warn);
        // This class follows redirects itself, so that the token is sent only to the endpoint.
#pragma warning disable CA2000 // The HttpClient disposes the handler.
        var handler = new SocketsHttpHandler { AllowAutoRedirect = false, UseCookies = false, ConnectTimeout = ConnectTimeout };
#pragma warning restore CA2000
        http = new HttpClient(handler) { Timeout = Timeout.InfiniteTimeSpan };
        http.DefaultRequestHeaders.UserAgent.Add(
            new ProductInfoHeaderValue("stella", typeof(HubClient).Assembly.GetName().Version!.ToString(3)));
        if (settings.Origin is { } origin)
        {
            http.DefaultRequestHeaders.UserAgent.Add(origin);
        }
    }

    /// <summary>Gets the commit of a revision and the list of its files.</summary>
    public Task<HubRepository> GetRepositoryAsync(string model, string revision, CancellationToken cancellationToken)
    {
        Uri address = settings.GetAddress($"api/models/{model}/revision/{Uri.EscapeDataString(revision)}?blobs=true");
        return WithRetriesAsync(
            async () =>
            {
                using HttpResponseMessage response = await GetAsync(address, null, settings.ListTimeout, cancellationToken).ConfigureAwait(false);
                byte[] json = await ReceiveAsync(
                    address,
                    settings.ListTimeout,
                    async token =>
                    {
                        await response.Content.LoadIntoBufferAsync(MaxJsonBytes, token).ConfigureAwait(false);
                        return await response.Content.ReadAsByteArrayAsync(token).ConfigureAwait(false);
                    },
                    cancellationToken).ConfigureAwait(false);
                return Parse(json, address);
            },
            () => 0,
            cancellationToken);
    }

    /// <summary>Returns the address of a file.</summary>
    public Uri GetFileAddress(string model, string commit, string path) => settings.GetAddress($"{model}/resolve/{commit}/{path}");

    /// <summary>Sends one request, follows redirects, and returns the response after its header has arrived.</summary>
    /// <param name="address">The address to get.</param>
    /// <param name="range">The range to get. With a range, status 416 is returned and does not throw.</param>
    /// <param name="cancellationToken">Cancels the request.</param>
    /// <exception cref="TransientHubException">The failure may not occur again on a retry.</exception>
    /// <exception cref="CliException">The failure is permanent.</exception>
    public Task<HttpResponseMessage> GetAsync(Uri address, HubRange? range, CancellationToken cancellationToken) =>
        GetAsync(address, range, settings.FileTimeout, cancellationToken);

    private async Task<HttpResponseMessage> GetAsync(Uri address, HubRange? range, TimeSpan timeout, CancellationToken cancellationToken)
    {
        Uri hop = address;
        for (int redirects = 0; redirects <= MaxRedirects; redirects++)
        {
            using HttpRequestMessage request = CreateRequest(hop, range);
            HttpResponseMessage response = await ReceiveAsync(
                hop,
                timeout,
                token => http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, token),
                cancellationToken).ConfigureAwait(false);
            if (response.IsSuccessStatusCode
                || (range is not null && response.StatusCode == HttpStatusCode.RequestedRangeNotSatisfiable))
            {
                return response;
            }

            using (response)
            {
                hop = GetRedirect(hop, response) ?? throw CreateError(hop, response);
            }
        }

        throw new CliException(
            ExitCode.Network, $"{address.GetLeftPart(UriPartial.Path)} leads through more than {MaxRedirects} redirects, the last to {hop.Authority}. Name another --endpoint.");
    }

    /// <summary>
    /// Receives data. A timeout or a broken connection is a transient failure; only a cancellation by the caller is a
    /// cancellation.
    /// </summary>
    public Task<T> ReceiveAsync<T>(Uri from, Func<CancellationToken, Task<T>> receive, CancellationToken cancellationToken) =>
        ReceiveAsync(from, settings.FileTimeout, receive, cancellationToken);

    private async Task<T> ReceiveAsync<T>(
        Uri from, TimeSpan timeout, Func<CancellationToken, Task<T>> receive, CancellationToken cancellationToken)
    {
        using var stall = new CancellationTokenSource(timeout, time);
        using var linked = CancellationTokenSource.CreateLinkedTokenSource(stall.Token, cancellationToken);
        try
        {
            return await receive(linked.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            throw new TransientHubException($"{from.Host} sent no data for {FormatSeconds(timeout)}.", e);
        }
        catch (HttpRequestException e) when (e.HttpRequestError
            is HttpRequestError.SecureConnectionError or HttpRequestError.ConfigurationLimitExceeded)
        {
            throw new CliException(ExitCode.Network, $"The connection to {from} cannot be used.", e);
        }
        catch (Exception e) when (e is HttpRequestException or IOException)
        {
            throw new TransientHubException($"The connection to {from.Authority} failed.", e);
        }
        catch (Exception e) when (e is UriFormatException or ArgumentException or InvalidOperationException or NotSupportedException)
        {
            // Some addresses can be parsed, but no request can be sent to them.
            throw new CliException(
                ExitCode.Network, $"No request can be sent to '{Shorten(from.OriginalString)}' of the server {from.Authority}. Name another --endpoint.", e);
        }
    }

    /// <summary>
    /// Runs <paramref name="work"/> until it succeeds, or until too many consecutive attempts fail. An attempt that increases
    /// <paramref name="received"/> resets the count.
    /// </summary>
    public async Task<T> WithRetriesAsync<T>(Func<Task<T>> work, Func<long> received, CancellationToken cancellationToken)
    {
        int failures = 0;
        while (true)
        {
            long before = received();
            try
            {
                return await work().ConfigureAwait(false);
            }
            catch (TransientHubException e)
            {
                failures = received() > before ? 1 : failures + 1;
                TimeSpan wait = e.RetryAfter ?? GetBackoff(failures);
                if (failures > settings.Retries)
                {
                    throw new CliException(ExitCode.Network, e.Message, e.InnerException);
                }

                if (wait > MaxRetryAfter)
                {
                    throw new CliException(ExitCode.Network, $"{e.Message} The server asks to wait {FormatSeconds(wait)}. Run this again after this time.");
                }

                warn($"{e.Message} Trying again in {FormatSeconds(wait)}.");
                await Task.Delay(wait, time, cancellationToken).ConfigureAwait(false);
            }
        }
    }

    public void Dispose() => http.Dispose();

    private HttpRequestMessage CreateRequest(Uri address, HubRange? range)
    {
        var request = new HttpRequestMessage(HttpMethod.Get, address);
        // No compression, because the bytes are counted and compared with published hashes.
        request.Headers.AcceptEncoding.Add(new StringWithQualityHeaderValue("identity"));
        if (settings.Token is { Length: > 0 } token && settings.IsEndpoint(address))
        {
            request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", token);
        }

        if (range is not null)
        {
            request.Headers.Range = new RangeHeaderValue(range.From, null);
            request.Headers.IfRange = range.EntityTag is { } tag ? new RangeConditionHeaderValue(tag) : null;
        }

        return request;
    }

    private Uri? GetRedirect(Uri from, HttpResponseMessage response)
    {
        // The unparsed value, because Headers.Location is null for an invalid address.
        if ((int)response.StatusCode is not (301 or 302 or 303 or 307 or 308)
            || !response.Headers.NonValidated.TryGetValues("Location", out HeaderStringValues values)
            || values.FirstOrDefault() is not { Length: > 0 } location)
        {
            return null;
        }

        if (!Uri.TryCreate(from, location, out Uri? to) || !HasUsableHost(to))
        {
            throw CreateRedirectError($"to '{Shorten(location)}', which is not a valid address");
        }

        bool isAllowed = to.Scheme == Uri.UriSchemeHttps
            || (to.Scheme == Uri.UriSchemeHttp && settings.Endpoint.Scheme == Uri.UriSchemeHttp);
        return isAllowed ? to : throw CreateRedirectError($"to {to.Scheme}, which is not safe ('{Shorten(location)}')");

        CliException CreateRedirectError(string target) => new(
            ExitCode.Network,
            $"The server {from.Authority} redirects {target}. {from.AbsolutePath} was not fetched. Run this again later, or name another --endpoint.");
    }

    /// <summary>
    /// Returns whether an address has a host that a request can name. An address with an invalid host name can still be parsed.
    /// </summary>
    private static bool HasUsableHost(Uri address)
    {
        try
        {
            // A file address has no host. Its scheme is refused later.
            return address.IsFile || address.IdnHost.Length > 0;
        }
        catch (UriFormatException)
        {
            return false;
        }
    }

    /// <summary>Shortens a server's value for a message, and removes the query, which may contain a signature.</summary>
    private static string Shorten(string value)
    {
        string path = value.Split('?')[0];
        return path.Length > MaxShownCharacters ? $"{path[..MaxShownCharacters]}…" : path;
    }

    private Exception CreateError(Uri address, HttpResponseMessage response)
    {
        int status = (int)response.StatusCode;
        string advice = Advice.GetValueOrDefault(response.StatusCode, "The server returned no file. Run this again later, or name another --endpoint.");
        string message = $"{address.GetLeftPart(UriPartial.Path)} answered {status}. {advice}";
        return status is 408 or 429 or >= 500
            ? new TransientHubException(message, retryAfter: GetRetryAfter(response))
            : new CliException(ExitCode.Network, message);
    }

    private TimeSpan? GetRetryAfter(HttpResponseMessage response)
    {
        RetryConditionHeaderValue? retryAfter = response.Headers.RetryAfter;
        TimeSpan? wait = retryAfter?.Delta ?? (retryAfter?.Date - time.GetUtcNow());
        return wait < TimeSpan.Zero ? TimeSpan.Zero : wait;
    }

    private static TimeSpan GetBackoff(int failures)
    {
        double factor = Math.Pow(2, failures - 1);
        return factor * FirstBackoff < MaxBackoff ? factor * FirstBackoff : MaxBackoff;
    }

    private static string FormatSeconds(TimeSpan span) => string.Create(CultureInfo.InvariantCulture, $"{span.TotalSeconds:0.##} s");

    private static HubRepository Parse(byte[] json, Uri address)
    {
        try
        {
            HubRepository? repository = JsonSerializer.Deserialize(json, HubJsonContext.Default.HubRepository);
            // The commit becomes part of paths and addresses, so it must be valid.
            return repository is not null && HuggingFaceCache.IsCommit(repository.Sha)
                ? repository
                : throw new CliException(ExitCode.Network, $"{address} returned an invalid commit. Is it a Hugging Face endpoint?");
        }
        catch (JsonException e)
        {
            throw new CliException(ExitCode.Network, $"{address} returned no list of files. Is it a Hugging Face endpoint?", e);
        }
    }
}

/// <summary>Represents the range of a file from a byte to its end.</summary>
/// <param name="From">The index of the first byte.</param>
/// <param name="EntityTag">The version of the file that the bytes before the range belong to, if it is known.</param>
internal sealed record HubRange(long From, EntityTagHeaderValue? EntityTag);
