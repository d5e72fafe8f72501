using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Text.Json;
using StellaInterop.ModelFiles;

namespace StellaInterop.Cli.Hub;

/// <summary>A failure that may be gone at the next try.</summary>
internal sealed class TransientHubException(string message, Exception? innerException = null, TimeSpan? retryAfter = null)
    : Exception(message, innerException)
{
    /// <summary>How long the server asks to wait.</summary>
    public TimeSpan? RetryAfter { get; } = retryAfter;
}

/// <summary>The one place that opens connections: requests to an endpoint that speaks as Hugging Face does.</summary>
internal sealed class HubClient : IDisposable
{
    private const int MaxRedirects = 5;
    private const long MaxJsonBytes = 64 << 20;

    /// <summary>Characters of a server's value that a message shows.</summary>
    private const int MaxShown = 200;

    private static readonly TimeSpan ConnectTimeout = TimeSpan.FromSeconds(20);
    private static readonly TimeSpan FirstBackoff = TimeSpan.FromMilliseconds(250);
    private static readonly TimeSpan LongestBackoff = TimeSpan.FromSeconds(8);
    private static readonly TimeSpan LongestRetryAfter = TimeSpan.FromMinutes(2);

    /// <summary>What each answer means to the one who asked. Those not listed say their number.</summary>
    private static readonly Dictionary<HttpStatusCode, string> Advice = new()
    {
        [HttpStatusCode.Unauthorized] =
            "the model does not exist, or it needs an account: check its name, and set HF_TOKEN to a valid token",
        [HttpStatusCode.Forbidden] =
            "the account of the token may not read this model: accept its terms on its page, or use another HF_TOKEN",
        [HttpStatusCode.NotFound] = "there is no such model, revision or file: check the name and --revision",
        [HttpStatusCode.TooManyRequests] = "too many requests: wait before running this again; HF_TOKEN raises the limit",
        [HttpStatusCode.ServiceUnavailable] = "the server is not available: run this again later, or name another --endpoint",
    };

    private readonly HubSettings settings;
    private readonly TimeProvider time;
    private readonly Action<string> note;
    private readonly HttpClient http;

