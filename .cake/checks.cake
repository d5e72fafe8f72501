// The long native checks: AddressSanitizer, fuzzing, Valgrind. CheckRecord.cs has the table of all of them.

using System.Text.RegularExpressions;

// The fuzz targets: the maximum input length in bytes, and the limits of one input in seconds and MiB.
record FuzzTarget(string Name, int MaxLength, int Seconds, int Megabytes);
var fuzzTargets = new[]
{
    new FuzzTarget("header", 4096, 5, 512),
    new FuzzTarget("config", 4096, 20, 1024),
    new FuzzTarget("tokenizer_json", 8192, 20, 1024),
    new FuzzTarget("tokenize", 8192, 10, 1024),
    new FuzzTarget("abi", 4096, 20, 1024),
};

// The seconds of each fuzz target. A shorter run is not recorded.
const int FuzzSeconds = 60;

// A check must not be recorded for sources that changed while it ran.
var inputsAtStart = CheckRecord.Table.ToDictionary(check => check.Task, check => CheckRecord.HashInputs(root.FullPath, check));

// Parts of the names of tests that run on the release build and not with AddressSanitizer. The memory of AddressSanitizer would
// distort the memory tests, and a forward pass on every instruction set takes seventy times as long with it. The tests of the
// kernels and of the ABI cover the same arithmetic with AddressSanitizer.
var memoryTests = new[] { "takes_what_was_estimated", "gives_memory_back" };
var releaseBuildTests = memoryTests.Concat(["meets_the_reference", "has_the_same_bits_alone", "allocates_nothing"]).ToArray();

// One build with AddressSanitizer has both the tests and the fuzz targets.
Task("SanitizedBuild")
    .Description("Builds the Rust tests and the fuzz targets with AddressSanitizer (nightly Rust, Linux).")
    .Does(() =>
{
    Require("cargo", "+nightly --version", "rustup toolchain install nightly --profile minimal");
    Require("c++", "--version", "apt-get install g++");
    Cargo($"+nightly build {SanitizedSelection()} --bins --example levels", SanitizerFlags());
});

Task("Sanitize")
    .Description("Runs the Rust tests with AddressSanitizer, except for those of ShippedTest.")
    .IsDependentOn("SanitizedBuild")
    .Does(() =>
{
    var environment = SanitizerFlags();
    // A failed allocation returns null, as in the C library, so that tests can check how the code handles it.
    environment["ASAN_OPTIONS"] = "allocator_may_return_null=1";
    environment["LSAN_OPTIONS"] = $"suppressions={native.CombineWithFilePath("lsan.supp").FullPath}:print_suppressions=0";
    var skip = string.Join(' ', releaseBuildTests.Select(name => $"--skip {name}"));
    var build = BuildOf(machine);
    var result = CargoTest(build, $"+nightly test {SanitizedSelection()} -- {skip}", environment, TestOutput.Shown);
    Keep("Sanitize", build, Levels(build, "target/sanitized", "debug"), result);
});

Task("Fuzz")
    .Description("Runs all fuzz targets, three at a time, or only --fuzz-target=NAME, for --seconds=60 each. Keeps findings in artifacts/fuzz.")
    .IsDependentOn("SanitizedBuild")
    .Does(() =>
{
    var only = Argument("fuzz-target", "");
    var chosen = fuzzTargets.Where(t => only == "" || t.Name == only).ToArray();
    if (chosen.Length == 0)
    {
        throw new CakeException($"Unknown fuzz target '{only}'. The fuzz targets are {string.Join(", ", fuzzTargets.Select(t => t.Name))}.");
    }

    var results = new System.Collections.Concurrent.ConcurrentDictionary<string, CheckResult>();
    System.Threading.Tasks.Parallel.ForEach(
        chosen,
        new System.Threading.Tasks.ParallelOptions { MaxDegreeOfParallelism = 3 },
        t => results[t.Name] = Fuzz(t, Argument("seconds", FuzzSeconds)));
    var failed = results.Where(r => r.Value is null).Select(r => r.Key).Order().ToArray();
    if (failed.Length > 0)
    {
        throw new CakeException($"These fuzz targets found faults: {string.Join(", ", failed)}. Reproduce a finding with: native/target/sanitized/{rids[machine].RustTarget}/debug/NAME FILE");
    }

    if (chosen.Length == fuzzTargets.Length && Argument("seconds", FuzzSeconds) >= FuzzSeconds)
    {
        Keep("Fuzz", BuildOf(machine), Levels(BuildOf(machine), "target/sanitized", "debug"), chosen.Select(t => results[t.Name]).ToArray());
    }
});

