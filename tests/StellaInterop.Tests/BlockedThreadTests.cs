using System.Diagnostics;
using System.Globalization;

namespace StellaInterop.Tests;

/// <summary>Callers may wait for a pool by blocking a thread, also where they block all threads of the thread pool.</summary>
internal sealed class BlockedThreadTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(4);

    [Test]
    public void Callers_that_block_the_whole_thread_pool_are_all_answered()
    {
        using Process process = ChildProgram.Start(BlockedThreads.Command, Tree.Model("tiny-new"));
        Task<string> output = process.StandardOutput.ReadToEndAsync();
        Task<string> errors = process.StandardError.ReadToEndAsync();
        if (!process.WaitForExit(Patience))
        {
            process.Kill();
            Assert.Fail($"the program does not end: {output.Result}{errors.Result}");
        }

        Assert.That(process.ExitCode, Is.Zero, $"{output.Result}{errors.Result}");
        Assert.That(int.Parse(output.Result, CultureInfo.InvariantCulture), Is.GreaterThanOrEqualTo(2 * 8));
    }
}
