using Microsoft.AspNetCore.Http;

namespace StellaInterop.Server.Keys;

/// <summary>Reads the key of a request.</summary>
internal static class RequestKey
{
    /// <summary>Returns the key in a header: that of OpenAI, or that of Azure; an empty string without a key.</summary>
    public static string Of(HttpRequest request)
    {
        const string Scheme = "Bearer ";
        string authorization = request.Headers.Authorization.ToString();
        return authorization.StartsWith(Scheme, StringComparison.OrdinalIgnoreCase)
            ? authorization[Scheme.Length..].Trim()
            : request.Headers["api-key"].ToString();
    }
}
