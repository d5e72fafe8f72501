using System.Text.Json;
using StellaInterop.Bulk.Outputs;
using StellaInterop.Cli.Errors;
using StellaInterop.Vectors;

namespace StellaInterop.Cli.Output;

/// <summary>Writes vectors of one dimension in one number format.</summary>
/// <param name="type">The number format.</param>
/// <param name="dimension">The dimension of the vectors.</param>
/// <param name="kept">The number of leading components that are written.</param>
internal sealed class VectorWriter(OutputType type, int dimension, int kept)
{
    private const string Embedding = "embedding";

    private readonly float[] prefix = new float[kept];
    private readonly VectorJson values = new();

    /// <summary>Writes the property <c>embedding</c>, preceded by the properties that its number format needs.</summary>
    public void Write(Utf8JsonWriter json, int index, ReadOnlySpan<float> vector)
    {
        try
        {
            if (kept < dimension)
            {
                PrefixTruncation.TruncateAndRenormalize(vector, prefix);
                vector = prefix;
            }

            WriteValues(json, vector);
        }
        catch (ArgumentException e)
        {
            // A raw vector may exceed the range of Half, and the prefix of a vector may be zero.
            throw new CliException(ExitCode.Usage, $"The vector of text {index} cannot be written in this number format: {e.Message}");
        }
    }

    private void WriteValues(Utf8JsonWriter json, ReadOnlySpan<float> vector)
    {
        switch (type)
        {
            case OutputType.Float32:
                VectorJson.WriteFloat32(json, Embedding, vector);
                break;
            case OutputType.Half:
                values.WriteHalf(json, Embedding, vector);
                break;
            case OutputType.Int8:
                values.WriteInt8(json, "scale", Embedding, vector);
                break;
            default:
                values.WriteBinary(json, "dimension", Embedding, vector);
                break;
        }
    }
}
