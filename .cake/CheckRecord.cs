#nullable enable

using System.Text.Json;
using System.Text.Json.Serialization;

/// <summary>A native check that takes minutes. CI leaves it out if its result is recorded for the same sources.</summary>
/// <param name="Task">The Cake task that runs the check.</param>
/// <param name="DefinedIn">The file that defines the task.</param>
/// <param name="Tools">The commands that print the versions of its tools.</param>
internal sealed record NativeCheck(string Task, string DefinedIn, params string[] Tools);

/// <summary>The recorded result of a native check.</summary>
/// <param name="InputsSha256">The hash of all files that determine the result.</param>
/// <param name="Tools">The first line of the output of each command in <see cref="NativeCheck.Tools"/>.</param>
/// <param name="Levels">The instruction sets that the tests found.</param>
/// <param name="Results">The parts of the check.</param>
internal sealed record CheckRun(string InputsSha256, string[] Tools, string[] Levels, CheckResult[] Results);

/// <summary>The result of a part of a check.</summary>
/// <param name="Name">The name of the part, with the unit of the count.</param>
/// <param name="Count">The number of passed tests, or of executions of a fuzz target.</param>
/// <param name="Seconds">The time that the part took.</param>
internal sealed record CheckResult(string Name, long Count, int Seconds);

/// <summary>
/// The file native/checks.json: the results of the long native checks, each with the hash of the files that determine it. A check that has
/// not run is missing. The build and its tests compile this file, so it uses no type of Cake and is in no namespace.
/// </summary>
internal sealed record CheckRecord(int Format, SortedDictionary<string, CheckRun> Checks)
{
    public const string FileName = "native/checks.json";

    public const int CurrentFormat = 1;

    private static readonly JsonSerializerOptions Strict = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        RespectNullableAnnotations = true,
        RespectRequiredConstructorParameters = true,
        UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
        WriteIndented = true,
    };

    /// <summary>Gets all long native checks.</summary>
    public static IReadOnlyList<NativeCheck> Table { get; } =
    [
        new("Sanitize", ".cake/checks.cake", "rustc +nightly --version"),
        new("Fuzz", ".cake/checks.cake", "rustc +nightly --version"),
        new("Valgrind", ".cake/checks.cake", "rustc --version", "valgrind --version"),
        new("Foreign", ".cake/foreign.cake", "rustc --version", "qemu-aarch64 --version", "wine --version"),
    ];

    /// <summary>
    /// Gets the files and folders that all checks compile or read. The prebuilt libraries in native/ stand for the compiler and the flags
    /// of the release build: if other flags result in another library, CI fails until it is committed.
    /// </summary>
    private static IReadOnlyList<string> Inputs { get; } =
    [
        "native",
        "src/StellaInterop/Interop/Abi/NativeMethods.g.cs",
        "src/StellaInterop.Models.Mini/model",
        "tests/fixtures",
    ];

    /// <summary>Gets the outputs of the build and of the checks below the inputs.</summary>
    private static IReadOnlyList<string> Outputs { get; } = ["native/.cargo", "native/target", "native/fuzz/target", FileName];

    /// <summary>Returns the paths of all files that determine the result of a check, from the root of the source tree.</summary>
    public static IEnumerable<string> InputFiles(string root, NativeCheck check) => Inputs.Append(check.DefinedIn).SelectMany(input => Files(root, input));

    public static string HashInputs(string root, NativeCheck check) => SourceHash.Of(root, "", InputFiles(root, check));

    /// <summary>Decides which of the long native checks CI must run, and says why in one line.</summary>
    /// <param name="root">The root of the source tree.</param>
    /// <param name="isForced">Whether all checks run in any case.</param>
    public static (IReadOnlyList<string> Due, string Reason) Decide(string root, bool isForced)
    {
        (CheckRecord? record, string problem) = isForced ? (null, "--full was given") : Read(root);
        string[] due =
        [
            .. Table.Where(check => record?.Checks.GetValueOrDefault(check.Task)?.InputsSha256 != HashInputs(root, check)).Select(check => check.Task),
        ];
        if (due.Length > 0)
        {
            return (due, $"FULL: {string.Join(", ", due)} must run, because {(record is null ? problem : $"{FileName} does not have results for these files")}.");
        }

        string tools = string.Join("; ", record!.Checks.Values.SelectMany(check => check.Tools).Distinct());
        string names = string.Join(", ", Table.Select(check => check.Task));
        return ([], $"REDUCED: {names} are recorded for these sources ({FileName}: {tools}). Run all: dotnet cake --target=NativeChecks");
    }

    /// <summary>Reads the record. Returns <see langword="null"/> and the problem if there is no valid record.</summary>
    public static (CheckRecord? Record, string Problem) Read(string root)
    {
        string path = System.IO.Path.Combine(root, FileName);
        if (!System.IO.File.Exists(path))
        {
            return (null, $"{FileName} does not exist");
        }

        try
        {
            CheckRecord? record = JsonSerializer.Deserialize<CheckRecord>(System.IO.File.ReadAllText(path), Strict);
            string problem = record is null ? "it is null" : record.Problem();
            return problem.Length > 0 ? (null, $"{FileName} is not valid: {problem}") : (record, "");
        }
        catch (JsonException e)
        {
            return (null, $"{FileName} is not valid: {e.Message.TrimEnd('.')}");
        }
    }

    /// <summary>Adds a result to the record. Fails if it is incomplete, or if an input changed since the check began.</summary>
    public static void Add(string root, NativeCheck check, CheckRun run)
    {
        CheckRecord record = Read(root).Record ?? new CheckRecord(CurrentFormat, []);
        record.Checks[check.Task] = run;
        string problem = run.InputsSha256 == HashInputs(root, check) ? record.Problem() : "a file that determines the result was changed during the check";
        if (problem.Length > 0)
        {
            throw new InvalidOperationException($"{FileName} was not written: {problem}. Run: dotnet cake --target={check.Task}");
        }

        System.IO.File.WriteAllText(System.IO.Path.Combine(root, FileName), JsonSerializer.Serialize(record, Strict) + "\n");
    }

    private static IEnumerable<string> Files(string root, string path)
    {
        var folder = new DirectoryInfo(System.IO.Path.Combine(root, path));
        return Outputs.Contains(path) ? []
            : folder.Exists ? folder.EnumerateFileSystemInfos().SelectMany(entry => Files(root, $"{path}/{entry.Name}"))
            : System.IO.File.Exists(folder.FullName) ? [path]
            : [];
    }

    /// <summary>Returns why the record is not valid. Returns an empty string if it is.</summary>
    private string Problem()
    {
        if (Format != CurrentFormat)
        {
            return $"its format is {Format}, not {CurrentFormat}";
        }

        string[] unknown = [.. Checks.Keys.Except(Table.Select(check => check.Task))];
        if (unknown.Length > 0)
        {
            return $"it has checks that are not in the table: {string.Join(", ", unknown)}";
        }

        string[] empty = [.. Table.Where(check => Checks.TryGetValue(check.Task, out CheckRun? run) && !IsComplete(check, run)).Select(check => check.Task)];
        return empty.Length > 0 ? $"tools, levels or results are missing: {string.Join(", ", empty)}" : "";
    }

    private static bool IsComplete(NativeCheck check, CheckRun? run) =>
        run is { InputsSha256.Length: > 0, Levels.Length: > 0, Results.Length: > 0 }
        && run.Tools.Length == check.Tools.Length
        && run.Tools.Concat(run.Levels).All(text => text is { Length: > 0 })
        && run.Results.All(result => result is { Name.Length: > 0, Count: > 0 });
}

#nullable restore
