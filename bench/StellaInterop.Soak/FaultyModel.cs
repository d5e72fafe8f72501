using StellaInterop.Pooling;

namespace StellaInterop.Soak;

/// <summary>The real model, made to fail now and then.</summary>
internal sealed class FaultyModel(IPoolModelSource inner, Faults faults, int seed) : IPoolModelSource
{
    private readonly Random random = new(seed);

    public string Name => inner.Name;

    /// <summary>Sessions that a defect keeps from being freed.</summary>
    public List<IPoolSession> Leaked { get; } = [];

    public StellaMemoryEstimate Estimate(int threads, int batchTokens) => inner.Estimate(threads, batchTokens);

    public IPoolModel Load() => new Model(this, inner.Load());

    private bool Chance(int oneIn)
    {
        lock (random)
        {
            return oneIn > 0 && random.Next(oneIn) == 0;
        }
    }

    private sealed class Model(FaultyModel owner, IPoolModel model) : IPoolModel
    {
        public StellaModelInfo Info => model.Info;

        public void Tokenize(ReadOnlySpan<string> texts, int firstText, StellaEmbedOptions options, Span<TokenizedText> tokens) =>
            model.Tokenize(texts, firstText, options, tokens);

        public IPoolSession StartSession(int threads, int batchTokens) => new Session(owner, model.StartSession(threads, batchTokens));

        public void Dispose() => model.Dispose();
    }

    private sealed class Session(FaultyModel owner, IPoolSession session) : IPoolSession
    {
        public void Embed(
            ReadOnlySpan<uint> ids, ReadOnlySpan<uint> cuSeqlens, VectorKind kind, uint[] cancelFlag, Span<float> rows)
        {
            Faults faults = owner.Faults;
            if (owner.Chance(faults.PanicOneIn))
            {
                throw new StellaException(StellaErrorCode.Panic, "a panic that was made");
            }

            for (int i = 0; i < cuSeqlens.Length - 1; i++)
            {
                if (owner.Chance(faults.GuiltyOneIn))
                {
                    throw new StellaInputException(StellaErrorCode.ResultNotFinite, "a vector that is not finite was made", i);
                }
            }

            if (owner.Chance(faults.SlowOneIn))
            {
                Thread.Sleep(faults.SlowFor);
            }

            session.Embed(ids, cuSeqlens, kind, cancelFlag, rows);
            if (owner.Chance(faults.WrongOneIn))
            {
                rows[0] += 1e-3f;
            }
        }

        public void Dispose()
        {
            if (owner.Faults.LeaksSessions)
            {
                owner.Leaked.Add(session);
                return;
            }

            session.Dispose();
        }
    }

    private Faults Faults => faults;
}
