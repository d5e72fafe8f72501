using System.Text.Json;
using StellaInterop.Server.Embedding;
using StellaInterop.Server.Fields;
using StellaInterop.Server.Models;

namespace StellaInterop.Server.Protocols;

/// <summary>Writes the tokens of texts as Text Embeddings Inference does: one array for each text. Not thread-safe.</summary>
internal sealed class TeiTokenWriter(Utf8JsonWriter json, Vocabulary vocabulary, bool hasSpecialTokens)
{
    /// <summary>The position up to which <see cref="characters"/> counts.</summary>
    private int passed;
    private int characters;

    /// <summary>Writes the next tokens of a text.</summary>
    public void Write(TokenPart part)
    {
        if (part.Start == 0)
        {
            json.WriteStartArray();
            (passed, characters) = (0, 0);
        }

        for (int i = 0; i < part.Ids.Length; i++)
        {
            Write(part, part.Ids.Span[i], part.Offsets.Span[i]);
        }

        if (part.IsLast)
        {
            json.WriteEndArray();
        }
    }

    private void Write(TokenPart part, int id, StellaTokenOffset offset)
    {
        // The token of an unknown word comes from the text, so it is not special.
        bool isSpecial = offset.IsEmpty && vocabulary.IsSpecial(id);
        if (isSpecial && !hasSpecialTokens)
        {
            return;
        }

        json.WriteStartObject();
        json.WriteNumber("id", id);
        if (offset.IsEmpty)
        {
            json.WriteString("text", vocabulary.GetToken(id));
            json.WriteBoolean("special", isSpecial);
            json.WriteNull("start");
            json.WriteNull("stop");
        }
        else
        {
            (int start, int end) = (part.Start + offset.Start, part.Start + offset.End);
            json.WriteString("text", part.Text.AsSpan(start..end));
            json.WriteBoolean("special", isSpecial);
            // The protocol counts characters and not UTF-16 units.
            characters += Characters.Count(part.Text.AsSpan(Math.Min(passed, start)..start));
            passed = start;
            json.WriteNumber("start", characters);
            json.WriteNumber("stop", characters + Characters.Count(part.Text.AsSpan(start..end)));
        }

        json.WriteEndObject();
    }
}
