namespace StellaInterop.Tests;

/// <summary>Runs a test without a prompt, with each prompt of Stella, and with the default prompt of the model.</summary>
[AttributeUsage(AttributeTargets.Parameter)]
internal sealed class PromptsAttribute()
    : ValuesAttribute(StellaPrompt.Default, StellaPrompt.Document, StellaPrompt.SearchQuery, StellaPrompt.SentenceSimilarity);
