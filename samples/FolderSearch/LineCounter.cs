namespace StellaInterop.Samples.FolderSearch;

/// <summary>Passes a text on and remembers where its lines end, until it is asked about later ones.</summary>
internal sealed class LineCounter(TextReader reader) : TextReader
{
    /// <summary>Positions after the line ends that were read and not yet counted.</summary>
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

    /// <summary>Returns the line of a character, from 1. The characters must be asked for in order.</summary>
    public int LineAt(long character)
    {
        while (ends.TryPeek(out long end) && end <= character)
        {
            ends.Dequeue();
            line++;
        }

        return line;
    }
}