Task("Valgrind")
    .Description("Runs the tests of the ABI on the release build under Valgrind (Linux).")
    .Does(() =>
{
    Require("valgrind", "--version", "apt-get install valgrind");
    // Cargo starts the tests with this command. Valgrind runs one thread at a time; without fair scheduling, one thread may run for
    // minutes while others wait.
    var build = BuildOf(machine);
    var environment = ReproducibleFlags(build);
    environment[CargoVariable(build, "RUNNER")] =
        "valgrind --fair-sched=try --error-exitcode=99 --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite --quiet";
    Cargo($"build {ReleaseSelection(build)} --example levels", environment);
    var result = CargoTest(build, $"test {ReleaseSelection(build)} --test abi -- --test-threads=1", environment, TestOutput.ShownOnFailure);
    Keep("Valgrind", build, Levels(build, "target", "release", "valgrind --quiet"), result);
});

var nativeChecks = Task("NativeChecks")
    .Description($"Runs all long native checks. Each writes its results to {CheckRecord.FileName}. Commit the file, so that CI can leave them out.");

foreach (var check in CheckRecord.Table)
{
    nativeChecks.IsDependentOn(check.Task);
}

/// Returns the long native checks that CI must run, and prints the reason. The tree of all tasks has all of them.
IEnumerable<string> DueNativeChecks()
{
    if (target != "CI")
    {
        return CheckRecord.Table.Select(check => check.Task);
    }

    var (due, reason) = CheckRecord.Decide(root.FullPath, HasArgument("full"));
    Console.WriteLine(reason);
    return due;
}

/// Records the results of a check, with the versions of its tools in the environment of a build.
void Keep(string name, NativeBuild build, string[] levels, params CheckResult[] results)
{
    var check = CheckRecord.Table.Single(check => check.Task == name);
    var tools = check.Tools.Select(command => command.Split(' ', 2)).Select(words => OutputOf(build, words[0], words[1])[0]);
    CheckRecord.Add(root.FullPath, check, new CheckRun(inputsAtStart[name], tools.ToArray(), levels, results));
    Information("{0} has the results of {1}. Commit it.", CheckRecord.FileName, name);
}

/// Returns the instruction sets that a build finds. Valgrind and emulators hide those that they cannot run.
string[] Levels(NativeBuild build, string targetFolder, string profile, string runner = "")
{
    var program = native.CombineWithFilePath($"{targetFolder}/{build.RustTarget}/{profile}/examples/levels{(build.IsWindows ? ".exe" : "")}").FullPath;
    var words = $"{runner} {program}".Trim().Split(' ', 2);
    return OutputOf(build, words[0], words.ElementAtOrDefault(1) ?? "");
}

/// Fails if a tool does not run, and names the command that installs it.
void Require(string tool, string arguments, string install)
{
    if (!machine.StartsWith("linux"))
    {
        throw new CakeException($"Sanitized builds, fuzzing and Valgrind run on Linux only, but this machine is {machine}.");
    }

    try
    {
        OutputIn(native, tool, arguments);
    }
    catch (Exception e) when (e is not OutOfMemoryException)
    {
        throw new CakeException($"{tool} {arguments} did not run. Install it with: {install}", e);
    }
}

/// Returns the cargo arguments of builds and tests with AddressSanitizer.
string SanitizedSelection() => $"--locked --workspace --all-features --lib --tests --target {rids[machine].RustTarget} --target-dir target/sanitized";

/// Returns the flags for AddressSanitizer and for the coverage instrumentation of libFuzzer.
Dictionary<string, string> SanitizerFlags() => RustFlags(
    "-Zsanitizer=address",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=16",
    "--cfg fuzzing");

enum TestOutput { Shown, ShownOnFailure }

CheckResult CargoTest(NativeBuild build, string arguments, Dictionary<string, string> environment, TestOutput output)
{
    var (tool, settings) = CargoProcess(build, arguments, environment);
    return RunTests($"cargo {arguments}", tool, settings, output);
}

