using StellaInterop.Bulk.Files;

namespace StellaInterop.Bulk.Tests.Commit;

internal sealed class BusyFileTests
{
    private static IEnumerable<Exception> Busy() =>
    [
        new UnauthorizedAccessException(),
        new IOException("Access is denied.", BusyFile.WindowsError | 5),
        new IOException("The file is in use.", BusyFile.WindowsError | 32),
        new IOException("A part of the file is locked.", BusyFile.WindowsError | 33),
        new IOException("The file is being deleted.", BusyFile.WindowsError | 303),
    ];

    [TestCaseSource(nameof(Busy))]
    public void A_file_in_use_is_waited_for(Exception error)
    {
        var waits = new List<TimeSpan>();
        int attempts = 0;
        Assert.That(BusyFile.Retry(() => ++attempts < 4 ? throw error : attempts, waits.Add), Is.EqualTo(4));
        Assert.That(waits, Has.Count.EqualTo(3).And.Ordered);
    }

    [TestCaseSource(nameof(Busy))]
    public void A_file_that_stays_in_use_is_an_error_in_the_end(Exception error)
    {
        var waits = new List<TimeSpan>();
        Assert.That(() => BusyFile.Retry<int>(() => throw error, waits.Add), Throws.Exception.SameAs(error));
        Assert.That(waits.Sum(wait => wait.TotalSeconds), Is.InRange(1, 3));
    }

    [Test]
    public void Other_errors_are_not_waited_for()
    {
        var full = new IOException("The disk is full.", BusyFile.WindowsError | 112);
        Assert.That(() => BusyFile.Retry<int>(() => throw full, _ => Assert.Fail("There was a wait.")), Throws.Exception.SameAs(full));
    }
}
