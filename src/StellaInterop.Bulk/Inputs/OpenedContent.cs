namespace StellaInterop.Bulk.Inputs;

/// <summary>Hands an opened content over to a reader.</summary>
internal static class OpenedContent
{
    /// <summary>Returns the reader, or disposes the content if the reader cannot be created.</summary>
    public static T Use<T>(IDisposable content, Func<T> create)
    {
        try
        {
            return create();
        }
        catch
        {
            content.Dispose();
            throw;
        }
    }
}
