using System.Diagnostics;
using Microsoft.ML.OnnxRuntime;
using StellaInterop.Bench.Measuring;

namespace StellaInterop.Bench.Engines;

/// <summary>ONNX Runtime on a graph of the model folder. Its tensors of token ids are made before the clock starts.</summary>
internal sealed class OnnxEngine : IEngine
{
    private const string Ids = "input_ids";
    private const string Mask = "attention_mask";

    /// <summary>Batch sizes are tried on every fourth block of sixteen texts, in order of length.</summary>
    private const int TrialBlock = 16;
    private const int TrialStep = 4;

    private readonly InferenceSession session;
    private readonly string output;

    private OnnxEngine(InferenceSession session)
    {
        this.session = session;
        output = session.OutputNames.Single();
    }

    public string Detail => $"ONNX Runtime {OrtEnv.Instance().GetVersionString()}";

    public static IEngine Load(EngineSettings settings, string graph)
    {
        string file = Path.Combine(settings.Folder, graph);
        if (!File.Exists(file))
        {
            throw new EngineUnavailableException($"The folder {settings.Folder} has no {graph}.");
        }

        // Threads spin after a run, which is the default and faster. ProcessIdle waits until they stop.
        using var options = new SessionOptions
        {
            GraphOptimizationLevel = GraphOptimizationLevel.ORT_ENABLE_ALL,
            IntraOpNumThreads = settings.Threads,
            InterOpNumThreads = 1,
            LogSeverityLevel = OrtLoggingLevel.ORT_LOGGING_LEVEL_ERROR,
        };
        return new OnnxEngine(new InferenceSession(file, options));
    }

    public IPreparedWorkload Prepare(Workload workload) => new PreparedWorkload(this, workload, PaddedBatches.Everything);

    public IPreparedWorkload PrepareFastest(Workload workload, Action<string> log, CancellationToken cancellationToken)
    {
        // Blocks of texts with similar lengths need as much padding as batches of all texts would.
        Workload trial = workload.Select(
        [
            .. Enumerable.Range(0, workload.Ids.Length)
                .OrderBy(i => workload.Ids[i].Length)
                .Where((_, rank) => rank / TrialBlock % TrialStep == TrialStep / 2),
        ]);
        var (best, shortest) = (PaddedBatches.Everything, TimeSpan.MaxValue);
        foreach (PaddedBatches batches in PaddedBatches.Candidates)
        {
            using var work = new PreparedWorkload(this, trial, batches);
            var clock = Stopwatch.StartNew();
            work.Run(cancellationToken);
            TimeSpan elapsed = clock.Elapsed;
            log($"{batches}: {trial.Tokens / elapsed.TotalSeconds:F0} tokens/s over {trial.Texts.Length} texts");
            if (elapsed < shortest)
            {
                (best, shortest) = (batches, elapsed);
            }
        }

        return new PreparedWorkload(this, workload, best);
    }

    public void Dispose() => session.Dispose();

    private sealed class PreparedWorkload : IPreparedWorkload
    {
        private readonly OnnxEngine engine;
        private readonly List<Batch> batches;
        private readonly (Batch Batch, int Row)[] rows;

        public PreparedWorkload(OnnxEngine engine, Workload workload, PaddedBatches plan)
        {
            this.engine = engine;
            int dimension = (int)engine.session.OutputMetadata[engine.output].Dimensions[^1];
            IReadOnlyList<int[]> planned = plan.Plan([.. workload.Ids.Select(ids => ids.Length)]);
            batches = [.. planned.Select(texts => new Batch([.. texts.Select(text => workload.Ids[text])], dimension))];
            rows = new (Batch, int)[workload.Ids.Length];
            for (int i = 0; i < planned.Count; i++)
            {
                for (int row = 0; row < planned[i].Length; row++)
                {
                    rows[planned[i][row]] = (batches[i], row);
                }
            }

            Batching = batches.Count == 1 ? string.Empty : plan.ToString();
        }

        public string Batching { get; }

        public void Run(CancellationToken cancellationToken)
        {
            using var options = new RunOptions();
            using CancellationTokenRegistration stop = cancellationToken.Register(() => options.Terminate = true);
            try
            {
                foreach (Batch batch in batches)
                {
                    cancellationToken.ThrowIfCancellationRequested();
                    engine.session.Run(options, [Ids, Mask], [batch.Ids, batch.Mask], [engine.output], [batch.Output]);
                }
            }
            catch (OnnxRuntimeException e) when (cancellationToken.IsCancellationRequested)
            {
                throw new OperationCanceledException(e.Message, e, cancellationToken);
            }
        }

        public ReadOnlySpan<float> Vector(int text)
        {
            var (batch, row) = rows[text];
            return batch.Vector(row);
        }

        public void Dispose() => batches.ForEach(batch => batch.Dispose());
    }

    /// <summary>The input of one call, padded to the longest text, and the memory for its vectors.</summary>
    private sealed class Batch : IDisposable
    {
        private readonly float[] vectors;
        private readonly int dimension;

        public Batch(int[][] texts, int dimension)
        {
            this.dimension = dimension;
            int longest = texts.Max(ids => ids.Length);
            long[] ids = new long[texts.Length * longest];
            long[] mask = new long[ids.Length];
            for (int i = 0; i < texts.Length; i++)
            {
                for (int j = 0; j < texts[i].Length; j++)
                {
                    ids[(i * longest) + j] = texts[i][j];
                    mask[(i * longest) + j] = 1;
                }
            }

            vectors = new float[texts.Length * dimension];
            Ids = OrtValue.CreateTensorValueFromMemory(ids, [texts.Length, longest]);
            Mask = OrtValue.CreateTensorValueFromMemory(mask, [texts.Length, longest]);
            Output = OrtValue.CreateTensorValueFromMemory(vectors, [texts.Length, dimension]);
        }

        public OrtValue Ids { get; }

        public OrtValue Mask { get; }

        public OrtValue Output { get; }

        public ReadOnlySpan<float> Vector(int row) => vectors.AsSpan(row * dimension, dimension);

        public void Dispose()
        {
            Ids.Dispose();
            Mask.Dispose();
            Output.Dispose();
        }
    }
}
