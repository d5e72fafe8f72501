using System.Diagnostics;
using System.Globalization;
using System.Reflection;

namespace StellaInterop.Tests;

/// <summary>The entry point of the test assembly. Tests start it as a child process for work that could end the process.</summary>
internal static class ChildProgram
{
    /// <summary>The command that loads a model repeatedly. Arguments: the folder, the load mode and the minimum number of loads.</summary>
    public const string RepeatLoads = "repeat-loads";

    /// <summary>The exit code for a wrong vector.</summary>
    public const int WrongVector = 10;

    /// <summary>Ends a run in which the file never changes during a load. Other runs need far fewer loads.</summary>
    private const int MaxLoads = 50_000;

    private static readonly TimeSpan Timeout = TimeSpan.FromMinutes(4);

    public static int Main(string[] args) => args switch
    {
        [RepeatLoads, var folder, var mode, var minimum] =>
            LoadRepeatedly(folder, Enum.Parse<StellaLoadMode>(mode), int.Parse(minimum, CultureInfo.InvariantCulture)),
        [ThreadLimitProgram.Command, var folder] => ThreadLimitProgram.Run(folder),
        [BlockedThreadProgram.Command, var folder] => BlockedThreadProgram.Run(folder),
        [HostResolverProgram.Command, var kind, var library] => HostResolverProgram.Run(Enum.Parse<HostResolverProgram.Kind>(kind), library),
#if NUNIT_RUNNER
        _ => MicrosoftTestingPlatformApplication.RunAsync(args).GetAwaiter().GetResult(),
#else
        _ => 2,
#endif
    };

    /// <summary>Starts this program.</summary>
    public static Process Start(params string[] arguments) => StartCopy(typeof(ChildProgram).Assembly.Location, arguments);

    /// <summary>Starts a copy of this program.</summary>
    public static Process StartCopy(string assembly, params string[] arguments)
    {
        // A program that runs its tests itself has its own runtime beside it.
        bool isSelfContained = Assembly.GetEntryAssembly() == typeof(ChildProgram).Assembly;
        string program = Path.ChangeExtension(assembly, OperatingSystem.IsWindows() ? ".exe" : null);
        return Process.Start(
            new ProcessStartInfo(
                isSelfContained ? program : Environment.GetEnvironmentVariable("DOTNET_HOST_PATH") ?? "dotnet",
                isSelfContained ? arguments : ["exec", assembly, .. arguments])
            {
                RedirectStandardOutput = true,
                RedirectStandardError = true,
            })!;
    }

    /// <summary>Waits for a child process to exit with code 0 and returns its output. Kills a child that exceeds the timeout.</summary>
    public static string OutputOf(Process child)
    {
        Task<string> output = child.StandardOutput.ReadToEndAsync();
        Task<string> errors = child.StandardError.ReadToEndAsync();
        if (!child.WaitForExit(Timeout))
        {
            child.Kill();
            Assert.Fail($"the program did not end in time: {output.Result}{errors.Result}");
        }

        Assert.That(child.ExitCode, Is.Zero, $"{output.Result}{errors.Result}");
        return output.Result.Replace(Environment.NewLine, "\n", StringComparison.Ordinal);
    }

    /// <summary>
    /// Loads the model at least <paramref name="minimum"/> times, until one load succeeded and one failed because the file changed
    /// during the load. Prints the numbers of successful loads, refused loads and files that changed during a load.
    /// </summary>
    private static int LoadRepeatedly(string folder, StellaLoadMode mode, int minimum)
    {
        int good = 0, refused = 0, changed = 0;
        float[]? expected = null;
        for (int loads = 0; loads < MaxLoads && (loads < minimum || good == 0 || changed == 0); loads++)
        {
            try
            {
                using var model = StellaModel.Load(folder, new StellaModelOptions { LoadMode = mode, Threads = 1, Dimension = 256 });
                float[] vector = model.Embed("river");
                expected ??= vector;
                if (!vector.AsSpan().SequenceEqual(expected))
                {
                    return WrongVector;
                }

                good++;
            }
            catch (StellaModelFolderException e)
            {
                refused++;
                changed += e.Message.Contains("while it was loaded", StringComparison.Ordinal) ? 1 : 0;
            }
        }

        Console.WriteLine($"{good} {refused} {changed}");
        return 0;
    }
}
