using System.Collections.Concurrent;
using System.Diagnostics;
using StellaInterop.Interop;
using StellaInterop.Pooling;

namespace StellaInterop.Soak;

/// <summary>The real model with faults that a scenario asks for and defects that <c>control</c> plants.</summary>
/// <param name="inner">The model.</param>
/// <param name="faults">The faults.</param>
/// <param name="defect">The planted defect.</param>
/// <param name="leaked">Receives the sessions that the defect does not free.</param>
/// <param name="seed">Where chance begins.</param>
internal sealed class FaultyModel(
    IPoolModelSource inner, Faults faults, Defect defect, ConcurrentBag<IPoolSession> leaked, int seed) : IPoolModelSource
{
    /// <summary>Forwards that fail after that of a poisonous text, when the defect is that faults spread.</summary>
    private const int SpreadFaults = 8;

    private readonly Random random = new(seed);
    private int faultsLeft;

    public string Name => inner.Name;

    /// <summary>Runs at the beginning of each load; an error that it throws is the load's.</summary>
    public Action BeforeLoad { get; init; } = static () => { };

    /// <summary>Receives the number of tokens and the seconds of each forward.</summary>
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
            poison = [.. tokens.Select(text => text.Ids)];
        }

        public StellaModelInfo Info => owner.Defect.HidesFileStamp ? model.Info with { FileStamp = 0 } : model.Info;

        public void Tokenize(ReadOnlySpan<string> texts, int firstText, StellaEmbedOptions options, Span<TokenizedText> tokens)
        {
            StellaEmbedOptions asked = owner.Defect.DropsPrompts ? options with { Prompt = StellaPrompt.Document } : options;
            model.Tokenize(texts, firstText, asked, tokens);
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
            if (kind.Dimension == owner.Faults.MissingHead)
            {
                throw new StellaModelFolderException(StellaErrorCode.ModelFileMissing, Poison.Head);
            }

            for (int i = 0; i < cuSeqlens.Length - 1; i++)
            {
                ReadOnlySpan<uint> text = ids[(int)cuSeqlens[i]..(int)cuSeqlens[i + 1]];
                for (int kindOfPoison = 0; kindOfPoison < poison.Length; kindOfPoison++)
                {
                    if (text.SequenceEqual(poison[kindOfPoison]))
                    {
                        owner.faultsLeft = owner.Defect.SpreadsFaults ? SpreadFaults : 0;
                        throw Poison.ErrorOf(kindOfPoison, i);
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

/// <summary>Texts that always fail, each in its way, and the errors that are made on purpose.</summary>
internal static class Poison
{
    public const string Panic = "a panic that was made";
    public const string Named = "a vector that is not finite was made";
    public const string Unnamed = "a failed forward that was made";
    public const string Head = "a missing head that was made";

    /// <summary>Gets the texts: the error of the first names it, that of the second does not, and the third panics.</summary>
    public static IReadOnlyList<string> Texts { get; } = ["a named poison", "an unnamed poison", "a poison that panics"];

    public static StellaException ErrorOf(int text, int index) => text switch
    {
        0 => new StellaInputException(StellaErrorCode.ResultNotFinite, Named, index),
        1 => new StellaException(StellaErrorCode.ForwardFailed, Unnamed),
        _ => new StellaException(StellaErrorCode.Panic, Panic),
    };

    /// <summary>Tells whether an error was made on purpose.</summary>
    public static bool IsInjected(Exception? error) =>
        error is StellaException { Message: Panic or Named or Unnamed or Head } || (error is not null && IsInjected(error.InnerException));
}
