namespace StellaInterop;

/// <summary>Specifies one of the two architectures of the Stella v5 family.</summary>
public enum StellaArchitecture
{
    /// <summary><c>NewModel</c>, of <c>stella_en_400M_v5</c>.</summary>
    NewModel = 0,

    /// <summary><c>Qwen2</c> without its causal mask, of <c>stella_en_1.5B_v5</c>.</summary>
    Qwen2 = 1,
}

/// <summary>Specifies the device that runs the encoder.</summary>
internal enum StellaDevice
{
    /// <summary>The processor.</summary>
    Cpu = 0,
}

/// <summary>Specifies which hidden states of a text are pooled into its vector.</summary>
public enum StellaPoolingMode
{
    /// <summary>The mean over all tokens.</summary>
    Mean = 0,

    /// <summary>The first token, which the tokenizer puts before every text.</summary>
    Cls = 1,

    /// <summary>The last token, which the tokenizer puts after every text.</summary>
    LastToken = 2,
}

/// <summary>Represents a prompt of a model.</summary>
public sealed record StellaPromptInfo
{
    internal StellaPromptInfo()
    {
    }

    /// <summary>Gets the name, for <see cref="StellaPrompt.FromName"/>.</summary>
    public required string Name { get; init; }

    /// <summary>Gets the characters that are put before a text.</summary>
    public required string Text { get; init; }

    /// <summary>Gets the number of tokens of <see cref="Text"/>, without special tokens.</summary>
    public required int TokenCount { get; init; }

    /// <summary>Gets whether the text comes from the model card of Stella v5, because the folder lacks the prompt.</summary>
    public required bool IsFromModelCard { get; init; }
}

/// <summary>Represents the properties of a loaded model. Immutable and thread-safe.</summary>
public sealed record StellaModelInfo
{
    internal StellaModelInfo()
    {
    }

    /// <summary>Gets the folder of the model, as it was passed to the load.</summary>
    public required string Path { get; init; }

    /// <summary>Gets the display name: <see cref="StellaModelOptions.Name"/>, or the name of the repository or folder.</summary>
    public required string Name { get; init; }

    /// <summary>Gets the architecture of the encoder.</summary>
    public required StellaArchitecture Architecture { get; init; }

    /// <summary>Gets the lengths of vectors for which the model has a head, ascending.</summary>
    public required IReadOnlyList<int> Dimensions { get; init; }

    /// <summary>Gets the length of vectors for calls that do not set a dimension.</summary>
    public required int DefaultDimension { get; init; }

    /// <summary>Gets the length of a hidden state.</summary>
    public required int HiddenSize { get; init; }

    /// <summary>Gets the number of layers.</summary>
    public required int LayerCount { get; init; }

    /// <summary>Gets the number of attention heads.</summary>
    public required int AttentionHeadCount { get; init; }

    /// <summary>Gets the number of rows of the embedding table.</summary>
    public required int VocabularySize { get; init; }

    /// <summary>Gets the number of parameters of the encoder and the default head.</summary>
    public required long ParameterCount { get; init; }

    /// <summary>Gets the arithmetic of the encoder; never <see cref="StellaPrecision.Auto"/>.</summary>
    public required StellaPrecision Precision { get; init; }

    /// <summary>Gets the implementation of the encoder.</summary>
    internal StellaEncoder Encoder { get; init; }

    /// <summary>
    /// Gets the instruction set of the kernels: the best one of the processor, limited by the environment variable
    /// <c>STELLA_CPU_LEVEL</c>.
    /// </summary>
    public required StellaCpuLevel CpuLevel { get; init; }

    /// <summary>Gets the device that runs the encoder.</summary>
    internal StellaDevice Device { get; init; }

    /// <summary>Gets the largest number of tokens of a text, special tokens and prompt included.</summary>
    public required int MaxTokens { get; init; }

    /// <summary>Gets an estimate in bytes of the weights, the tokenizer and one call at its peak; above zero.</summary>
    public required long MemoryEstimateBytes { get; init; }

    /// <summary>Gets which hidden states of a text are pooled into its vector.</summary>
    public required StellaPoolingMode PoolingMode { get; init; }

    /// <summary>Gets whether pooling includes the tokens of a prompt, as in Stella.</summary>
    public required bool IncludesPrompt { get; init; }

    /// <summary>Gets the prompts, in the order of their names.</summary>
    public required IReadOnlyList<StellaPromptInfo> Prompts { get; init; }

    /// <summary>
    /// Gets the name of the prompt for texts with <see cref="StellaPrompt.Default"/>; <see langword="null"/> if the folder has no default.
    /// </summary>
    public required string? DefaultPrompt { get; init; }

    /// <summary>Returns the name, the architecture, the precision, the dimensions and the limit of tokens, as a line of text.</summary>
    public override string ToString() =>
        $"{Name}: {Architecture}, {Precision}, dimensions {string.Join(", ", Dimensions)} (default {DefaultDimension}), {MaxTokens} tokens";

    /// <summary>Gets the number of special tokens that the tokenizer adds to every text.</summary>
    internal int FrameTokens { get; init; }

    /// <summary>
    /// Returns the largest number of tokens that a text gets besides its own: special tokens and the tokens of its prompt. Only native code
    /// resolves alternative names of prompts, so an unknown name counts as the longest prompt.
    /// </summary>
    internal int TokensBesideText(StellaPrompt prompt)
    {
        string? name = prompt.Name ?? DefaultPrompt;
        if (name is null)
        {
            return FrameTokens;
        }

        int longest = 0;
        // By index, because an enumerator would be allocated in each call.
        for (int i = 0; i < Prompts.Count; i++)
        {
            StellaPromptInfo info = Prompts[i];
            if (string.Equals(info.Name, name, StringComparison.Ordinal))
            {
                return FrameTokens + info.TokenCount;
            }

            longest = Math.Max(longest, info.TokenCount);
        }

        return FrameTokens + (prompt == StellaPrompt.Document ? 0 : longest);
    }

    /// <summary>Gets the number of bytes of prompt and text that the tokenizer reads. The rest of a longer text is cut.</summary>
    internal long MaxTextBytes { get; init; } = long.MaxValue;

    /// <summary>Gets a hash of the file stamps at the load. It differs after a file was replaced, changed or touched.</summary>
    internal ulong FileStamp { get; init; }

    /// <summary>Returns the heads of a call.</summary>
    /// <exception cref="StellaOptionException">The model has no head of a dimension.</exception>
    internal Heads HeadsOf(StellaEmbedOptions options)
    {
        options.Check();
        Heads heads = options.HeadsOr(DefaultDimension);
        foreach (uint dimension in heads.Dimensions)
        {
            if (!HasHead((int)dimension))
            {
                throw new StellaOptionException(
                    StellaErrorCode.UnknownDimension,
                    $"The model has no head of dimension {dimension}. Its heads have {Listing.Of(Dimensions)}. Choose one of these dimensions, or download the head.");
            }
        }

        return heads;
    }

    private bool HasHead(int dimension)
    {
        // By index, because an enumerator would be allocated in each call.
        for (int i = 0; i < Dimensions.Count; i++)
        {
            if (Dimensions[i] == dimension)
            {
                return true;
            }
        }

        return false;
    }
}
