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

/// <summary>What a loaded model is.</summary>
public sealed record StellaModelInfo
{
    internal StellaModelInfo()
    {
    }

    /// <summary>The folder that it was loaded from, as it was passed.</summary>
    public required string Path { get; init; }

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

    /// <summary>Special tokens that the tokenizer adds to every text.</summary>
    internal int FrameTokens { get; init; }

    /// <summary>Tokens of each prompt, indexed by <see cref="StellaPrompt"/>, without special tokens.</summary>
    internal IReadOnlyList<int> PromptTokens { get; init; } = [0, 0, 0];

    /// <summary>Tokens that a text gets beside its own: those of its frame and its prompt. Native code refuses an unknown prompt.</summary>
    internal int TokensBesideText(StellaPrompt prompt) =>
        FrameTokens + ((uint)prompt < (uint)PromptTokens.Count ? PromptTokens[(int)prompt] : 0);

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
                $"the model has no head of dimension {dimension}; its heads have {string.Join(", ", Dimensions)}");
        }

        return dimension;
    }
}
