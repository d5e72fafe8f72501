namespace StellaInterop;

/// <summary>What a text is going to be used for. Stella was trained to see a prompt before a query.</summary>
/// <remarks>The prompt texts are those of the model folder; they count towards a text's tokens.</remarks>
public enum StellaPrompt
{
    /// <summary>A document, or a text that carries its own prompt: nothing is put before it.</summary>
    Document = 0,

    /// <summary>A search query, to be compared with documents ("sentence to passage").</summary>
    S2P = 1,

    /// <summary>A sentence, to be compared with sentences that carry this prompt too ("sentence to sentence").</summary>
    S2S = 2,
}

/// <summary>The names by which prompts are known in configuration and on the command line.</summary>
public static class StellaPrompts
{
    private static readonly (string Name, StellaPrompt Prompt)[] Table =
    [
        ("s2p", StellaPrompt.S2P),
        ("s2s", StellaPrompt.S2S),
        ("document", StellaPrompt.Document),
    ];

    /// <summary>The names, in the order in which they are listed to people.</summary>
    public static IReadOnlyList<string> Names { get; } = [.. Table.Select(row => row.Name)];

    /// <summary>The prompt of a name, case ignored.</summary>
    /// <param name="name">One of <see cref="Names"/>.</param>
    /// <exception cref="ArgumentException">The name is not known. There is no default: the message lists the names.</exception>
    public static StellaPrompt Parse(string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        foreach (var (known, prompt) in Table)
        {
            if (string.Equals(name, known, StringComparison.OrdinalIgnoreCase))
            {
                return prompt;
            }
        }

        throw new ArgumentException(
            $"'{Printable.Line(name)}' is not a prompt; the prompts are {string.Join(", ", Names)}.", nameof(name));
    }
}
