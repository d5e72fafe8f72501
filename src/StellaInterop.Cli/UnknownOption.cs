using System.CommandLine;
using System.CommandLine.Parsing;

namespace StellaInterop.Cli;

/// <summary>Finds options that do not exist. The parser takes them for texts where a command accepts any number of those.</summary>
internal static class UnknownOption
{
    /// <summary>The first text before <c>--</c> that begins with a dash.</summary>
    public static string? Find(ParseResult parsed)
    {
        // Tokens after -- are texts whatever they look like; all that stand there come last among the texts.
        int certain = parsed.Tokens.SkipWhile(token => token.Type != TokenType.DoubleDash).Skip(1).Count();
        string[] texts = [.. parsed.CommandResult.Children
            .OfType<ArgumentResult>()
            .SelectMany(argument => argument.Tokens)
            .Select(token => token.Value)];
        return texts.SkipLast(certain).FirstOrDefault(text => text is ['-', _, ..]);
    }
}
