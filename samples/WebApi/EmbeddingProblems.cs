using System.Globalization;
using Microsoft.AspNetCore.Diagnostics;

namespace StellaInterop.Samples.WebApi;

/// <summary>Maps errors of the pool to HTTP status codes, as docs/service.md describes.</summary>
internal sealed class EmbeddingProblems : IExceptionHandler
{
    public async ValueTask<bool> TryHandleAsync(HttpContext httpContext, Exception exception, CancellationToken cancellationToken)
    {
        int? status = exception switch
        {
            StellaOverloadedException => StatusCodes.Status429TooManyRequests,
            StellaTimeoutException => StatusCodes.Status504GatewayTimeout,
            StellaPoolException or StellaMemoryException or StellaThreadException => StatusCodes.Status503ServiceUnavailable,
            StellaInputException => StatusCodes.Status422UnprocessableEntity,
            // The request names another model, or a dimension that the model does not have.
            ArgumentException or StellaException { Code: StellaErrorCode.UnknownDimension } => StatusCodes.Status400BadRequest,
            _ => null,
        };
        if (status is null)
        {
            return false;
        }

        if (exception is StellaPoolException { RetryAfter: { } wait })
        {
            httpContext.Response.Headers.RetryAfter = Math.Max(1, Math.Ceiling(wait.TotalSeconds)).ToString(CultureInfo.InvariantCulture);
        }

        await Results.Problem(exception.Message, statusCode: status).ExecuteAsync(httpContext);
        return true;
    }
}
