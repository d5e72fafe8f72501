using System.CommandLine;
using StellaInterop.Cli.Errors;
using StellaInterop.Cli.Options;
using StellaInterop.Cli.Terminal;
using StellaInterop.Server.Keys;

namespace StellaInterop.Cli.Commands;

/// <summary>Implements <c>stella keys</c>, which writes the file of API keys of <c>stella serve</c>.</summary>
internal static class KeysCommand
{
    private enum KeyPriority
    {
        Request,
        Bulk,
    }

    public static Command Create() => new("keys", "Adds, lists and removes the API keys of `stella serve --keys FILE`. The server reads the file again after it has changed.")
    {
        CreateAdd(),
        CreateList(),
        CreateRemove(),
    };

    private static Command CreateAdd()
    {
        Argument<string> name = CreateName();
        Option<string> file = CreateFile();
        var tokens = new Option<int?>("--tokens-per-minute") { Description = "Largest number of tokens in a minute. Default: no limit.", HelpName = "N" };
        NumberOption.AddRange(tokens, 1);
        var concurrent = new Option<int?>("--concurrent") { Description = "Largest number of requests at a time. Default: no limit.", HelpName = "N" };
        NumberOption.AddRange(concurrent, 1);
        var priority = new EnumOption<KeyPriority>(
            "--priority", "Priority of all requests of the key: the one that the request names, or bulk.", ("request", KeyPriority.Request), ("bulk", KeyPriority.Bulk));
        var command = new Command("add", "Makes a key and prints it. The file has only its hash, so the key cannot be shown again.") { name, file, tokens, concurrent, priority.Option };
        command.SetAction(parsed =>
        {
            string path = parsed.GetRequiredValue(file);
            string given = parsed.GetRequiredValue(name);
            List<ApiKey> keys = File.Exists(path) ? [.. Load(path)] : [];
            if (keys.Any(key => key.Name == given))
            {
                throw new CliException(ExitCode.Usage, $"{path} already has a key '{given}'. Choose another name, or remove the key first.");
            }

            string secret = KeyFile.CreateKey();
            keys.Add(new ApiKey
            {
                Name = given,
                Sha256 = KeyFile.Hash(secret),
                TokensPerMinute = parsed.GetValue(tokens),
                Concurrent = parsed.GetValue(concurrent),
                Priority = priority.Get(parsed) == KeyPriority.Bulk ? StellaPriority.Bulk : null,
            });
            Save(path, keys);
            ConsoleOutput.WriteResult(secret);
            return (int)ExitCode.Success;
        });
        return command;
    }

    private static Command CreateList()
    {
        Option<string> file = CreateFile();
        var command = new Command("list", "Lists the names and limits of the keys.") { file };
        command.SetAction(parsed =>
        {
            foreach (ApiKey key in Load(parsed.GetRequiredValue(file)))
            {
                ConsoleOutput.WriteResult(string.Join(
                    "  ",
                    key.Name,
                    key.TokensPerMinute is { } tokens ? $"{tokens} tokens per minute" : "any number of tokens",
                    key.Concurrent is { } concurrent ? $"{concurrent} requests at a time" : "any number of requests",
                    key.Priority == StellaPriority.Bulk ? "bulk" : "the priority of the request"));
            }

            return (int)ExitCode.Success;
        });
        return command;
    }

    private static Command CreateRemove()
    {
        Argument<string> name = CreateName();
        Option<string> file = CreateFile();
        var command = new Command("remove", "Removes a key. A running server refuses it within a second.") { name, file };
        command.SetAction(parsed =>
        {
            string path = parsed.GetRequiredValue(file);
            string given = parsed.GetRequiredValue(name);
            List<ApiKey> keys = [.. Load(path)];
            if (keys.RemoveAll(key => key.Name == given) == 0)
            {
                throw new CliException(ExitCode.Usage, $"{path} has no key '{given}'. Its keys are {string.Join(", ", keys.Select(key => key.Name))}.");
            }

            Save(path, keys);
            return (int)ExitCode.Success;
        });
        return command;
    }

    private static Argument<string> CreateName()
    {
        var name = new Argument<string>("NAME") { Description = "Name of the key: 1 to 64 letters, digits and the characters . _ - @." };
        name.Validators.Add(result =>
        {
            foreach (var token in result.Tokens.Where(token => !IsName(token.Value)))
            {
                result.AddError($"'{token.Value}' is not a name of a key. Use 1 to 64 letters, digits and the characters . _ - @.");
            }
        });
        return name;
    }

    private static bool IsName(string name) =>
        name.Length is > 0 and <= 64 && name.All(character => char.IsAsciiLetterOrDigit(character) || character is '.' or '_' or '-' or '@');

    private static Option<string> CreateFile() => new("--keys") { Description = "File of the keys.", HelpName = "FILE", Required = true };

    private static IReadOnlyList<ApiKey> Load(string path) => Try(path, "read", () => KeyFile.Load(path));

    private static void Save(string path, IEnumerable<ApiKey> keys) => _ = Try(path, "written", () =>
    {
        KeyFile.Save(path, keys);
        return true;
    });

    private static T Try<T>(string path, string verb, Func<T> action)
    {
        try
        {
            return action();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or InvalidDataException)
        {
            throw new CliException(ExitCode.Other, $"{path} cannot be {verb}.", e);
        }
    }
}
