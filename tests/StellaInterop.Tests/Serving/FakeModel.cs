using StellaInterop.Interop;
using StellaInterop.Serving;

namespace StellaInterop.Tests.Serving;

/// <summary>
/// A model whose tokens and vectors are plain functions of the text, and which does what a test tells it: holds a forward,
/// fails, loads slowly. Counts what is made and freed, and notices what a pool must never do.
/// </summary>
internal sealed class FakeModel : IPoolModelSource
{
    public const int DefaultDimension = 4;
    public const int OtherDimension = 8;

    private int loads;
    private int models;
    private int sessions;
    private int sessionsMade;
    private int forwards;

    public string Name => "fake";

    /// <summary>Tokens of the prompt before every text; they carry nothing into the vector.</summary>
    public int PromptTokens { get; set; }

    /// <summary>The characters that every character of a text becomes, as a normalizer may do: tokens that no estimate foresees.</summary>
    public int Expansion { get; set; } = 1;

    /// <summary>Heads beside the two usual ones.</summary>
    public int[] MoreDimensions { get; set; } = [];

    /// <summary>Tokens that a text of the next load may have.</summary>
    public int MaxTokens { get; set; } = PoolOf.MaxTokens;

    /// <summary>The files that the next load finds.</summary>
    public ulong FileStamp { get; set; }

    /// <summary>Before a load; what it throws is the load's error.</summary>
    public Action OnLoad { get; set; } = () => { };

    /// <summary>Before a session is made, with its number from 1.</summary>
    public Action<int> OnSession { get; set; } = _ => { };

    /// <summary>In a forward, with the texts of the batch; what it throws is the forward's error.</summary>
    public Action<FakeBatch> OnForward { get; set; } = _ => { };

    /// <summary>The same with the form of the vectors.</summary>
    public Action<FakeBatch, VectorKind> OnForwardOf { get; set; } = (_, _) => { };

    /// <summary>The fingerprint, of every model; what it throws is the error of that.</summary>
    public Func<string> OnFingerprint { get; set; } = () => "fake";

    public int Loads => Volatile.Read(ref loads);

    public int Models => Volatile.Read(ref models);

    public int Sessions => Volatile.Read(ref sessions);

    public int SessionsMade => Volatile.Read(ref sessionsMade);

    public int Forwards => Volatile.Read(ref forwards);

    /// <summary>What a pool did that it must not do.</summary>
    public string? Offence { get; private set; }

    /// <summary>Its memory: weights, tokenizer, loading, a session, and the total.</summary>
    public StellaMemoryEstimate Memory { get; set; } =
        new() { WeightsBytes = 1000, TokenizerBytes = 10, LoadingBytes = 100, SessionBytes = 50, TotalBytes = 1160 };

    /// <summary>After a session is freed; what it throws is the error of that.</summary>
    public Action OnSessionDispose { get; set; } = () => { };

    /// <summary>Before a model is freed; what it throws is the error of that.</summary>
    public Action OnDispose { get; set; } = () => { };

    public StellaMemoryEstimate Estimate(int threads, int batchTokens) => Memory;

    public IPoolModel Load()
    {
        Interlocked.Increment(ref loads);
        OnLoad();
        Interlocked.Increment(ref models);
        return new Loaded(this);
    }

    /// <summary>The vector of a text.</summary>
    public static float[] Vector(string text, StellaPrompt prompt = default, int dimension = DefaultDimension)
    {
        float[] row = new float[dimension];
        Fill(Ids(text, prompt, ModelLimits.MaxTextTokens), row);
        return row;
    }

    /// <summary>The first id tells the prompt; those of the prompt's own tokens are zero and skipped everywhere.</summary>
    private static uint[] Ids(string text, StellaPrompt prompt, int maxTokens, int promptTokens = 0, int expansion = 1) =>
    [
        .. text.SelectMany(c => Enumerable.Repeat((uint)c, expansion))
            .Prepend(1000u + Number(prompt))
            .Concat(Enumerable.Repeat(0u, promptTokens))
            .Take(maxTokens),
    ];

    private static uint Number(StellaPrompt prompt) => prompt.Name switch
    {
        null or "document" => 0,
        "s2p" => 1,
        "s2s" => 2,
        string name => throw new StellaOptionException(StellaErrorCode.UnknownPrompt, $"the model has no prompt {name}"),
    };

    private static void Fill(ReadOnlySpan<uint> ids, Span<float> row)
    {
        uint hash = 17;
        foreach (uint id in ids)
        {
            hash = id == 0 ? hash : (hash * 31) + id;
        }

        for (int i = 0; i < row.Length; i++)
        {
            row[i] = (hash % 65_521) + i;
        }
    }

