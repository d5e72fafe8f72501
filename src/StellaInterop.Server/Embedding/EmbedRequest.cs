using StellaInterop.Server.Fields;

namespace StellaInterop.Server.Embedding;

/// <summary>Specifies what happens to a text with more tokens than the model takes.</summary>
internal enum LongTextRule
{
    /// <summary>The request is refused.</summary>
    Refuse,

    /// <summary>The end of the text is cut.</summary>
    CutEnd,

    /// <summary>The beginning of the text is cut.</summary>
    CutStart,
}

/// <summary>A request for vectors, as all protocols understand it.</summary>
internal class EmbedRequest : FieldRequest
{
    public TextList? Texts { get; set; }

    /// <summary>Gets or sets the name of the model; <see langword="null"/> for the default model.</summary>
    public string? Model { get; set; }

    /// <summary>Gets or sets the length of the vectors; <see langword="null"/> for the model's default.</summary>
    public int? Dimension { get; set; }

    public StellaPrompt Prompt { get; set; } = StellaPrompt.Document;

    public bool Normalize { get; set; } = true;

    public LongTextRule LongTexts { get; set; }

    public VectorType VectorType { get; set; }

    public VectorEncoding VectorEncoding { get; set; }

    /// <summary>Gets or sets whether the texts are parts of one text, embedded in its context.</summary>
    public bool IsLateChunking { get; set; }

    /// <summary>Gets or sets the priority; <see langword="null"/> for interactive, and for bulk of a request with many texts.</summary>
    public StellaPriority? Priority { get; set; }

    /// <summary>Gets or sets the name of the key, whose requests share the pool as one group; <see langword="null"/> without keys.</summary>
    public string? FairnessGroup { get; set; }

    /// <summary>Gets or sets the time from the request to the end of its answer; <see langword="null"/> for no limit.</summary>
    public TimeSpan? Timeout { get; set; }

    public StellaEmbedOptions GetOptions() => new()
    {
        Prompt = Prompt,
        Dimension = Dimension,
        Normalize = Normalize,
        LongTextBehavior = LongTexts == LongTextRule.Refuse ? StellaLongTextBehavior.Error : StellaLongTextBehavior.Truncate,
    };
}
