using StellaInterop.Server.Http;

namespace StellaInterop.Tests.Fuzzing;

/// <summary>A random request to a route. It is valid HTTP, whatever else it is.</summary>
internal sealed class RandomRequest
{
    private static readonly string[] OtherMethods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "x"];

    private static readonly string[] Segments =
        ["tiny", "tiny:latest", "a/b", "a/%2e%2e/b", "%2e%2e%2fb", "%ff", "%F0%9F%98%80", "a%2Fb", "%5C", "{model}", "a%0d%0ab", new string('a', 2000)];

    private static readonly string[] ContentTypes =
        ["application/json; charset=utf-8", "application/json;charset=latin1", "text/json", "application/x+json", "text/plain", "multipart/form-data", "application/", "*/*", ";"];

    private static readonly (string Name, string[] Values)[] Headers =
    [
        ("x-request-id", ["id-1", "", "a b", "ä", new string('x', 200), "\"\\", "<script>"]),
        ("Authorization", ["Bearer", "Bearer ", "Bearer x", "Basic YTpi", "Bearer a b", new string('k', 4000)]),
        ("api-key", ["x", "", "ä"]),
        ("traceparent", ["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-0-0-0", "x"]),
        ("Accept", ["text/html", "*/*", "application/json;q=0"]),
        ("Accept-Encoding", ["br", "gzip;q=0", "x"]),
        ("Expect", ["100-continue"]),
        ("Range", ["bytes=0-1", "bytes=9-1"]),
        ("If-None-Match", ["*"]),
        ("Origin", ["http://a", "null"]),
        ("Content-Language", ["x"]),
        ("Cookie", ["a=b; c", "=", ";;;"]),
        ("x-http-method-override", ["DELETE"]),
    ];

    private readonly byte[] body;
    private readonly string? encoding;
    private readonly string? contentType;
    private readonly Delivery delivery;
    private readonly (string Name, string Value)[] headers;
    private readonly int seed;

    /// <param name="route">The route.</param>
    /// <param name="seed">Decides everything that is random.</param>
    /// <param name="bodyLimit">The limit of the server for a body.</param>
    public RandomRequest(ServerRoute route, int seed, int bodyLimit)
    {
        this.seed = seed;
        var random = new Random(seed);
        Method = route.Method == ServerRoute.AnyMethod ? Pick(OtherMethods)
            : route.Method == "GET" && random.Next(4) == 0 ? "HEAD"
            : route.Method;
        int wildcard = route.Path.IndexOf("{**", StringComparison.Ordinal);
        Path = wildcard < 0 ? route.Path : $"{route.Path[..wildcard]}{Pick(Segments)}";
        Path += random.Next(10) == 0 ? Pick(["?", "?a=b&a=c", "?%00", "?input=a"]) : "";
        (body, encoding) = RandomContent.Pack(
            random.Next(40) == 0 ? new byte[bodyLimit + random.Next(-1, 3 * bodyLimit)] : new RandomJson(random).Body(route.Body ?? []), random, bodyLimit);
        contentType = random.Next(5) == 0 ? Pick(ContentTypes) : random.Next(20) == 0 ? null : "application/json";
        delivery = (Delivery)random.Next(Enum.GetValues<Delivery>().Length);
        headers = [.. Headers.Where(_ => random.Next(8) == 0).Select(header => (header.Name, Pick(header.Values)))];
        IsReadSlowly = random.Next(5) == 0;
        LeavesWhileReading = random.Next(12) == 0;

        T Pick<T>(T[] choices) => choices[random.Next(choices.Length)];
    }

    public string Method { get; }

    public string Path { get; }

    /// <summary>Gets whether the client leaves before the end, so that there may be no answer.</summary>
    public bool IsAbandoned => LeavesWhileReading || (delivery == Delivery.Abandoned && HasBody);

    public bool IsReadSlowly { get; }

    public bool LeavesWhileReading { get; }

    private bool HasBody => Method is not ("GET" or "HEAD");

    public HttpRequestMessage ToMessage(Version version)
    {
        var message = new HttpRequestMessage(new HttpMethod(Method), Path) { Version = version, VersionPolicy = HttpVersionPolicy.RequestVersionExact };
        foreach ((string name, string value) in headers)
        {
            _ = message.Headers.TryAddWithoutValidation(name, value);
        }

        if (HasBody)
        {
            message.Content = new RandomContent(body, delivery, new Random(seed));
            if (contentType is not null)
            {
                _ = message.Content.Headers.TryAddWithoutValidation("Content-Type", contentType);
            }

            if (encoding is not null)
            {
                _ = message.Content.Headers.TryAddWithoutValidation("Content-Encoding", encoding);
            }
        }

        return message;
    }

    /// <summary>Returns the request for the message of a failed test.</summary>
    public override string ToString()
    {
        string text = System.Text.Encoding.Latin1.GetString(body);
        return $"{Method} {Path[..Math.Min(Path.Length, 80)]}, {delivery}, encoding {encoding}, type {contentType}, {string.Join(", ", headers)}, body {text[..Math.Min(text.Length, 600)]}";
    }
}