    private void Offend(string what) => Offence ??= what;

    private sealed class Loaded(FakeModel fake) : IPoolModel
    {
        private bool disposed;

        public StellaModelInfo Info { get; } = new()
        {
            Path = "fake",
            Name = "fake",
            Architecture = StellaArchitecture.NewModel,
            Dimensions = [DefaultDimension, OtherDimension, .. fake.MoreDimensions],
            FrameTokens = 1,
            PoolingMode = StellaPoolingMode.Mean,
            IncludesPrompt = true,
            Prompts =
            [
                .. new[] { StellaPrompt.Document, StellaPrompt.SearchQuery, StellaPrompt.SentenceSimilarity }.Select(prompt =>
                    new StellaPromptInfo { Name = prompt.Name!, Text = "", TokenCount = fake.PromptTokens, IsFromModelCard = false }),
            ],
            DefaultPrompt = StellaPrompt.Document.Name,
            FileStamp = fake.FileStamp,
            DefaultDimension = DefaultDimension,
            HiddenSize = 4,
            LayerCount = 1,
            AttentionHeadCount = 1,
            VocabularySize = 1,
            ParameterCount = 1,
            Precision = StellaPrecision.Float32,
            Encoder = StellaEncoder.Kernels,
            CpuLevel = StellaCpuLevel.Portable,
            Device = StellaDevice.Cpu,
            MaxTokens = fake.MaxTokens,
            MemoryEstimateBytes = 1,
        };

        public void Tokenize(ReadOnlySpan<string> texts, int firstText, StellaEmbedOptions options, Span<TokenizedText> tokens)
        {
            for (int i = 0; i < texts.Length; i++)
            {
                string? text = texts[i];
                if (text is null || text.StartsWith("bad", StringComparison.Ordinal))
                {
                    throw new StellaInputException(StellaErrorCode.TextNotUnicode, $"text {firstText + i} is bad", firstText + i);
                }

                int total = (text.Length * fake.Expansion) + 1 + fake.PromptTokens;
                if (total > Info.MaxTokens && options.LongTextBehavior == StellaLongTextBehavior.Error)
                {
                    throw new StellaInputException(StellaErrorCode.TextTooLong, $"text {firstText + i} is long", firstText + i);
                }

                uint[] ids = Ids(text, options.Prompt, Info.MaxTokens, fake.PromptTokens, fake.Expansion);
                tokens[i] = new TokenizedText(
                    ids, new StellaTokenCount { Kept = ids.Length, Total = total, Truncation = total > ids.Length ? StellaTruncation.Tokens : StellaTruncation.None });
            }
        }

        public string GetFingerprint(int? dimension)
        {
            ObjectDisposedException.ThrowIf(disposed, this);
            return fake.OnFingerprint();
        }

        public IPoolSession StartSession(int threads, int batchTokens)
        {
            if (disposed)
            {
                fake.Offend("a session was started on a disposed model");
            }

            if (batchTokens < Info.MaxTokens)
            {
                fake.Offend($"a session for {batchTokens} tokens, and a text has up to {Info.MaxTokens}");
            }

            fake.OnSession(Interlocked.Increment(ref fake.sessionsMade));
            Interlocked.Increment(ref fake.sessions);
            return new Session(fake, batchTokens);
        }

        public void Dispose()
        {
            if (disposed)
            {
                fake.Offend("a model was disposed twice");
            }

            disposed = true;
            Interlocked.Decrement(ref fake.models);
            fake.OnDispose();
        }
    }

    private sealed class Session(FakeModel fake, int batchTokens) : IPoolSession
    {
        private int inUse;
        private bool disposed;
        private bool broken;

