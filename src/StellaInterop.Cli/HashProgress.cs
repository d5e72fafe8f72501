using System.CommandLine;
using Spectre.Console;
using StellaInterop.ModelFiles;

namespace StellaInterop.Cli;

/// <summary>Shows how far the hashing of a model is, where somebody watches.</summary>
internal static class HashProgress
{
    /// <summary>Runs <paramref name="work"/>, which hashes, with a bar on standard error when that is a terminal.</summary>
    public static T Show<T>(ParseResult parsed, Func<IProgress<StellaHashProgress>?, T> work)
    {
        if (ModelArguments.Verbosity.Get(parsed) == Verbosity.Quiet || Console.IsErrorRedirected)
        {
            return work(null);
        }

        return ErrorConsole.Create().Progress().Start(context =>
        {
            ProgressTask task = context.AddTask("hashing");
            return work(new Bar(task));
        });
    }

    /// <summary>Reports on the hashing thread: the bar is painted by another, and its task is made for that.</summary>
    private sealed class Bar(ProgressTask task) : IProgress<StellaHashProgress>
    {
        public void Report(StellaHashProgress value)
        {
            task.Description = Markup.Escape(Printable.Line(value.Path));
            task.MaxValue = value.TotalBytes;
            task.Value = value.HashedBytes;
        }
    }
}
