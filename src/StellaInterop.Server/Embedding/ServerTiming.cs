using System.Globalization;
using System.Text;
using Microsoft.AspNetCore.Http;

namespace StellaInterop.Server.Embedding;

/// <summary>Writes the header with the times until the first byte of an answer, in milliseconds.</summary>
internal static class ServerTiming
{
    public const string Header = "Server-Timing";

    /// <summary>Sets the header: parsing, load, and the phases of the route.</summary>
    public static void Set(HttpResponse response, RequestReport report, params ReadOnlySpan<(string Name, TimeSpan Time)> phases)
    {
        var text = new StringBuilder();
        _ = text.Append(CultureInfo.InvariantCulture, $"parse;dur={report.ParseTime.TotalMilliseconds:0.###}, load;dur={report.LoadTime.TotalMilliseconds:0.###}");
        foreach ((string name, TimeSpan time) in phases)
        {
            _ = text.Append(CultureInfo.InvariantCulture, $", {name};dur={time.TotalMilliseconds:0.###}");
        }

        response.Headers[Header] = text.ToString();
    }
}
