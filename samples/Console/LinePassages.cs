namespace StellaInterop.Samples.SemanticGrep;

/// <summary>Splits lines into passages that fit the model. No line is held in memory as a whole.</summary>
internal static class LinePassages
{
    /// <summary>Returns the passages of all lines, in order. A blank line has no passage.</summary>
    public static IEnumerable<string> Read(TextReader reader, StellaTextSplitter splitter)
    {
        while (reader.Peek() >= 0)
        {
            using var line = new LineReader(reader);
            foreach (StellaPassage passage in splitter.Split(line))
            {
                yield return passage.Text;
            }
        }
    }

    /// <summary>Reads one line of a reader, and ends there.</summary>
    private sealed class LineReader(TextReader reader) : TextReader
    {
        private bool ended;

        public override int Read(char[] buffer, int index, int count)
        {
            int length = 0;
            while (length < count && !ended)
            {
                int next = reader.Read();
                ended = next is < 0 or '\n';
                if (!ended)
                {
                    buffer[index + length++] = (char)next;
                }
            }

            return length;
        }
    }
}
