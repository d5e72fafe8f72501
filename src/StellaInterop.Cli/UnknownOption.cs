using System.CommandLine;
using System.CommandLine.Parsing;

namespace StellaInterop.Cli;

/// <summary>Finds options that do not exist. The parser takes them for texts where a command accepts any number of those.</summary>
internal static class UnknownOption
{
    /// <summary>The first token before <c>--</c> that begins with a dash and is neither an option nor the value of one.</summary>
    public static string? Find(ParseResult parsed)
    {
        Token? before = null;
        foreach (Token token in parsed.Tokens)
        {
            if (token.Type == TokenType.DoubleDash)
            {
                return null;
            }

            bool isValue = before?.Type == TokenType.Option;
            if (token.Type == TokenType.Argument && !isValue && token.Value is ['-', _, ..])
            {
                return token.Value;
            }

            before = token;
        }

        return null;
    }
}
