using Microsoft.Extensions.Logging;
using StellaInterop.Cli.Errors;

namespace StellaInterop.Cli.Loading;

/// <summary>Holds a model and its loggers, and disposes both.</summary>
internal sealed record LoadedModel(StellaModel Model, ILoggerFactory? Loggers) : IDisposable
{
    /// <summary>Embeds texts.</summary>
    /// <exception cref="CliException">
    /// A vector is not finite or is zero. The fault is the model's and not the text's: finite weights overflow, or a head is zero.
    /// </exception>
    public void Embed(
        string[] texts, float[] vectors, StellaTokenCount[] counts, StellaEmbedOptions options, CancellationToken cancellationToken)
    {
        try
        {
            Model.Embed(texts, vectors, counts, options, cancellationToken);
        }
        catch (StellaInputException e) when (e.Code is StellaErrorCode.ResultNotFinite or StellaErrorCode.ResultZero)
        {
            throw new CliException(ExitCode.ModelRefused, $"{Model.Info.Path}: The weights produce no usable vector. Use another model folder.", e);
        }
    }

    /// <summary>
    /// Checks the prompt of the command line before a row is read or written. An empty input, or rows that have their own prompts,
    /// would never use it.
    /// </summary>
    /// <exception cref="StellaOptionException">
    /// The model has no such prompt. The message lists the prompts of the model.
    /// </exception>
    public void CheckPrompt(StellaPrompt prompt)
    {
        try
        {
            _ = Model.Tokenize("", new StellaEmbedOptions { Prompt = prompt });
        }
        catch (StellaInputException)
        {
            // The model has the prompt. A text with this prompt fails, and its row gets the error.
        }
    }

    public void Dispose()
    {
        Model.Dispose();
        Loggers?.Dispose();
    }
}
