namespace StellaInterop;

/// <summary>The two architectures of the Stella v5 family.</summary>
public enum StellaArchitecture
{
    /// <summary><c>NewModel</c>, of <c>stella_en_400M_v5</c>.</summary>
    NewModel = 0,

    /// <summary><c>Qwen2</c> without its causal mask, of <c>stella_en_1.5B_v5</c>.</summary>
    Qwen2 = 1,
}

/// <summary>Where the encoder computes.</summary>
public enum StellaDevice
{
    /// <summary>The processor.</summary>
    Cpu = 0,
}

/// <summary>Which tokens of a text make its vector.</summary>
public enum StellaPooling
{
    /// <summary>All of them: the vector is made of the mean of their hidden states.</summary>
    Mean = 0,

    /// <summary>The first one, which the tokenizer puts before every text.</summary>
    Cls = 1,

    /// <summary>The last one, which the tokenizer puts after every text.</summary>
    LastToken = 2,
}

/// <summary>A prompt of a model.</summary>
public sealed record StellaPromptInfo
{
    internal StellaPromptInfo()
    {
    }

    /// <summary>The name, for <see cref="StellaPrompt.Named"/>.</summary>
    public required string Name { get; init; }

    /// <summary>The text that is put before a text.</summary>
    public required string Text { get; init; }

    /// <summary>Tokens of the text, without special tokens.</summary>
    public required int TokenCount { get; init; }

    /// <summary>Whether the folder lacks the prompt, so that the text is that of the model card of Stella v5.</summary>
    public required bool IsFromModelCard { get; init; }
}

/// <summary>What a loaded model is.</summary>
public sealed record StellaModelInfo
{
    internal StellaModelInfo()
    {
    }

    /// <summary>The folder that it was loaded from, as it was passed.</summary>
    public required string Path { get; init; }

    /// <summary>The display name: <see cref="StellaModelOptions.Name"/>, or the name of its repository or folder.</summary>
    public required string Name { get; init; }

    /// <summary>The kind of encoder.</summary>
    public required StellaArchitecture Architecture { get; init; }

    /// <summary>The lengths of vectors that the model can give, ascending.</summary>
    public required IReadOnlyList<int> Dimensions { get; init; }

    /// <summary>The length of vectors when a call names none.</summary>
    public required int DefaultDimension { get; init; }

    /// <summary>Width of a hidden state.</summary>
    public required int HiddenSize { get; init; }

    /// <summary>Number of layers.</summary>
    public required int Layers { get; init; }

    /// <summary>Number of attention heads.</summary>
    public required int Heads { get; init; }

    /// <summary>Rows of the embedding table.</summary>
    public required int VocabularySize { get; init; }

    /// <summary>Parameters of the encoder and the default head.</summary>
    public required long Parameters { get; init; }

    /// <summary>What is computed; never <see cref="StellaPrecision.Auto"/>.</summary>
    public required StellaPrecision Precision { get; init; }

    /// <summary>Which implementation computes.</summary>
    public required StellaEncoder Encoder { get; init; }

    /// <summary>
    /// The instructions that are used: the best that the processor has, at most what the environment variable
    /// <c>STELLA_CPU_LEVEL</c> names.
    /// </summary>
    public required StellaCpuLevel CpuLevel { get; init; }

    /// <summary>Where it is computed.</summary>
    public required StellaDevice Device { get; init; }

    /// <summary>Tokens that a text may have.</summary>
    public required int MaxTokens { get; init; }

    /// <summary>Estimated bytes of the weights, the tokenizer and one call at its peak. Always above zero.</summary>
    public required long MemoryEstimateBytes { get; init; }

    /// <summary>Which tokens of a text make its vector.</summary>
    public required StellaPooling Pooling { get; init; }

    /// <summary>Whether the tokens of a prompt take part in a text's vector, as they do in Stella.</summary>
    public required bool IncludesPrompt { get; init; }

    /// <summary>The prompts, in the order of their names.</summary>
    public required IReadOnlyList<StellaPromptInfo> Prompts { get; init; }

    /// <summary>
    /// The name of the default prompt, for texts without a named one; <see langword="null"/> if there is none.
    /// </summary>
    public required string? DefaultPrompt { get; init; }

    /// <summary>Special tokens that the tokenizer adds to every text.</summary>
    internal int FrameTokens { get; init; }

    /// <summary>
    /// Tokens that a text gets beside its own, at most: those of its frame and its prompt. Native code knows which prompt a name
    /// means; one that is not the name of a prompt may mean any of them here.
    /// </summary>
    internal int TokensBesideText(StellaPrompt prompt)
    {
        string? name = prompt.Name ?? DefaultPrompt;
        if (name is null)
        {
            return FrameTokens;
        }

        int longest = 0;
        foreach (StellaPromptInfo info in Prompts)
        {
            if (string.Equals(info.Name, name, StringComparison.Ordinal))
            {
                return FrameTokens + info.TokenCount;
            }

            longest = Math.Max(longest, info.TokenCount);
        }

        return FrameTokens + (prompt == StellaPrompt.Document ? 0 : longest);
    }

    /// <summary>Bytes of prompt and text that the tokenizer looks at; the rest of a longer text is cut.</summary>
    internal long MaxTextBytes { get; init; } = long.MaxValue;

    /// <summary>Hash of the stamps of the model's files at load: differs when a file was replaced, changed or touched.</summary>
    internal ulong FileStamp { get; init; }

    /// <summary>The length of the vectors that a call asks for.</summary>
    /// <exception cref="StellaOptionException">The model has no head of that dimension.</exception>
    internal int DimensionOf(StellaEmbedOptions options)
    {
        StellaModel.ThrowIfNotPositive(options.Dimension, nameof(options.Dimension));
        int dimension = options.Dimension ?? DefaultDimension;
        if (!Dimensions.Contains(dimension))
        {
            throw new StellaOptionException(
                StellaErrorCode.UnknownDimension,
                $"the model has no head of dimension {dimension}; its heads have {Listing.Of(Dimensions)}");
        }

        return dimension;
    }
}
