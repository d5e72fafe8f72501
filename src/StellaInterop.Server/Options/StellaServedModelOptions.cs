namespace StellaInterop;

/// <summary>Represents a model that the server offers under a name.</summary>
/// <remarks>Not thread-safe while it is being changed. The server reads it once, when it starts.</remarks>
public sealed class StellaServedModelOptions
{
    /// <summary>
    /// Gets or sets the name that clients send. <see langword="null"/>, the default, takes <see cref="Path"/>, which must have the form
    /// <c>ORG/NAME</c> then. Clients of Ollama may append <c>:latest</c>.
    /// </summary>
    public string? Name { get; set; }

    /// <summary>
    /// Gets or sets the folder of the model, or its name in the Hugging Face cache, such as <c>NovaSearch/stella_en_400M_v5</c>. A folder that
    /// exists has precedence. A relative path is relative to the working directory.
    /// </summary>
    public string Path { get; set; } = "";

    /// <summary>
    /// Gets or sets the revision of a model in the Hugging Face cache: a branch, a tag, <c>refs/pr/N</c> or a full commit;
    /// <see langword="null"/>, the default, for the default branch. A folder has no revision.
    /// </summary>
    public string? Revision { get; set; }

    /// <summary>Gets or sets the options with which the model is loaded. The server sets their name and loggers.</summary>
    public StellaModelOptions Model { get; set; } = new();

    /// <summary>Gets or sets the options of the pool. The server sets their memory budget, meters and loggers.</summary>
    public StellaPoolOptions Pool { get; set; } = new();
}
