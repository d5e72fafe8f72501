namespace StellaInterop.Samples.SemanticGrep;

/// <summary>Keeps the texts with the highest scores. Among equal scores, it keeps the earlier texts.</summary>
internal sealed class BestMatches(int count)
{
    private readonly PriorityQueue<string, (float Score, long Order)> worstFirst = new();
    private long added;

    /// <summary>Gets whether a text was added.</summary>
    public bool Any => added > 0;

    /// <summary>Adds texts with their scores.</summary>
    public void Add(ReadOnlySpan<string> texts, ReadOnlySpan<float> scores)
    {
        for (int i = 0; i < texts.Length; i++)
        {
            worstFirst.Enqueue(texts[i], (scores[i], -added++));
            if (worstFirst.Count > count)
            {
                worstFirst.Dequeue();
            }
        }
    }

    /// <summary>Returns the texts, best first.</summary>
    public IEnumerable<(float Score, string Text)> GetBestFirst() => worstFirst.UnorderedItems
        .OrderByDescending(item => item.Priority)
        .Select(item => (item.Priority.Score, item.Element));
}
