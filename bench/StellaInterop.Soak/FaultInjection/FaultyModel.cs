using System.Collections.Concurrent;
using System.Diagnostics;
using StellaInterop.Interop;
using StellaInterop.Serving;

namespace StellaInterop.Soak.FaultInjection;

/// <summary>Wraps the real model, injects the faults of a scenario, and adds the defect that <c>control</c> plants.</summary>
/// <param name="inner">The model.</param>
/// <param name="faults">The injected faults.</param>
/// <param name="defect">The planted defect.</param>
/// <param name="leaked">Receives the sessions that the planted defect does not free.</param>
/// <param name="seed">Seed of the random numbers.</param>
internal sealed class FaultyModel(
    IPoolModelSource inner, Faults faults, Defect defect, ConcurrentBag<IPoolSession> leaked, int seed) : IPoolModelSource
{
    /// <summary>Number of forward passes that fail after that of a poisonous text, if the defect is that faults spread.</summary>
    private const int SpreadFaults = 8;

    private readonly Random random = new(seed);
    private int faultsLeft;

    public string Name => inner.Name;

    /// <summary>Gets an action that runs at the beginning of each load. The load fails with its error.</summary>
    public Action BeforeLoad { get; init; } = static () => { };

    /// <summary>Gets an action that receives the number of tokens and the seconds of each forward pass.</summary>
    public Action<int, double> Forwarded { get; init; } = static (_, _) => { };

    public StellaMemoryEstimate Estimate(int threads, int batchTokens) => inner.Estimate(threads, batchTokens);

    public IPoolModel Load()
    {
        BeforeLoad();
        return new Model(this, inner.Load());
    }

    private void Leak(IPoolSession session) => leaked.Add(session);

    private bool Chance(int oneIn)
    {
        lock (random)
        {
            return oneIn > 0 && random.Next(oneIn) == 0;
        }
    }

    private sealed class Model : IPoolModel
    {
        private readonly FaultyModel owner;
        private readonly IPoolModel model;
        private readonly uint[][] poison;

        public Model(FaultyModel owner, IPoolModel model)
        {
            this.owner = owner;
            this.model = model;
            var tokens = new TokenizedText[Poison.Texts.Count];
            model.Tokenize(Poison.Texts.ToArray(), 0, StellaEmbedOptions.Default, tokens);
            poison = [.. tokens.Select(text => text.Ids.ToArray())];
        }

        public StellaModelInfo Info => owner.Defect.HidesFileStamp ? model.Info with { FileStamp = 0 } : model.Info;

        public void Tokenize(ReadOnlySpan<string> texts, int firstText, StellaEmbedOptions options, Span<TokenizedText> tokens)
        {
            StellaEmbedOptions effective = owner.Defect.DropsPrompts ? options with { Prompt = StellaPrompt.Document } : options;
            model.Tokenize(texts, firstText, effective, tokens);
            if (owner.Defect.SwapsTexts && tokens.Length > 1)
            {
                (tokens[0], tokens[1]) = (tokens[1], tokens[0]);
            }
        }

        public string GetFingerprint(int? dimension) => model.GetFingerprint(dimension);

        public IPoolSession StartSession(int threads, int batchTokens) =>
            new Session(owner, model.StartSession(threads, batchTokens), poison);

        public void Dispose() => model.Dispose();
    }

    private sealed class Session(FaultyModel owner, IPoolSession session, uint[][] poison) : IPoolSession
    {
        public void Embed(TokenBatch batch, VectorKind kind, uint[] cancelFlag, Span<float> rows)
        {
            Faults faults = owner.Faults;
            if (owner.Chance(faults.PanicOneIn))
            {
                throw new StellaException(StellaErrorCode.Panic, Poison.Panic);
            }

            for (int i = 0; i < batch.CuSeqlens.Length - 1; i++)
            {
                if (owner.Chance(faults.FaultyTextOneIn))
                {
                    throw new StellaInputException(StellaErrorCode.ResultNotFinite, Poison.Named, i);
                }
            }

            if (faults.Poisonous)
            {
                ThrowIfPoisonous(batch.Ids, batch.CuSeqlens, kind);
            }

            if (owner.Chance(faults.SlowOneIn))
            {
                Thread.Sleep(faults.SlowFor);
            }

            long begin = Stopwatch.GetTimestamp();
            session.Embed(batch, kind, cancelFlag, rows);
            owner.Forwarded(batch.Ids.Length, Stopwatch.GetElapsedTime(begin).TotalSeconds);
            if (owner.Chance(owner.Defect.WrongOneIn))
            {
                rows[0] += 1e-3f;
            }
        }

        public void Dispose()
        {
            if (owner.Defect.LeaksSessions)
            {
                owner.Leak(session);
                return;
            }

            session.Dispose();
        }

        private void ThrowIfPoisonous(ReadOnlySpan<uint> ids, ReadOnlySpan<uint> cuSeqlens, VectorKind kind)
        {
            Heads heads = kind.Heads;
            if (heads.Dimensions.Contains((uint)owner.Faults.MissingHead))
            {
                throw new StellaModelFolderException(StellaErrorCode.ModelFileMissing, Poison.Head);
            }

            for (int i = 0; i < cuSeqlens.Length - 1; i++)
            {
                ReadOnlySpan<uint> text = ids[(int)cuSeqlens[i]..(int)cuSeqlens[i + 1]];
                for (int kindIndex = 0; kindIndex < poison.Length; kindIndex++)
                {
                    if (text.SequenceEqual(poison[kindIndex]))
                    {
                        owner.faultsLeft = owner.Defect.SpreadsFaults ? SpreadFaults : 0;
                        throw Poison.ErrorOf(kindIndex, i);
                    }
                }
            }

            if (owner.faultsLeft > 0)
            {
                owner.faultsLeft--;
                throw new StellaException(StellaErrorCode.ForwardFailed, Poison.Unnamed);
            }
        }
    }

    private Faults Faults => faults;

    private Defect Defect => defect;
}
