using System.Runtime.InteropServices;

namespace StellaInterop.Bench.Synthetic;

/// <summary>
/// The linear weights of the layers in the form that the int8 graph for ONNX Runtime reads: [in, out], symmetric, one scale per
/// output. Each tensor and its scales begin at a multiple of 64 bytes.
/// </summary>
/// <param name="linears">The tensors [out, in], in the order of the file.</param>
internal sealed class Int8Weights(IReadOnlyList<SyntheticTensor> linears)
{
    private const int Alignment = 64;
    private const float Largest = 127;

    /// <summary>Number of rows that one thread quantizes at a time: one cache line of the result.</summary>
    private const int Rows = 64;

    /// <summary>Writes the file by calling <paramref name="write"/> for one part after another.</summary>
    public void Write(Action<ReadOnlyMemory<byte>> write, CancellationToken cancellationToken)
    {
        long position = 0;
        byte[] zeros = new byte[Alignment];
        void WriteAligned(byte[] part)
        {
            int gap = (int)(-position & (Alignment - 1));
            write(zeros.AsMemory(0, gap));
            write(part);
            position += gap + part.Length;
        }

        foreach (SyntheticTensor linear in linears)
        {
            cancellationToken.ThrowIfCancellationRequested();
            var (weights, scales) = Quantize(linear);
            WriteAligned(weights);
            WriteAligned(scales);
        }
    }

    /// <summary>Quantizes a tensor. Returns the transposed weights, and the scales as bytes.</summary>
    internal static (byte[] Weights, byte[] Scales) Quantize(SyntheticTensor linear)
    {
        int outputs = linear.Shape[0], inputs = linear.Shape[1];
        byte[] weights = new byte[linear.Count];
        byte[] scales = new byte[outputs * sizeof(float)];
        Parallel.For(0, (outputs + Rows - 1) / Rows, () => new float[inputs], (block, _, row) =>
        {
            int end = Math.Min(outputs, (block + 1) * Rows);
            for (int output = block * Rows; output < end; output++)
            {
                linear.Fill((long)output * inputs, row);
                float scale = 0;
                foreach (float weight in row)
                {
                    scale = Math.Max(scale, Math.Abs(weight));
                }

                // A row of zeros needs a scale above zero.
                scale = Math.Max(scale, 1e-30f) / Largest;
                MemoryMarshal.Cast<byte, float>(scales.AsSpan())[output] = scale;
                for (int input = 0; input < inputs; input++)
                {
                    float rounded = MathF.Round(row[input] / scale, MidpointRounding.ToEven);
                    weights[((long)input * outputs) + output] = (byte)(sbyte)Math.Clamp(rounded, -Largest, Largest);
                }
            }

            return row;
        }, _ => { });
        return (weights, scales);
    }
}
