using System.CommandLine;
using Spectre.Console;
using StellaInterop.ModelFiles;

namespace StellaInterop.Cli.Terminal;

/// <summary>Shows the progress of hashing a model if standard error is a terminal.</summary>
internal static class HashProgress
{
    /// <summary>Runs <paramref name="work"/>, which hashes, with a progress bar if standard error is a terminal.</summary>
    public static T Show<T>(ParseResult parsed, Func<IProgress<StellaHashProgress>?, T> work)
    {
        if (VerbosityOption.Instance.Get(parsed) == Verbosity.Quiet || Console.IsErrorRedirected)
        {
            return work(null);
        }

        return ErrorConsole.Create().Progress().Start(context =>
        {
            ProgressTask task = context.AddTask("hashing");
            return work(new Bar(task));
        });
    }

    /// <summary>
    /// Reports on the hashing thread while another thread paints the bar, which <see cref="ProgressTask"/> allows.
    /// </summary>
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
