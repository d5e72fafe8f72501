namespace StellaInterop;

/// <summary>Represents the options of the embedding server, as a section of the configuration.</summary>
/// <remarks>
/// The host validates them when it starts, and reports all errors at once. Not thread-safe while it is being changed. The server reads
/// them once.
/// </remarks>
public sealed class StellaServerOptions
{
    /// <summary>The name of the section that <c>AddStellaServer()</c> reads.</summary>
    public const string DefaultSectionName = "StellaServer";

    /// <summary>
    /// Gets the models, at least one. The first is the default: it answers requests that name no model, and protocols that cannot name one.
    /// All models share one memory budget, are loaded when they are first used, and may be unloaded to make room for each other.
    /// </summary>
    public IList<StellaServedModelOptions> Models { get; } = [];

    /// <summary>
    /// Gets or sets the largest body of a request in bytes, 1024 to 1073741824; 32 MiB by default. The limit holds before and after a
    /// compressed body is unpacked. A larger body is answered by the status 413.
    /// </summary>
    public long MaxBodyBytes { get; set; } = 32L << 20;

    /// <summary>
    /// Gets or sets the largest sum in bytes of the buffers that requests have in memory at a time, at least <see cref="MaxBodyBytes"/>;
    /// <see langword="null"/>, the default, for eight times <see cref="MaxBodyBytes"/>. A body is in memory until its request is
    /// answered, and so are the vectors of late chunking and the hidden states of a text. A request that does not fit is refused like one that
    /// finds a full queue, before more of its body is read.
    /// </summary>
    public long? MaxBufferedBytes { get; set; }

    /// <summary>
    /// Gets or sets the memory budget of all models in bytes, 1 or more, as <see cref="StellaMemoryGovernorOptions.LimitBytes"/>;
    /// <see langword="null"/>, the default, for the limits of the system alone.
    /// </summary>
    public long? MemoryLimitBytes { get; set; }

    /// <summary>
    /// Gets or sets how long the server waits for accepted calls when it stops, 0 to 20 seconds; 20 seconds by default. Calls without an answer
    /// then end with the status 503.
    /// </summary>
    public TimeSpan DrainTimeout { get; set; } = TimeSpan.FromSeconds(20);

    /// <summary>
    /// Gets or sets the file with the hashes of the API keys, which <c>stella keys</c> writes. <see langword="null"/>, the default, lets every
    /// caller in. The file is read again after it changes.
    /// </summary>
    public string? KeyFile { get; set; }

    /// <summary>
    /// Gets the origins, such as <c>https://app.example.com</c>, whose web pages may use the server from a browser; none by default.
    /// <c>*</c> alone allows every page.
    /// </summary>
    public IList<string> CorsOrigins { get; } = [];

    /// <summary>Gets or sets whether the server logs one line for each request; <see langword="true"/> by default.</summary>
    public bool LogsRequests { get; set; } = true;

    /// <summary>Returns <see cref="MaxBufferedBytes"/> or its default.</summary>
    internal long GetMaxBufferedBytes() => MaxBufferedBytes ?? (8 * MaxBodyBytes);
}
