using System.Text;

namespace StellaInterop.Interop;

/// <summary>Reads the properties of a loaded model.</summary>
internal static unsafe class ModelInfoReader
{
    /// <summary>Reads the properties of a model.</summary>
    /// <param name="handle">The model.</param>
    /// <param name="path">The folder that the model was loaded from.</param>
    /// <param name="name">The display name.</param>
    public static StellaModelInfo Read(ModelHandle handle, string path, string name)
    {
        using var lease = new HandleLease(handle);
        var model = (NativeModel*)lease.Value;
        var info = new NativeModelInfo { size = (uint)sizeof(NativeModelInfo) };
        NativeErrors.ThrowIfFailed(NativeMethods.stella_model_info(model, &info));

        uint[] dimensions = new uint[info.dimension_count];
        nuint count;
        fixed (uint* pointer = dimensions)
        {
            NativeErrors.ThrowIfFailed(
                NativeMethods.stella_model_dimensions(model, pointer, (nuint)dimensions.Length, &count));
        }

        var prompts = new StellaPromptInfo[info.prompt_count];
        for (uint i = 0; i < prompts.Length; i++)
        {
            prompts[i] = PromptOf(model, i + 1);
        }

        return new StellaModelInfo
        {
            Path = path,
            Name = name,
            Architecture = (StellaArchitecture)info.architecture,
            Dimensions = Array.AsReadOnly(Array.ConvertAll(dimensions, dimension => (int)dimension)),
            DefaultDimension = (int)info.default_dimension,
            HiddenSize = (int)info.hidden_size,
            LayerCount = (int)info.layers,
            AttentionHeadCount = (int)info.heads,
            VocabularySize = (int)info.vocabulary_size,
            ParameterCount = (long)info.parameters,
            Precision = (StellaPrecision)info.precision,
            Encoder = (StellaEncoder)info.encoder,
            CpuLevel = (StellaCpuLevel)info.cpu_level,
            Device = (StellaDevice)info.device,
            MaxTokens = (int)info.max_tokens,
            MemoryEstimateBytes = (long)info.memory_estimate,
            FrameTokens = (int)info.frame_tokens,
            PoolingMode = (StellaPoolingMode)info.pooling,
            IncludesPrompt = info.leaves_prompt_out == 0,
            Prompts = Array.AsReadOnly(prompts),
            DefaultPrompt = info.default_prompt == 0 ? null : prompts[(int)info.default_prompt - 1].Name,
            MaxTextBytes = (long)info.max_text_bytes,
            FileStamp = info.file_stamp,
        };
    }

    private static StellaPromptInfo PromptOf(NativeModel* model, uint number)
    {
        var info = new NativePromptInfo { size = (uint)sizeof(NativePromptInfo) };
        NativeErrors.ThrowIfFailed(NativeMethods.stella_model_prompt(model, number, &info));
        return new StellaPromptInfo
        {
            Name = Encoding.UTF8.GetString(info.name, (int)info.name_length),
            Text = Encoding.UTF8.GetString(info.text, (int)info.text_length),
            TokenCount = (int)info.tokens,
            IsFromModelCard = info.from_card != 0,
        };
    }
}
