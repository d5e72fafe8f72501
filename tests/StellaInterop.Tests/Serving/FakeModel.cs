using StellaInterop.Interop;
using StellaInterop.Serving;

namespace StellaInterop.Tests.Serving;

/// <summary>
/// A model whose token ids and vectors are simple functions of the text. A test can make its loads and forward passes block or fail. The
/// model counts its loads, sessions and forward passes, and records violations of its contract.
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

    /// <summary>The number of tokens of the prompt before every text. They do not change the vector.</summary>
    public int PromptTokens { get; set; }

    /// <summary>The number of tokens per character. Above 1, a text has more tokens than the pool estimates, as after normalization.</summary>
    public int Expansion { get; set; } = 1;

    /// <summary>The dimensions of heads besides the two default heads.</summary>
    public int[] MoreDimensions { get; set; } = [];

    /// <summary>The token limit of a text, from the next load on.</summary>
    public int MaxTokens { get; set; } = TestPool.MaxTokens;

    /// <summary>The file stamp of the next load.</summary>
    public ulong FileStamp { get; set; }

    /// <summary>Runs before a load. An exception fails the load.</summary>
    public Action OnLoad { get; set; } = () => { };

    /// <summary>Runs before a session is made, with the number of the session from 1. An exception fails the session.</summary>
    public Action<int> OnSession { get; set; } = _ => { };

    /// <summary>Runs in a forward pass, with the texts of the batch. An exception fails the forward pass.</summary>
    public Action<FakeBatch> OnForward { get; set; } = _ => { };

    /// <summary>Runs in a forward pass like <see cref="OnForward"/>, also with the form of the vectors.</summary>
    public Action<FakeBatch, VectorKind> OnForwardWithKind { get; set; } = (_, _) => { };

    /// <summary>Returns the fingerprint. An exception fails the request.</summary>
    public Func<string> OnFingerprint { get; set; } = () => "fake";

    public int Loads => Volatile.Read(ref loads);

    public int Models => Volatile.Read(ref models);

    public int Sessions => Volatile.Read(ref sessions);

    public int SessionsMade => Volatile.Read(ref sessionsMade);

    public int Forwards => Volatile.Read(ref forwards);

    /// <summary>The first violation of the contract of a model or session; <see langword="null"/> if there was none.</summary>
    public string? Violation { get; private set; }

    /// <summary>Makes the memory that holds the token ids of a text. A test can count the reads of it.</summary>
    public Func<string, uint[], ReadOnlyMemory<uint>> MakeIds { get; set; } = (_, ids) => ids;

    /// <summary>The memory estimate of the model.</summary>
    public StellaMemoryEstimate Memory { get; set; } =
        new() { WeightsBytes = 1000, TokenizerBytes = 10, LoadingBytes = 100, SessionBytes = 50, TotalBytes = 1160 };

    /// <summary>Runs after a session was freed. An exception leaves its Dispose.</summary>
    public Action OnSessionDispose { get; set; } = () => { };

    /// <summary>Runs after a model was freed. An exception leaves its Dispose.</summary>
    public Action OnDispose { get; set; } = () => { };

    public StellaMemoryEstimate Estimate(int threads, int batchTokens) => Memory;

    public IPoolModel Load()
    {
        Interlocked.Increment(ref loads);
        OnLoad();
        Interlocked.Increment(ref models);
        return new FakeLoadedModel(this);
    }

    /// <summary>Returns the vector of a text.</summary>
    public static float[] Vector(string text, StellaPrompt prompt = default, int dimension = DefaultDimension)
    {
        float[] row = new float[dimension];
        Fill(Ids(text, prompt, ModelLimits.MaxTextTokens), row);
        return row;
    }

    /// <summary>Returns the token ids of a text: the number of the prompt, one id per character, and zeros for the tokens of the prompt.</summary>
    private static uint[] Ids(string text, StellaPrompt prompt, int maxTokens, int promptTokens = 0, int expansion = 1) =>
    [
        .. text.SelectMany(c => Enumerable.Repeat((uint)c, expansion))
            .Prepend(1000u + PromptNumber(prompt))
            .Concat(Enumerable.Repeat(0u, promptTokens))
            .Take(maxTokens),
    ];

    private static uint PromptNumber(StellaPrompt prompt) => prompt.Name switch
    {
        null or "document" => 0,
        "s2p" => 1,
        "s2s" => 2,
        string name => throw new StellaOptionException(StellaErrorCode.UnknownPrompt, $"The model has no prompt {name}."),
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

    private void RecordViolation(string violation) => Violation ??= violation;

    private sealed class FakeLoadedModel(FakeModel fake) : IPoolModel
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
                    throw new StellaInputException(StellaErrorCode.TextNotUnicode, $"Text {firstText + i} is bad.", firstText + i);
                }

                int total = (text.Length * fake.Expansion) + 1 + fake.PromptTokens;
                if (total > Info.MaxTokens && options.LongTextBehavior == StellaLongTextBehavior.Error)
                {
                    throw new StellaInputException(StellaErrorCode.TextTooLong, $"Text {firstText + i} is too long.", firstText + i);
                }

                uint[] ids = Ids(text, options.Prompt, Info.MaxTokens, fake.PromptTokens, fake.Expansion);
                tokens[i] = new TokenizedText(
                    fake.MakeIds(text, ids),
                    new StellaTokenCount { Kept = ids.Length, Total = total, Truncation = total > ids.Length ? StellaTruncation.Tokens : StellaTruncation.None });
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
                fake.RecordViolation("a session was started on a disposed model");
            }

            if (batchTokens < Info.MaxTokens)
            {
                fake.RecordViolation($"a session for {batchTokens} tokens was started, but a text has up to {Info.MaxTokens} tokens");
            }

            fake.OnSession(Interlocked.Increment(ref fake.sessionsMade));
            Interlocked.Increment(ref fake.sessions);
            return new FakeSession(fake, batchTokens);
        }

        public void Dispose()
        {
            if (disposed)
            {
                fake.RecordViolation("a model was disposed twice");
            }

            disposed = true;
            Interlocked.Decrement(ref fake.models);
            fake.OnDispose();
        }
    }

    private sealed class FakeSession(FakeModel fake, int batchTokens) : IPoolSession
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
                fake.RecordViolation("a session had two calls at once");
            }

            if (disposed || broken)
            {
                fake.RecordViolation("a disposed or broken session was called");
            }

            if (ids.Length > batchTokens || ids.Length != cuSeqlens[^1] || rows.Length != (cuSeqlens.Length - 1) * kind.RowLength)
            {
                fake.RecordViolation($"the sizes of a batch do not match: {ids.Length} tokens, {cuSeqlens.Length - 1} texts and {rows.Length} numbers");
            }

            Interlocked.Increment(ref fake.forwards);
            try
            {
                string[] texts = new string[cuSeqlens.Length - 1];
                for (int i = 0; i < texts.Length; i++)
                {
                    ReadOnlySpan<uint> text = ids[(int)cuSeqlens[i]..(int)cuSeqlens[i + 1]];
                    Fill(text, rows.Slice(i * kind.RowLength, kind.RowLength));
                    texts[i] = string.Concat(text[1..].ToArray().Where(id => id != 0).Select(id => (char)id));
                }

                var batch = new FakeBatch(texts, ids.Length, cancelFlag);
                fake.OnForwardWithKind(batch, kind);
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
                fake.RecordViolation("a session was disposed twice or during a call");
            }

            disposed = true;
            Interlocked.Decrement(ref fake.sessions);
            fake.OnSessionDispose();
        }
    }
}

/// <summary>The texts of one forward pass of the fake model, and its cancel flag.</summary>
internal sealed record FakeBatch(string[] Texts, int Tokens, uint[] CancelFlag)
{
    public bool IsCancelled => Volatile.Read(ref CancelFlag[0]) != 0;
}
