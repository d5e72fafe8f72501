namespace StellaInterop.Samples.FolderSearch;

/// <summary>Wraps a reader and computes the line numbers of characters. It forgets line ends that it no longer needs.</summary>
internal sealed class LineCounter(TextReader reader) : TextReader
{
    /// <summary>The positions after the line ends that were read but not counted yet.</summary>
    private readonly Queue<long> ends = new();
    private long position;
    private int line = 1;

    /// <inheritdoc/>
    public override int Read(char[] buffer, int index, int count)
    {
        int read = reader.Read(buffer, index, count);
        for (int i = 0; i < read; i++)
        {
            if (buffer[index + i] == '\n')
            {
                ends.Enqueue(position + i + 1);
            }
        }

        position += read;
        return read;
    }

    /// <summary>Returns the line of a character, from 1. Calls must be in the order of the characters.</summary>
    public int GetLine(long character)
    {
        while (ends.TryPeek(out long end) && end <= character)
        {
            ends.Dequeue();
            line++;
        }

        return line;
    }
}
