namespace StellaInterop.Cli.Input;

/// <summary>Represents a text to embed with its prompt.</summary>
/// <param name="Text">The text.</param>
/// <param name="Prompt">The prompt.</param>
/// <param name="Line">The line of the text in the input, from 1; 0 for a text of the command line.</param>
internal readonly record struct InputText(string Text, StellaPrompt Prompt, long Line);
