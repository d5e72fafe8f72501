using System.Text.Json;
using StellaInterop.Server.Errors;

namespace StellaInterop.Server.Http;

/// <summary>The status and the names that a protocol gives to a kind of error.</summary>
/// <param name="Status">The status.</param>
/// <param name="Type">The type in the error object.</param>
/// <param name="Code">The code in the error object, if the protocol has one.</param>
internal readonly record struct ErrorShape(int Status, string Type = "", string? Code = null);

/// <summary>Writes the error object of a protocol.</summary>
internal delegate void WriteError(Utf8JsonWriter json, ServerError error, ErrorShape shape);

/// <summary>Describes a protocol: how it writes errors. Its routes and fields are tables of their own.</summary>
/// <param name="Name">The name for logs, metrics and the API description.</param>
/// <param name="Errors">The shape of each kind of error.</param>
/// <param name="WriteError">Writes an error object.</param>
/// <param name="ErrorSchema">The JSON schema of an error object.</param>
/// <param name="WantsJson">Whether a body with another content type than JSON is refused.</param>
internal sealed record Protocol(string Name, IReadOnlyDictionary<ErrorKind, ErrorShape> Errors, WriteError WriteError, string ErrorSchema, bool WantsJson);
