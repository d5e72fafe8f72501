namespace StellaInterop.Serving;

/// <summary>Identifies a vector: texts with equal keys have the same one.</summary>
/// <remarks>The hash is computed once, because the text may be long and is looked up more than once.</remarks>
internal readonly struct TextKey : IEquatable<TextKey>
{
    private readonly int hash;

    /// <param name="text">The text.</param>
    /// <param name="prompt">The prompt before the text.</param>
    /// <param name="kind">The form of the vector.</param>
    /// <param name="fileStamp">The files that the model was loaded from: a model of other files has other vectors.</param>
    public TextKey(string text, StellaPrompt prompt, VectorKind kind, ulong fileStamp)
    {
        Text = text;
        Prompt = prompt;
        Kind = kind;
        FileStamp = fileStamp;
        hash = HashCode.Combine(text, prompt, kind, fileStamp);
    }

    public string Text { get; }

    public StellaPrompt Prompt { get; }

    public VectorKind Kind { get; }

    public ulong FileStamp { get; }

    public bool Equals(TextKey other) =>
        hash == other.hash && Text == other.Text && Prompt == other.Prompt && Kind == other.Kind && FileStamp == other.FileStamp;

    public override bool Equals(object? obj) => obj is TextKey other && Equals(other);

    public override int GetHashCode() => hash;
}
