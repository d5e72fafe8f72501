using System.CommandLine;
using System.CommandLine.Parsing;

namespace StellaInterop.Cli.Options;

/// <summary>
/// Finds options that do not exist. In a command that accepts any number of texts, the parser takes them for texts.
/// </summary>
internal static class UnknownOption
{
    /// <summary>Returns the first text before <c>--</c> that starts with a dash.</summary>
    public static string? Find(ParseResult parsed)
    {
        // All tokens after -- are texts, and they are the last texts of the command.
        int textsAfterDashes = parsed.Tokens.SkipWhile(token => token.Type != TokenType.DoubleDash).Skip(1).Count();
        string[] texts = [.. parsed.CommandResult.Children
            .OfType<ArgumentResult>()
            .SelectMany(argument => argument.Tokens)
            .Select(token => token.Value)];
        return texts.SkipLast(textsAfterDashes).FirstOrDefault(text => text is ['-', _, ..]);
    }
}
