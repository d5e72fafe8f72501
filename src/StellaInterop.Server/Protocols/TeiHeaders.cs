using System.Globalization;
using Microsoft.AspNetCore.Http;
using StellaInterop.Server.Embedding;

namespace StellaInterop.Server.Protocols;

/// <summary>Sets the headers of Text Embeddings Inference about the computation: counts, and times in whole milliseconds.</summary>
/// <remarks>
/// Headers precede an answer that is written while it is computed, so the times end with its first byte. A count or time that is not known by then
/// has no header: a client that adds up counts must not get a part of one.
/// </remarks>
internal static class TeiHeaders
{
    public static void Set(IHeaderDictionary headers, RequestReport report)
    {
        headers["x-compute-type"] = "cpu";
        SetNumber("x-compute-time", report.Elapsed.TotalMilliseconds);
        SetNumber("x-compute-characters", report.CharacterCount);
        SetNumber("x-compute-tokens", report.HasAllTokens ? report.TokenCount : null);
        SetNumber("x-total-time", report.Elapsed.TotalMilliseconds);
        SetNumber("x-tokenization-time", report.TokenizeTime?.TotalMilliseconds);
        SetNumber("x-queue-time", report.QueueTime?.TotalMilliseconds);
        SetNumber("x-inference-time", report.EmbedTime.TotalMilliseconds);

        void SetNumber(string name, double? value)
        {
            if (value is { } number)
            {
                headers[name] = ((long)number).ToString(CultureInfo.InvariantCulture);
            }
        }
    }
}