    /// <summary>Makes a client. Nothing is connected yet.</summary>
    /// <param name="settings">Which server.</param>
    /// <param name="time">The clock of waits.</param>
    /// <param name="note">Told of every failure that is tried again.</param>
    public HubClient(HubSettings settings, TimeProvider time, Action<string> note)
    {
        (this.settings, this.time, this.note) = (settings, time, note);
        // Redirects are followed here, so that the token stays with the endpoint.
#pragma warning disable CA2000 // The client disposes it.
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

    /// <summary>The commit of a revision and its files.</summary>
    public Task<HubRepository> GetRepositoryAsync(string model, string revision, CancellationToken cancellationToken)
    {
        Uri address = settings.At($"api/models/{model}/revision/{Uri.EscapeDataString(revision)}?blobs=true");
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

    /// <summary>The address of a file.</summary>
    public Uri AddressOf(string model, string commit, string path) => settings.At($"{model}/resolve/{commit}/{path}");

    /// <summary>Asks once, follows redirects, and gives the answer when its header is there.</summary>
    /// <param name="address">What to get.</param>
    /// <param name="range">The part that is wanted. With one, an answer that there is no such part is given too.</param>
    /// <param name="cancellationToken">Stops it.</param>
    /// <exception cref="TransientHubException">It may go better at the next try.</exception>
    /// <exception cref="CliException">It will not.</exception>
    public Task<HttpResponseMessage> GetAsync(Uri address, HubRange? range, CancellationToken cancellationToken) =>
        GetAsync(address, range, settings.StallTimeout, cancellationToken);

    private async Task<HttpResponseMessage> GetAsync(Uri address, HubRange? range, TimeSpan patience, CancellationToken cancellationToken)
    {
        Uri hop = address;
        for (int redirects = 0; redirects <= MaxRedirects; redirects++)
        {
            using HttpRequestMessage request = Request(hop, range);
            HttpResponseMessage response = await ReceiveAsync(
                hop,
                patience,
                token => http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, token),
                cancellationToken).ConfigureAwait(false);
            if (response.IsSuccessStatusCode
                || (range is not null && response.StatusCode == HttpStatusCode.RequestedRangeNotSatisfiable))
            {
                return response;
            }

            using (response)
            {
                hop = RedirectOf(hop, response) ?? throw Refusal(hop, response);
            }
        }

        throw new CliException(
            ExitCode.Network, $"{address.GetLeftPart(UriPartial.Path)}: more than {MaxRedirects} redirects, the last to {hop.Authority}");
    }

    /// <summary>Receives something, and tells a server that is silent or breaks off from a user who has had enough.</summary>
    public Task<T> ReceiveAsync<T>(Uri from, Func<CancellationToken, Task<T>> receive, CancellationToken cancellationToken) =>
        ReceiveAsync(from, settings.StallTimeout, receive, cancellationToken);

    private async Task<T> ReceiveAsync<T>(
        Uri from, TimeSpan patience, Func<CancellationToken, Task<T>> receive, CancellationToken cancellationToken)
    {
        using var silence = new CancellationTokenSource(patience, time);
        using var both = CancellationTokenSource.CreateLinkedTokenSource(silence.Token, cancellationToken);
        try
        {
            return await receive(both.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            throw new TransientHubException($"{from.Host} was silent for {Seconds(patience)}", e);
        }
        catch (HttpRequestException e) when (e.HttpRequestError
            is HttpRequestError.SecureConnectionError or HttpRequestError.ConfigurationLimitExceeded)
        {
            throw new CliException(ExitCode.Network, $"{from} cannot be used", e);
        }
        catch (Exception e) when (e is HttpRequestException or IOException)
        {
            throw new TransientHubException($"the connection to {from.Authority} failed", e);
        }
        catch (Exception e) when (e is UriFormatException or ArgumentException or InvalidOperationException or NotSupportedException)
        {
            // An address that parses and that no request can be sent to.
            throw new CliException(
                ExitCode.Network, $"No request can be sent to '{Shown(from.OriginalString)}' of the server {from.Authority}.", e);
        }
    }

    /// <summary>Runs <paramref name="work"/> until it is done, or fails too often in a row without <paramref name="received"/> growing.</summary>
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
                TimeSpan wait = e.RetryAfter ?? Backoff(failures);
                if (failures > settings.Retries)
                {
                    throw new CliException(ExitCode.Network, e.Message, e.InnerException);
                }

                if (wait > LongestRetryAfter)
                {
                    throw new CliException(ExitCode.Network, $"{e.Message}; the server asks to wait {Seconds(wait)}");
                }

                note($"{e.Message}; trying again in {Seconds(wait)}");
                await Task.Delay(wait, time, cancellationToken).ConfigureAwait(false);
            }
        }
    }

    public void Dispose() => http.Dispose();

    private HttpRequestMessage Request(Uri address, HubRange? range)
    {
        var request = new HttpRequestMessage(HttpMethod.Get, address);
        // Bytes are counted and compared with published hashes: no compression on the way.
        request.Headers.AcceptEncoding.Add(new StringWithQualityHeaderValue("identity"));
        if (settings.Token is { Length: > 0 } token && settings.IsEndpoint(address))
        {
            request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", token);
        }

        if (range is not null)
        {
            request.Headers.Range = new RangeHeaderValue(range.From, null);
            request.Headers.IfRange = range.Tag is { } tag ? new RangeConditionHeaderValue(tag) : null;
        }

        return request;
    }

    private Uri? RedirectOf(Uri from, HttpResponseMessage response)
    {
        // As the server sent it: a value that is no address has no parsed form.
        if ((int)response.StatusCode is not (301 or 302 or 303 or 307 or 308)
            || !response.Headers.NonValidated.TryGetValues("Location", out HeaderStringValues values)
            || values.FirstOrDefault() is not { Length: > 0 } location)
        {
            return null;
        }

        if (!Uri.TryCreate(from, location, out Uri? to) || !HasUsableHost(to))
        {
            throw Refused($"to '{Shown(location)}', which is not an address");
        }

        bool allowed = to.Scheme == Uri.UriSchemeHttps
            || (to.Scheme == Uri.UriSchemeHttp && settings.Endpoint.Scheme == Uri.UriSchemeHttp);
        return allowed ? to : throw Refused($"to {to.Scheme}, which is not safe ('{Shown(location)}')");

        CliException Refused(string what) => new(
            ExitCode.Network,
            $"The server {from.Authority} redirects {what}. {from.AbsolutePath} was not fetched. Run this again later, or name another --endpoint.");
    }

    /// <summary>Whether a host can be written into a request. An address with a name of no valid form parses all the same.</summary>
    private static bool HasUsableHost(Uri address)
    {
        try
        {
            // Files have no host. Their scheme is refused by itself.
            return address.IsFile || address.IdnHost.Length > 0;
        }
        catch (UriFormatException)
        {
            return false;
        }
    }

    /// <summary>Returns a value of a server for a message: short, and without the query, which may be signed.</summary>
    private static string Shown(string value)
    {
        string path = value.Split('?')[0];
        return path.Length > MaxShown ? $"{path[..MaxShown]}…" : path;
    }

    private Exception Refusal(Uri address, HttpResponseMessage response)
    {
        int status = (int)response.StatusCode;
        string advice = Advice.GetValueOrDefault(response.StatusCode, "the server gives no file");
        string message = $"{address.GetLeftPart(UriPartial.Path)} answers {status}: {advice}";
        return status is 408 or 429 or >= 500
            ? new TransientHubException(message, retryAfter: RetryAfterOf(response))
            : new CliException(ExitCode.Network, message);
    }

    private TimeSpan? RetryAfterOf(HttpResponseMessage response)
    {
        RetryConditionHeaderValue? asked = response.Headers.RetryAfter;
        TimeSpan? wait = asked?.Delta ?? (asked?.Date - time.GetUtcNow());
        return wait < TimeSpan.Zero ? TimeSpan.Zero : wait;
    }

    private static TimeSpan Backoff(int failures)
    {
        double factor = Math.Pow(2, failures - 1);
        return factor * FirstBackoff < LongestBackoff ? factor * FirstBackoff : LongestBackoff;
    }

    private static string Seconds(TimeSpan span) => string.Create(CultureInfo.InvariantCulture, $"{span.TotalSeconds:0.##} s");

    private static HubRepository Parse(byte[] json, Uri address)
    {
        try
        {
            HubRepository? repository = JsonSerializer.Deserialize(json, HubJsonContext.Default.HubRepository);
            // The commit becomes part of paths and addresses.
            return repository is not null && HuggingFaceCache.IsCommit(repository.Sha)
                ? repository
                : throw new CliException(ExitCode.Network, $"{address} names no valid commit. Is it a Hugging Face endpoint?");
        }
        catch (JsonException e)
        {
            throw new CliException(ExitCode.Network, $"{address} gives no list of files; is it a Hugging Face endpoint?", e);
        }
    }
}

/// <summary>The rest of a file.</summary>
/// <param name="From">The first byte that is wanted.</param>
/// <param name="Tag">The version that the bytes before it belong to, where it is known.</param>
internal sealed record HubRange(long From, EntityTagHeaderValue? Tag);
