using System.Diagnostics;
using System.Globalization;

namespace StellaInterop.Tests;

/// <summary>Callers may block on the results of a pool, even if they block every thread of the thread pool.</summary>
internal sealed class BlockedThreadTests
{
    [Test]
    public void Callers_that_block_the_whole_thread_pool_are_all_answered()
    {
        using Process process = ChildProgram.Start(BlockedThreadProgram.Command, Fixtures.Model("tiny-new"));
        Assert.That(int.Parse(ChildProgram.OutputOf(process), CultureInfo.InvariantCulture), Is.GreaterThanOrEqualTo(2 * 8));
    }
}
