using StellaInterop.Cli.Errors;

namespace StellaInterop.Cli.Streams;

/// <summary>Wraps standard output. A failed write ends the command with <see cref="ExitCode.OutputNotWritten"/>.</summary>
internal sealed class ResultStream(OutputStream inner) : OutputStream
{
    public override void Write(ReadOnlySpan<byte> buffer)
    {
        try
        {
            inner.Write(buffer);
        }
        catch (IOException e) when (e is not BrokenPipeException)
        {
            throw new CliException(ExitCode.OutputNotWritten, $"Standard output cannot be written: {e.Message}. The output is not complete.");
        }
    }
}

/// <summary>Wraps standard error. A failed write is ignored, because losing a message is better than losing rows.</summary>
internal sealed class MessageStream(OutputStream inner) : OutputStream
{
    public override void Write(ReadOnlySpan<byte> buffer)
    {
        try
        {
            inner.Write(buffer);
        }
        catch (IOException)
        {
            // There is no other stream to report to.
        }
    }
}
