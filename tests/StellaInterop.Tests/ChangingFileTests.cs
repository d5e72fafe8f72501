using System.Diagnostics;
using StellaInterop.ModelFiles;
using StellaInterop.Tests.Serving;

namespace StellaInterop.Tests;

/// <summary>
/// Weights that another process writes while they are loaded. The loads run in a child, because what they must not do is
/// end their process.
/// </summary>
internal sealed class ChangingFileTests
{
    private const string Weights = StellaModelFiles.WeightsFileName;

    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(2);

    /// <summary>A map would be SIGBUS here: that the mode which is the default copies is what this shows.</summary>
    [Test]
    public void A_file_that_is_cut_and_written_again_gives_an_error_or_the_right_vector()
    {
        Assert.That(new StellaModelOptions().LoadMode, Is.EqualTo(StellaLoadMode.Copied));
        using TemporaryFolder folder = Tree.Copy("tiny-new");
        byte[] content = File.ReadAllBytes(folder.File(Weights));
        int keep = 0;
        Loads(folder, () =>
        {
            using FileStream file = new(folder.File(Weights), FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite, bufferSize: 0);
            // A step that has no divisor in common with the length comes everywhere.
            keep = (keep + 700_001) % content.Length;
            file.SetLength(keep);
            file.Position = keep;
            file.Write(content.AsSpan(keep));
            // So that a whole load falls between two changes now and then.
            Thread.Sleep(3);
        });
    }

    /// <summary>The manifest is what makes it certain: times of files are too coarse to tell every change.</summary>
    [Test]
    public void A_file_that_is_overwritten_or_replaced_gives_an_error_or_the_right_vector()
    {
        using TemporaryFolder folder = Tree.Copy("tiny-new");
        StellaManifest.Create(folder.Path).Save(folder.File(StellaManifest.FileName));
        byte[] content = File.ReadAllBytes(folder.File(Weights));
        byte[] other = [.. content];
        // Sound numbers, and others: without a second look nothing would tell.
        other.AsSpan(content.Length - 100_000, 50_000).CopyTo(other.AsSpan(content.Length - 50_000));
        bool replace = false;
        Loads(folder, () =>
        {
            replace = !replace;
            foreach (byte[] bytes in new[] { other, content })
            {
                if (replace)
                {
                    File.WriteAllBytes(folder.File("next"), bytes);
                    File.Move(folder.File("next"), folder.File(Weights), overwrite: true);
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

    private static void Loads(TemporaryFolder folder, Action change)
    {
        using Process child = ChildProgram.Start(ChildProgram.LoadAgain, folder.Path, nameof(StellaLoadMode.Copied), "200");
        Task<string> output = child.StandardOutput.ReadToEndAsync();
        Task<string> error = child.StandardError.ReadToEndAsync();
        long start = Stopwatch.GetTimestamp();
        while (!child.HasExited)
        {
            change();
            if (Stopwatch.GetElapsedTime(start) > Patience)
            {
                child.Kill();
                Assert.Fail("the child hangs");
            }
        }

        child.WaitForExit();
        Assert.That(child.ExitCode, Is.Zero, error.Result);
        int[] met = [.. output.Result.Split(' ').Select(int.Parse)];
        TestContext.Out.WriteLine($"{met[0]} good, {met[1]} refused, {met[2]} of them while they were loaded");
        Assert.That(met, Has.All.GreaterThan(0), "good ones, refused ones, and some that changed between the header and the end");
    }
}