        public void Embed(TokenBatch tokens, VectorKind kind, uint[] cancelFlag, Span<float> rows)
        {
            ReadOnlySpan<uint> ids = tokens.Ids;
            ReadOnlySpan<uint> cuSeqlens = tokens.CuSeqlens;
            if (Interlocked.Exchange(ref inUse, 1) != 0)
            {
                fake.Offend("two calls on a session at once");
            }

            if (disposed || broken)
            {
                fake.Offend("a call on a session that is disposed or broken");
            }

            if (ids.Length > batchTokens || ids.Length != cuSeqlens[^1] || rows.Length != (cuSeqlens.Length - 1) * kind.Dimension)
            {
                fake.Offend($"a batch of {ids.Length} tokens, {cuSeqlens.Length - 1} texts and {rows.Length} numbers");
            }

            Interlocked.Increment(ref fake.forwards);
            try
            {
                string[] texts = new string[cuSeqlens.Length - 1];
                for (int i = 0; i < texts.Length; i++)
                {
                    ReadOnlySpan<uint> text = ids[(int)cuSeqlens[i]..(int)cuSeqlens[i + 1]];
                    Fill(text, rows.Slice(i * kind.Dimension, kind.Dimension));
                    texts[i] = string.Concat(text[1..].ToArray().Where(id => id != 0).Select(id => (char)id));
                }

                var batch = new FakeBatch(texts, ids.Length, cancelFlag);
                fake.OnForwardOf(batch, kind);
                fake.OnForward(batch);
            }
            catch (StellaException e) when (e.Code == StellaErrorCode.Panic)
            {
                broken = true;
                throw;
            }
            finally
            {
                Volatile.Write(ref inUse, 0);
            }
        }

        public void Dispose()
        {
            if (disposed || Volatile.Read(ref inUse) != 0)
            {
                fake.Offend("a session was disposed twice or in a call");
            }

            disposed = true;
            Interlocked.Decrement(ref fake.sessions);
            fake.OnSessionDispose();
        }
    }
}

/// <summary>What a forward of the fake model sees.</summary>
internal sealed record FakeBatch(string[] Texts, int Tokens, uint[] CancelFlag)
{
    public bool IsCancelled => Volatile.Read(ref CancelFlag[0]) != 0;
}

/// <summary>Stops forwards, or whatever passes, until it is opened.</summary>
internal sealed class Gate : IDisposable
{
    private readonly ManualResetEventSlim open = new();
    private readonly SemaphoreSlim arrived = new(0);

    /// <summary>Says that somebody is here, and waits.</summary>
    public void Pass()
    {
        arrived.Release();
        Wait.Until(open);
    }

    /// <summary>The same, but for a forward that is stopped, as native code does at its next layer.</summary>
    public void Pass(FakeBatch batch)
    {
        arrived.Release();
        while (!open.Wait(1))
        {
            if (batch.IsCancelled)
            {
                throw new OperationCanceledException("stopped");
            }
        }
    }

    /// <summary>Waits for the next one who is here.</summary>
    public async Task ArrivedAsync() => Assert.That(await arrived.WaitAsync(Wait.Limit), "nobody came");

    public void Open() => open.Set();

    public void Dispose()
    {
        open.Set();
        open.Dispose();
        arrived.Dispose();
    }
}

/// <summary>Waiting for what must come. The limit only ends a test that failed.</summary>
internal static class Wait
{
    public static TimeSpan Limit { get; } = TimeSpan.FromSeconds(60);

    public static void Until(ManualResetEventSlim signal) => Assert.That(signal.Wait(Limit), "the signal did not come");

    public static async Task UntilAsync(Func<bool> condition, string what)
    {
        using var limit = new CancellationTokenSource(Limit);
        while (!condition())
        {
            Assert.That(limit.IsCancellationRequested, Is.False, what);
            await Task.Delay(1);
        }
    }
}

/// <summary>Pools over the fake model.</summary>
internal static class PoolOf
{
    /// <summary>Tokens that a text of the fake may have.</summary>
    public const int MaxTokens = 100;

    public static StellaPoolOptions Options => new()
    {
        Model = new StellaModelOptions { MaxTokens = MaxTokens, Threads = 1 },
        MaxBatchTokens = 100,
        MaxWorkers = 1,
        // Far beyond what the fake says it takes, whatever the machine has.
        Governor = new StellaMemoryGovernor(new StellaMemoryGovernorOptions { LimitBytes = long.MaxValue }),
    };

    public static StellaEmbeddingPool Fake(FakeModel model, StellaPoolOptions? options = null) => new(model, options ?? Options);

    /// <summary>Disposes the pool, and looks whether everything is back where it was.</summary>
    public static async Task AllIsBackAsync(StellaEmbeddingPool pool, FakeModel model)
    {
        await pool.DisposeAsync();
        StellaPoolHealth health = pool.GetHealth();
        Assert.Multiple(() =>
        {
            Assert.That(model.Offence, Is.Null);
            Assert.That((model.Models, model.Sessions), Is.EqualTo((0, 0)), "models and sessions that are left");
            Assert.That((health.QueuedCallCount, health.QueuedTokenCount, health.QueueFill), Is.EqualTo((0, 0L, 0.0)));
            Assert.That(health.WorkerCount, Is.Zero);
        });
    }
}
