using System.Diagnostics;
using System.Globalization;

namespace StellaInterop.Tests;

/// <summary>What the test assembly does as a program: work that could end a process, for a test to start beside itself.</summary>
internal static class ChildProgram
{
    /// <summary>Loads over and over. Arguments: the folder, the load mode, and how often at least.</summary>
    public const string LoadAgain = "load-again";

    /// <summary>A vector was not the right one.</summary>
    public const int WrongVector = 10;

    /// <summary>Far more than are needed: only a run in which nothing happens at all gets there.</summary>
    private const int MostLoads = 50_000;

    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(4);

    public static int Main(string[] args) => args switch
    {
        [LoadAgain, var folder, var mode, var least] =>
            Repeat(folder, Enum.Parse<StellaLoadMode>(mode), int.Parse(least, CultureInfo.InvariantCulture)),
        [FewThreads.Command, var folder] => FewThreads.Run(folder),
        [BlockedThreads.Command, var folder] => BlockedThreads.Run(folder),
        [HostResolver.Command, var kind, var library] => HostResolver.Run(Enum.Parse<HostResolver.Kind>(kind), library),
        _ => 2,
    };

    /// <summary>Starts this program.</summary>
    public static Process Start(params string[] arguments) => StartCopy(typeof(ChildProgram).Assembly.Location, arguments);

    /// <summary>Starts a copy of this program.</summary>
    public static Process StartCopy(string assembly, params string[] arguments) => Process.Start(
        new ProcessStartInfo(
            Environment.GetEnvironmentVariable("DOTNET_HOST_PATH") ?? "dotnet", ["exec", assembly, .. arguments])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;

    /// <summary>Waits for a child to end well, and returns its output. Kills one that does not end.</summary>
    public static string OutputOf(Process child)
    {
        Task<string> output = child.StandardOutput.ReadToEndAsync();
        Task<string> errors = child.StandardError.ReadToEndAsync();
        if (!child.WaitForExit(Patience))
        {
            child.Kill();
            Assert.Fail($"the program does not end: {output.Result}{errors.Result}");
        }

        Assert.That(child.ExitCode, Is.Zero, $"{output.Result}{errors.Result}");
        return output.Result;
    }

    /// <summary>
    /// Loads until it has done so often enough and has met both a good file and one that changed under its hands. Writes
    /// how often each was met.
    /// </summary>
    private static int Repeat(string folder, StellaLoadMode mode, int least)
    {
        int good = 0, refused = 0, meanwhile = 0;
        float[]? expected = null;
        for (int loads = 0; loads < MostLoads && (loads < least || good == 0 || meanwhile == 0); loads++)
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
                meanwhile += e.Message.Contains("while it was loaded", StringComparison.Ordinal) ? 1 : 0;
            }
        }

        Console.WriteLine($"{good} {refused} {meanwhile}");
        return 0;
    }
}
