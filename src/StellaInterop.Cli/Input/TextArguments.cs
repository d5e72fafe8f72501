using System.CommandLine;
using System.CommandLine.Parsing;
using StellaInterop.Cli.Errors;
using StellaInterop.Cli.Options;

namespace StellaInterop.Cli.Input;

/// <summary>Adds the arguments that specify texts and their prompt to a command.</summary>
internal sealed class TextArguments
{
    private readonly Argument<string[]> texts = new("TEXT")
    {
        Description = "Texts. Put texts that start with a dash after --.",
        Arity = ArgumentArity.ZeroOrMore,
    };

    private readonly Option<string?> input = new("--input")
    {
        Description = "Read texts from a file, one per line; - is standard input.",
        HelpName = "FILE|-",
    };

    private readonly EnumOption<InputFormat> inputFormat = new(
        "--input-format",
        """Format of the input. A line of jsonl is {"text": "...", "prompt": "NAME"}; prompt is optional and overrides --prompt.""",
        ("lines", InputFormat.Lines),
        ("jsonl", InputFormat.JsonLines));

    private readonly Option<string?> prompt = CreatePromptOption(
        "Name of a prompt of the model; `stella info` lists them. s2p is for a search query, s2s for each of two "
        + "similar sentences, document for a document. Default: the default of the model; Stella models have none.");

    private readonly EnumOption<StellaLongTextBehavior> onLongText = CreateLongTextOption();

    public TextArguments(Command command)
    {
        command.Add(texts);
        command.Add(input);
        command.Add(inputFormat.Option);
        command.Add(prompt);
        command.Add(onLongText.Option);
        command.Validators.Add(CheckSource);
    }

    /// <summary>Returns the options with the prompt and the treatment of long texts.</summary>
    public StellaEmbedOptions GetEmbedOptions(ParseResult parsed) => new()
    {
        Prompt = GetPrompt(parsed, prompt),
        LongTextBehavior = onLongText.Get(parsed),
    };

    /// <summary>Returns the texts lazily, and <see langword="null"/> each time the next text has not arrived yet.</summary>
    public IEnumerable<InputText?> Read(ParseResult parsed, CancellationToken cancellationToken)
    {
        StellaPrompt defaultPrompt = GetPrompt(parsed, prompt);
        if (parsed.GetValue(input) is { } source)
        {
            return InputTextReader.Read(source, inputFormat.Get(parsed), defaultPrompt, cancellationToken);
        }

        string[] given = parsed.GetRequiredValue(texts);
        for (int i = 0; i < given.Length; i++)
        {
            ThrowIfReplaced(given[i], $"text {i}");
        }

        return given.Select(text => (InputText?)new InputText(text, defaultPrompt, Line: 0));
    }

    /// <summary>
    /// Refuses a text of the command line that contains U+FFFD. .NET replaces bytes that are not UTF-8 by this character, so
    /// different arguments could become the same text.
    /// </summary>
    public static void ThrowIfReplaced(string text, string name)
    {
        if (text.Contains('\uFFFD', StringComparison.Ordinal))
        {
            throw new CliException(
                ExitCode.BadInput,
                $"The argument for {name} has U+FFFD, which replaces bytes that are not UTF-8. Check its encoding. Pass a text that really has this character by --input.");
        }
    }

    /// <summary>Creates the option --prompt.</summary>
    public static Option<string?> CreatePromptOption(string description)
    {
        var option = new Option<string?>("--prompt") { Description = description, HelpName = "NAME" };
        option.CompletionSources.Add("document", "s2p", "s2s");
        option.Validators.Add(result =>
        {
            if (result.Tokens is [.., { Value: "" }])
            {
                result.AddError("--prompt is empty; it must be the name of a prompt.");
            }
        });
        return option;
    }

    /// <summary>Returns the prompt that the command line names, or the default prompt of the model.</summary>
    public static StellaPrompt GetPrompt(ParseResult parsed, Option<string?> option) =>
        parsed.GetValue(option) is { } name ? StellaPrompt.FromName(name) : StellaPrompt.Default;

    /// <summary>Creates the option --on-long-text.</summary>
    public static EnumOption<StellaLongTextBehavior> CreateLongTextOption() => new(
        "--on-long-text",
        "Truncate a text that has too many tokens, or report an error.",
        ("truncate", StellaLongTextBehavior.Truncate),
        ("error", StellaLongTextBehavior.Error));

    private void CheckSource(CommandResult result)
    {
        bool hasTexts = result.GetResult(texts) is { Tokens.Count: > 0 };
        bool hasInput = result.GetResult(input) is { Implicit: false };
        if (hasTexts == hasInput)
        {
            result.AddError(hasTexts
                ? "Give texts or --input, not both."
                : "Give texts, or --input FILE, or --input - for standard input.");
        }
    }
}
