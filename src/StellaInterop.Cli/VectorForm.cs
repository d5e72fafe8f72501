using System.CommandLine;
using System.Text.Json;
using StellaInterop.Vectors;

namespace StellaInterop.Cli;

/// <summary>The type of the numbers of a vector.</summary>
internal enum OutputType
{
    /// <summary>As the model gives them.</summary>
    Float32,

    /// <summary>16-bit floating point.</summary>
    Half,

    /// <summary>8-bit integers and their scale.</summary>
    Int8,

    /// <summary>Packed sign bits.</summary>
    Binary,
}

/// <summary>--output-type and --truncate-prefix.</summary>
internal sealed class VectorForm
{
    private readonly Choice<OutputType> type = new(
        "--output-type",
        "The type of a vector's numbers.",
        ("float32", OutputType.Float32),
        ("half", OutputType.Half),
        ("int8", OutputType.Int8),
        ("binary", OutputType.Binary));

    public VectorForm(Command command)
    {
        command.Add(type.Option);
        command.Add(Prefix);
    }

    public Option<int?> Prefix { get; } = new("--truncate-prefix")
    {
        Description =
            "Keep the first N numbers of a vector and scale them to length 1 again. This is not the model's own vector of "
            + "that dimension: --dimension is, and is better where the model has one.",
        HelpName = "N",
    };

    /// <summary>How to write the vectors of a model.</summary>
    public VectorWriter Read(ParseResult parsed, StellaModelInfo model)
    {
        int dimension = model.DefaultDimension;
        int kept = parsed.GetValue(Prefix) ?? dimension;
        return kept >= 1 && kept <= dimension
            ? new VectorWriter(type.Get(parsed), dimension, kept)
            : throw new CliException(ExitCode.Usage, $"--truncate-prefix is {kept}; the vectors have {dimension} numbers, so it must be 1 to {dimension}");
    }
}

/// <summary>Writes vectors of one dimension in one form.</summary>
/// <param name="type">The type of the numbers.</param>
/// <param name="dimension">Numbers of a vector.</param>
/// <param name="kept">Numbers of it that are written.</param>
internal sealed class VectorWriter(OutputType type, int dimension, int kept)
{
    private readonly float[] prefix = new float[kept];
    private readonly Half[] halves = new Half[kept];
    private readonly sbyte[] integers = new sbyte[kept];
    private readonly byte[] bits = new byte[Quantization.GetBinaryLength(kept)];

    /// <summary>Writes the property embedding, and what its form needs before it.</summary>
    public void Write(Utf8JsonWriter json, int index, ReadOnlySpan<float> vector)
    {
        try
        {
            if (kept < dimension)
            {
                PrefixTruncation.TruncateAndRenormalize(vector, prefix);
                vector = prefix;
            }

            WriteAs(json, vector);
        }
        catch (ArgumentException e)
        {
            // Raw vectors may be beyond a Half, and the beginning of a vector may be zero.
            throw new CliException(ExitCode.Usage, $"the vector of text {index} cannot be written in this form: {e.Message}");
        }
    }

    private void WriteAs(Utf8JsonWriter json, ReadOnlySpan<float> vector)
    {
        switch (type)
        {
            case OutputType.Float32:
                // The shortest decimal that reads back as the same 32 bits.
                WriteEmbedding(json, vector, static (writer, x) => writer.WriteNumberValue(x));
                break;
            case OutputType.Half:
                Quantization.ToHalf(vector, halves);
                WriteEmbedding<Half>(json, halves, static (writer, x) => writer.WriteNumberValue((float)x));
                break;
            case OutputType.Int8:
                json.WriteNumber("scale", Quantization.ToInt8(vector, integers));
                WriteEmbedding<sbyte>(json, integers, static (writer, x) => writer.WriteNumberValue(x));
                break;
            default:
                Quantization.ToBinary(vector, bits);
                json.WriteNumber("dimension", vector.Length);
                WriteEmbedding<byte>(json, bits, static (writer, x) => writer.WriteNumberValue(x));
                break;
        }
    }

    private static void WriteEmbedding<T>(Utf8JsonWriter json, ReadOnlySpan<T> numbers, Action<Utf8JsonWriter, T> write)
    {
        json.WriteStartArray("embedding");
        foreach (T x in numbers)
        {
            write(json, x);
        }

        json.WriteEndArray();
    }
}
