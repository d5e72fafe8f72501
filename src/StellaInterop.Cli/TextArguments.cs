using System.CommandLine;
using System.CommandLine.Parsing;

namespace StellaInterop.Cli;

/// <summary>The form of an input.</summary>
internal enum InputFormat
{
    /// <summary>One text a line.</summary>
    Lines,

    /// <summary>One JSON object a line, with <c>text</c> and perhaps <c>prompt</c>.</summary>
    JsonLines,
}

/// <summary>Where the texts of a command come from, and what is put before them.</summary>
internal sealed class TextArguments
{
    private readonly Argument<string[]> texts = new("TEXT")
    {
        Description = "Texts. After -- they may begin with a dash.",
        Arity = ArgumentArity.ZeroOrMore,
    };

    private readonly Option<string?> input = new("--input")
    {
        Description = "Read texts from a file, one a line; - is standard input.",
        HelpName = "FILE|-",
    };

    private readonly Choice<InputFormat> inputFormat = new(
        "--input-format",
        """Form of the input. A line of jsonl is {"text": "...", "prompt": "NAME"}; prompt may be left out, and is as in --prompt.""",
        ("lines", InputFormat.Lines),
        ("jsonl", InputFormat.JsonLines));

    private readonly Option<string?> prompt = PromptOption(
        "Name of a prompt of the model; stella info lists them. s2p is a search query, s2s one of two "
        + "similar sentences, document neither. Default: the model's own default, which in Stella is none.");

    private readonly Choice<StellaLongTextBehavior> onLongText = LongTextChoice();

    public TextArguments(Command command)
    {
        command.Add(texts);
        command.Add(input);
        command.Add(inputFormat.Option);
        command.Add(prompt);
        command.Add(onLongText.Option);
        command.Validators.Add(Check);
    }

    /// <summary>The prompt and the rule for long texts.</summary>
    public StellaEmbedOptions Options(ParseResult parsed) => new()
    {
        Prompt = PromptOf(parsed, prompt),
        LongTextBehavior = onLongText.Get(parsed),
    };

    /// <summary>The texts, read as they are asked for, and <see langword="null"/> whenever the next has not arrived yet.</summary>
    public IEnumerable<InputText?> Read(ParseResult parsed, CancellationToken cancellationToken)
    {
        StellaPrompt fallback = PromptOf(parsed, prompt);
        if (parsed.GetValue(input) is { } source)
        {
            return TextReading.FromFile(source, inputFormat.Get(parsed), fallback, cancellationToken);
        }

        string[] given = parsed.GetRequiredValue(texts);
        for (int i = 0; i < given.Length; i++)
        {
            ThrowIfReplaced(given[i], $"text {i}");
        }

        return given.Select(text => (InputText?)new InputText(text, fallback, Line: 0));
    }

    /// <summary>
    /// Refuses a text of the command line that is not what was typed: .NET puts U+FFFD in the place of bytes that are not UTF-8, which
    /// would make different texts equal.
    /// </summary>
    public static void ThrowIfReplaced(string text, string name)
    {
        if (text.Contains('\uFFFD', StringComparison.Ordinal))
        {
            throw new CliException(
                ExitCode.BadInput,
                $"The argument for {name} has U+FFFD, which stands for bytes that are not UTF-8. Check its encoding. A text that does have this character can be given by --input.");
        }
    }

    /// <summary>--prompt.</summary>
    public static Option<string?> PromptOption(string description)
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

    /// <summary>The prompt that is named.</summary>
    public static StellaPrompt PromptOf(ParseResult parsed, Option<string?> option) =>
        parsed.GetValue(option) is { } name ? StellaPrompt.FromName(name) : StellaPrompt.Default;

    /// <summary>--on-long-text.</summary>
    public static Choice<StellaLongTextBehavior> LongTextChoice() => new(
        "--on-long-text",
        "Truncates a text of too many tokens, or makes it an error.",
        ("truncate", StellaLongTextBehavior.Truncate),
        ("error", StellaLongTextBehavior.Error));

    private void Check(CommandResult result)
    {
        bool named = result.GetResult(texts) is { Tokens.Count: > 0 };
        bool read = result.GetResult(input) is { Implicit: false };
        if (named == read)
        {
            result.AddError(named
                ? "Give texts or --input, not both."
                : "Give texts, or --input FILE, or --input - for standard input.");
        }
    }
}
