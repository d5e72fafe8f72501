using System.Text.Json;

namespace StellaInterop.Server.Fields;

/// <summary>Compares the names of fields.</summary>
internal static class FieldName
{
    /// <summary>Returns whether the name on which a reader stands is the given one.</summary>
    public static bool Is(ref Utf8JsonReader reader, ReadOnlySpan<char> name)
    {
        try
        {
            return reader.ValueTextEquals(name);
        }
        catch (InvalidOperationException)
        {
            // No field has a name with a surrogate that lacks its partner.
            return false;
        }
    }
}
