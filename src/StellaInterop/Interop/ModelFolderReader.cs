using System.Text;
using Microsoft.Extensions.Logging;

namespace StellaInterop.Interop;

/// <summary>Opens models and estimates their memory: the native calls that read a model folder.</summary>
internal static unsafe class ModelFolderReader
{
    /// <summary>Loads a model. Blocks for the load.</summary>
    public static ModelHandle Open(string path, StellaModelOptions options)
    {
        NativeLibraryLoader.EnsureLoaded();
        using LogSinkHandle? sink =
            options.LoggerFactory is { } factory ? NativeLog.CreateSink(factory.CreateLogger(NativeLog.Category)) : null;
        byte[] utf8 = Encoding.UTF8.GetBytes(path);
        byte[] manifest = Encoding.UTF8.GetBytes(options.ManifestPath ?? string.Empty);
        NativeModel* model;
        fixed (byte* pathPointer = utf8, manifestPointer = manifest)
        {
            NativeModelOptions native = ToNative(options, manifestPointer, manifest.Length);
            NativeErrors.ThrowIfFailed(NativeMethods.stella_model_open(
                pathPointer, (nuint)utf8.Length, &native, (NativeLogSink*)(sink?.DangerousGetHandle() ?? 0), &model));
        }

        return new ModelHandle(model);
    }

    /// <summary>Estimates the memory of a model from its configuration and the headers of its files.</summary>
    public static StellaMemoryEstimate EstimateMemory(string path, StellaModelOptions options, StellaWorkload workload)
    {
        NativeLibraryLoader.EnsureLoaded();
        byte[] utf8 = Encoding.UTF8.GetBytes(path);
        byte[] manifest = Encoding.UTF8.GetBytes(options.ManifestPath ?? string.Empty);
        var nativeWorkload = new NativeWorkload
        {
            size = (uint)sizeof(NativeWorkload),
            sessions = (uint)workload.Sessions,
            threads = (uint)(workload.Threads ?? options.Threads ?? 0),
            max_batch_tokens = (uint)workload.MaxBatchTokens,
        };
        var estimate = new NativeMemoryEstimate { size = (uint)sizeof(NativeMemoryEstimate) };
        fixed (byte* pathPointer = utf8, manifestPointer = manifest)
        {
            NativeModelOptions native = ToNative(options, manifestPointer, manifest.Length);
            NativeErrors.ThrowIfFailed(
                NativeMethods.stella_model_estimate(pathPointer, (nuint)utf8.Length, &native, &nativeWorkload, &estimate));
        }

        return new StellaMemoryEstimate
        {
            WeightsBytes = checked((long)estimate.weights),
            TokenizerBytes = checked((long)estimate.tokenizer),
            LoadingBytes = checked((long)estimate.loading),
            SessionBytes = checked((long)estimate.session),
            TotalBytes = checked((long)estimate.total),
        };
    }

    private static NativeModelOptions ToNative(StellaModelOptions options, byte* manifest, int manifestLength) => new()
    {
        size = (uint)sizeof(NativeModelOptions),
        precision = (uint)options.Precision,
        max_tokens = (uint)(options.MaxTokens ?? 0),
        dimension = (uint)(options.Dimension ?? 0),
        load_mode = (uint)options.LoadMode,
        unchecked_weights = options.CheckWeights ? 0u : 1u,
        encoder = (uint)options.Encoder,
        manifest = manifest,
        manifest_length = (nuint)manifestLength,
    };
}
