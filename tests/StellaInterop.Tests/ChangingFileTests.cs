using System.Diagnostics;
using StellaInterop.ModelFiles;
using StellaInterop.Tests.Serving;

namespace StellaInterop.Tests;

/// <summary>
/// Another process writes the weights while they are loaded. The loads run in a child process, because a failure could end
/// the process.
/// </summary>
internal sealed class ChangingFileTests
{
    private const string Weights = StellaModelFiles.WeightsFileName;

    private static readonly TimeSpan Timeout = TimeSpan.FromMinutes(2);

    /// <summary>Shows that the default load mode copies the file: reading a mapped file would end the process with SIGBUS.</summary>
    [Test]
    public void A_file_truncated_and_rewritten_during_a_load_causes_an_error_or_the_right_vector()
    {
        Assert.That(new StellaModelOptions().LoadMode, Is.EqualTo(StellaLoadMode.Copied));
        using TemporaryFolder folder = Fixtures.Copy("tiny-new");
        byte[] content = File.ReadAllBytes(folder.File(Weights));
        int keep = 0;
        LoadWhileChanging(folder, () =>
        {
            using FileStream file = new(folder.File(Weights), FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite, bufferSize: 0);
            // The step has no common divisor with the length, so the cuts reach every part of the file.
            keep = (keep + 700_001) % content.Length;
            file.SetLength(keep);
            file.Position = keep;
            file.Write(content.AsSpan(keep));
            // Leaves time for a whole load between two changes now and then.
            Thread.Sleep(3);
        });
    }

    /// <summary>Uses a manifest, because the times of a file are too coarse to reveal every change.</summary>
    [Test]
    public void A_file_overwritten_or_replaced_during_a_load_causes_an_error_or_the_right_vector()
    {
        using TemporaryFolder folder = Fixtures.Copy("tiny-new");
        StellaManifest.Create(folder.Path).Save(folder.File(StellaManifest.FileName));
        byte[] content = File.ReadAllBytes(folder.File(Weights));
        byte[] other = [.. content];
        // Valid weights with other values: only the hash reveals the change.
        other.AsSpan(content.Length - 100_000, 50_000).CopyTo(other.AsSpan(content.Length - 50_000));
        bool replace = false;
        LoadWhileChanging(folder, () =>
        {
            replace = !replace;
            foreach (byte[] bytes in new[] { other, content })
            {
                if (replace)
                {
                    File.WriteAllBytes(folder.File("next"), bytes);
                    TryMove(folder.File("next"), folder.File(Weights));
                }
                else
                {
                    using FileStream file = new(folder.File(Weights), FileMode.Open, FileAccess.Write, FileShare.ReadWrite, bufferSize: 0);
                    file.Write(bytes);
                }
            }

            Thread.Sleep(5);
        });
    }

    /// <summary>The old file lives as long as its mapping, or Windows refuses to replace it.</summary>
    [Test]
    public void A_mapped_model_keeps_its_vectors_if_its_file_is_replaced_and_frees_the_file_at_the_end()
    {
        using TemporaryFolder folder = Fixtures.Copy("tiny-new");
        File.WriteAllBytes(folder.File("next"), [.. File.ReadAllBytes(folder.File(Weights)).Reverse()]);
        using (StellaModel model = StellaModel.Load(folder.Path, new StellaModelOptions { LoadMode = StellaLoadMode.Mapped, Dimension = 256 }))
        {
            float[] before = model.Embed("river");
            Assert.That(TryMove(folder.File("next"), folder.File(Weights)) || OperatingSystem.IsWindows());
            Assert.That(model.Embed("river"), Is.EqualTo(before));
        }

        File.WriteAllText(folder.File("last"), "");
        Assert.That(TryMove(folder.File("last"), folder.File(Weights)));
    }

    /// <summary>Replaces a file and returns whether the system allows it. Windows does not if a load has the file open.</summary>
    private static bool TryMove(string from, string to)
    {
        try
        {
            File.Move(from, to, overwrite: true);
            return true;
        }
        catch (UnauthorizedAccessException) when (OperatingSystem.IsWindows())
        {
            return false;
        }
    }

    private static void LoadWhileChanging(TemporaryFolder folder, Action change)
    {
        using Process child = ChildProgram.Start(ChildProgram.RepeatLoads, folder.Path, nameof(StellaLoadMode.Copied), "200");
        Task<string> output = child.StandardOutput.ReadToEndAsync();
        Task<string> error = child.StandardError.ReadToEndAsync();
        long start = Stopwatch.GetTimestamp();
        while (!child.HasExited)
        {
            change();
            if (Stopwatch.GetElapsedTime(start) > Timeout)
            {
                child.Kill();
                Assert.Fail("the child process did not end in time");
            }
        }

        child.WaitForExit();
        Assert.That(child.ExitCode, Is.Zero, error.Result);
        int[] counts = [.. output.Result.Split(' ').Select(int.Parse)];
        TestContext.Out.WriteLine($"{counts[0]} loads succeeded, {counts[1]} were refused, {counts[2]} of them because the file changed during the load");
        Assert.That(counts, Has.All.GreaterThan(0), "loads that succeeded, loads that were refused, and files that changed during the load");
    }
}
