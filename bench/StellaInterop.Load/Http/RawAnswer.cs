using System.Globalization;
using System.Text;

namespace StellaInterop.Load.Http;

/// <summary>An answer as it came over the wire. Its memory belongs to the connection, which uses it again for the next answer.</summary>
/// <param name="Status">The status.</param>
/// <param name="Head">The status line and the headers.</param>
/// <param name="Body">The body, with the framing of its chunks.</param>
internal readonly record struct RawAnswer(int Status, ReadOnlyMemory<byte> Head, ReadOnlyMemory<byte> Body)
{
    /// <summary>Returns the value of a header; <see langword="null"/> if the answer does not have it.</summary>
    public string? Header(string name)
    {
        string head = Encoding.ASCII.GetString(Head.Span);
        int start = head.IndexOf($"\r\n{name}:", StringComparison.OrdinalIgnoreCase);
        if (start < 0)
        {
            return null;
        }

        start += name.Length + 3;
        return head[start..head.IndexOf('\r', start)].Trim();
    }

    /// <summary>Returns a duration of the header <c>Server-Timing</c> in milliseconds.</summary>
    public double? Timing(string name)
    {
        string? part = Header("Server-Timing")?.Split(',', StringSplitOptions.TrimEntries).FirstOrDefault(part => part.StartsWith($"{name};dur=", StringComparison.Ordinal));
        return part is null ? null : double.Parse(part.AsSpan(name.Length + 5), CultureInfo.InvariantCulture);
    }
}
