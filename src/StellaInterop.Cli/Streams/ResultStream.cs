namespace StellaInterop.Cli.Streams;

/// <summary>Standard output: an error ends the command, with an exit code of its own.</summary>
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

/// <summary>Standard error: losing a message is better than losing rows, so an error is passed over.</summary>
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
            // Nobody can be told.
        }
    }
}
