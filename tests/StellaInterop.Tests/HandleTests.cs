using StellaInterop.Interop;
using StellaInterop.ModelFiles;
using StellaInterop.Tests.Serving;
using StellaInterop.Threading;

namespace StellaInterop.Tests;

/// <summary>Models and sessions can be disposed in any order without a crash or a leaked native handle.</summary>
[NonParallelizable]
internal sealed class HandleTests
{
    private const string Text = "the river runs under the old stone bridge";

    private int[] before = [];

    [SetUp]
    public void CountHandles()
    {
        StellaModel.Load(Fixtures.Model("tiny-new")).Dispose();
        before = Live();
    }

    [TearDown]
    public void AssertNoHandleIsLeft()
    {
        WaitForBaseline();
        Assert.That(Live(), Is.EqualTo(before), "live models, sessions, log sinks, errors and hashes");
    }

    [Test]
    public void Dispose_can_be_called_twice_and_later_calls_throw_ObjectDisposedException()
    {
        StellaModel model = StellaModel.Load(Fixtures.Model("tiny-new"));
        _ = model.Embed(Text);
        model.Dispose();
        model.Dispose();
        Assert.Multiple(() =>
        {
            Assert.That(() => model.Embed(Text), Throws.TypeOf<ObjectDisposedException>());
            Assert.That(() => model.Embed([Text], new float[1024]), Throws.TypeOf<ObjectDisposedException>());
            Assert.That(() => model.Tokenize(Text), Throws.TypeOf<ObjectDisposedException>());
            Assert.That(model.Info.HiddenSize, Is.EqualTo(64));
        });
    }

    [Test]
    public void A_session_keeps_its_model_alive_after_the_model_handle_is_disposed()
    {
        ModelHandle handle = Open();
        var session = new SessionHandle(handle, default(NativeSessionOptions) with { size = 12, threads = 1 });
        handle.Dispose();
        Assert.That(Live()[0], Is.EqualTo(before[0] + 1), "a session keeps its model alive");
        session.Dispose();
        Assert.That(Live()[0], Is.EqualTo(before[0]));
    }

    [Test]
    public void A_session_that_fails_to_start_releases_its_model()
    {
        ModelHandle handle = Open();
        Assert.That(
            () => new SessionHandle(handle, default(NativeSessionOptions) with { size = 12, threads = 4096 }),
            Throws.TypeOf<StellaOptionException>());
        handle.Dispose();
        Assert.That(Live()[0], Is.EqualTo(before[0]));
    }

    [Test]
    public void Dispose_lets_running_calls_finish()
    {
        string[] texts = [.. Enumerable.Repeat(string.Join(' ', Enumerable.Repeat(Text, 10)), 16)];
        for (int round = 0; round < 5; round++)
        {
            StellaModel model = StellaModel.Load(Fixtures.Model("tiny-new"), new StellaModelOptions { Threads = 1 });
            using var started = new CountdownEvent(4);
            int finished = 0, refused = 0;
            var callers = Enumerable.Range(0, 4).Select(_ => new Thread(() =>
            {
                float[] vectors = new float[texts.Length * 1024];
                started.Signal();
                try
                {
                    model.Embed(texts, vectors);
                    if (Math.Abs(Vectors.Norm(vectors.AsSpan(^1024..)) - 1) < 1e-5)
                    {
                        Interlocked.Increment(ref finished);
                    }
                }
                catch (ObjectDisposedException)
                {
                    Interlocked.Increment(ref refused);
                }
            })).ToArray();
            Array.ForEach(callers, caller => caller.Start());
            started.Wait();
            Thread.Sleep(5 * round);
            model.Dispose();
            Array.ForEach(callers, caller => caller.Join());
            Assert.That(finished + refused, Is.EqualTo(4));
        }
    }

    [Test]
    public void Hashing_leaves_no_native_handle()
    {
        _ = StellaManifest.Create(Fixtures.Model("tiny-new"));
        Assert.That(
            () => StellaManifest.Create(Fixtures.Model("tiny-new"), null, new CancellationToken(canceled: true)),
            Throws.InstanceOf<OperationCanceledException>());
        Assert.That(Live(), Is.EqualTo(before), "handles are freed without a garbage collection");
    }

    [Test]
    public void A_failed_load_leaves_no_native_handle()
    {
        using TemporaryFolder folder = Fixtures.Copy("tiny-new");
        File.WriteAllText(folder.File("tokenizer.json"), "{");
        for (int i = 0; i < 5; i++)
        {
            Assert.That(() => StellaModel.Load(folder.Path), Throws.TypeOf<StellaTokenizerException>());
        }
    }

    [Test]
    public void A_model_that_is_never_disposed_is_freed_by_its_finalizer()
    {
        Abandon();
        WaitForBaseline();
        Assert.That(Live(), Is.EqualTo(before));
    }

    [System.Runtime.CompilerServices.MethodImpl(System.Runtime.CompilerServices.MethodImplOptions.NoInlining)]
    private static void Abandon() => _ = StellaModel.Load(Fixtures.Model("tiny-new")).Embed(Text);

    private static unsafe ModelHandle Open()
    {
        byte[] path = System.Text.Encoding.UTF8.GetBytes(Fixtures.Model("tiny-new"));
        NativeModel* model;
        fixed (byte* pointer = path)
        {
            NativeErrors.ThrowIfFailed(NativeMethods.stella_model_open(pointer, (nuint)path.Length, null, null, &model));
        }

        return new ModelHandle(model);
    }

    private void WaitForBaseline()
    {
        // Finalizers and the threads of a session take some time to end.
        for (int i = 0; i < 200 && !Live().SequenceEqual(before); i++)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
            Thread.Sleep(10);
        }
    }

    private static int[] Live() => [.. Enumerable.Range(0, 5).Select(kind => (int)NativeMethods.stella_live_handles((uint)kind))];
}
