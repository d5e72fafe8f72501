using StellaInterop.Cli.Streams;

namespace StellaInterop.Tests;

/// <summary>Tests the states of a standard handle of Windows with a replaced system call.</summary>
internal sealed class WindowsOutputTests
{
    private const int Ok = 0;

    [Test]
    public void Every_byte_is_written_once_in_order([Values(1, 3, 7, 1000)] int atOnce)
    {
        var written = new List<byte>();
        int calls = 0;
        using var output = new WindowsOutput((buffer, out count, out error) =>
        {
            // A non-blocking pipe that is full accepts no bytes.
            count = calls++ % 3 == 2 ? 0 : Math.Min(atOnce, buffer.Length);
            error = Ok;
            written.AddRange(buffer[..count]);
            return true;
        });
        byte[] bytes = [.. Enumerable.Range(0, 50).Select(i => (byte)i)];
        output.Write(bytes);
        output.Write([]);
        output.Write(bytes, 10, 5);
        Assert.That(written, Is.EqualTo(bytes.Concat(bytes[10..15])));
    }

    [TestCase(109, Description = "ERROR_BROKEN_PIPE")]
    [TestCase(232, Description = "ERROR_NO_DATA: the reader is closing the pipe")]
    [TestCase(233, Description = "ERROR_PIPE_NOT_CONNECTED")]
    public void A_reader_that_left_is_a_broken_pipe(int code) =>
        Assert.That(() => Failing(code).Write([1]), Throws.TypeOf<BrokenPipeException>());

    [TestCase(112, Description = "ERROR_DISK_FULL")]
    [TestCase(6, Description = "ERROR_INVALID_HANDLE")]
    public void Any_other_failure_is_an_error_with_the_message_of_the_system(int code) =>
        Assert.That(() => Failing(code).Write([1]), Throws.TypeOf<IOException>().With.Message.Not.Empty.And.Message.Not.EndsWith("."));

    private static WindowsOutput Failing(int code) => new((_, out written, out error) =>
    {
        written = 0;
        error = code;
        return false;
    });
}