/// Runs tests and returns how many passed. CI counts the tests of the output, so tests that run a second time do not show it.
CheckResult RunTests(string command, FilePath tool, ProcessSettings settings, TestOutput output)
{
    Information("{0}", command);
    var lines = new List<string>();
    settings.RedirectStandardOutput = true;
    settings.RedirectedStandardOutputHandler = line =>
    {
        lines.Add(line ?? "");
        if (output == TestOutput.Shown && line is not null)
        {
            Console.WriteLine(line);
        }

        return line;
    };
    var time = Stopwatch.StartNew();
    var exitCode = StartProcess(tool, settings, out IEnumerable<string> _);
    // cargo: "35 passed; 0 failed"; dotnet test: "Failed: 0, Passed: 120"
    var passed = lines.SelectMany(l => Regex.Matches(l, @"(?:(\d+) passed;|Passed: +(\d+))")).Sum(m => int.Parse(m.Groups[1].Value + m.Groups[2].Value));
    if (exitCode != 0 || passed == 0)
    {
        lines.Where(_ => output == TestOutput.ShownOnFailure).ToList().ForEach(Console.WriteLine);
        throw new CakeException($"{command} ended with exit code {exitCode} after {passed} tests.");
    }

    Information("{0} tests, no fault.", passed);
    return new CheckResult("tests", passed, (int)time.Elapsed.TotalSeconds);
}

/// Runs one fuzz target and returns its executions, or null if it found a fault. Inputs with new coverage are kept in artifacts/fuzz,
/// and the next run begins with them and the seeds.
CheckResult Fuzz(FuzzTarget t, int seconds)
{
    var folder = artifacts.Combine("fuzz").Combine(t.Name);
    var corpus = folder.Combine("corpus");
    var scratch = folder.Combine("tmp");
    EnsureDirectoryExists(corpus);
    CleanDirectory(scratch);
    var start = new ProcessStartInfo(native.CombineWithFilePath($"target/sanitized/{rids[machine].RustTarget}/debug/{t.Name}").FullPath)
    {
        WorkingDirectory = native.Combine("fuzz").FullPath,
        RedirectStandardError = true,
        RedirectStandardOutput = true,
    };
    // Model folders of a target are written to memory if the machine has /dev/shm.
    var shared = new System.IO.DirectoryInfo($"/dev/shm/stella-fuzz-{Environment.ProcessId}-{t.Name}");
    if (shared.Parent.Exists)
    {
        shared.Create();
    }

    start.Environment["TMPDIR"] = shared.Exists ? shared.FullName : scratch.FullPath;
    foreach (var argument in new[]
    {
        corpus.FullPath, $"corpus/{t.Name}", "-dict=json.dict", $"-artifact_prefix={folder}/", $"-max_total_time={seconds}",
        $"-max_len={t.MaxLength}", $"-timeout={t.Seconds}", $"-rss_limit_mb={t.Megabytes}", $"-malloc_limit_mb={t.Megabytes / 2}", "-print_final_stats=1",
    })
    {
        start.ArgumentList.Add(argument);
    }

    try
    {
        var time = Stopwatch.StartNew();
        using var process = Process.Start(start);
        var errors = process.StandardError.ReadToEndAsync();
        process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        var lines = errors.Result.Split('\n');
        System.IO.File.WriteAllLines(folder.CombineWithFilePath("log").FullPath, lines);
        var stats = string.Join(", ", lines.Where(l => l.StartsWith("stat::")).Select(l => Regex.Replace(l["stat::".Length..], " +", " ")));
        if (process.ExitCode == 0)
        {
            Information("fuzz {0}: no fault. {1}", t.Name, stats);
            var executions = long.Parse(Regex.Match(stats, "number_of_executed_units: ([0-9]+)").Groups[1].Value);
            return new CheckResult($"executions of {t.Name}", executions, (int)time.Elapsed.TotalSeconds);
        }

        // The report begins at the first message of a panic, of AddressSanitizer or of libFuzzer, and names the file of the input.
        var begin = Array.FindIndex(lines, l => l.Contains("panicked at") || l.StartsWith("==") || l.Contains("ERROR: "));
        Error("fuzz {0}: ended with exit code {1}.\n{2}", t.Name, process.ExitCode, string.Join('\n', lines.Skip(Math.Max(begin, 0)).Take(60)));
        Error("fuzz {0}: {1}", t.Name, string.Join(' ', lines.Where(l => l.Contains("Test unit written to"))));
        return null;
    }
    finally
    {
        if (shared.Exists)
        {
            shared.Delete(true);
        }
    }
}
