using System.Diagnostics.CodeAnalysis;

namespace StellaInterop.Samples.FileQueue;

/// <summary>
/// Jobs as files. A job is in one folder at a time and is moved by renaming, which the system does wholly or not at all, so that
/// it survives a process that is killed. A folder has one worker, which holds a lock on it.
/// </summary>
internal sealed class JobFolder : IDisposable
{
    private readonly FileStream claim;
    private readonly string incoming;
    private readonly string work;
    private readonly string outgoing;
    private readonly string failed;

    public JobFolder(string folder)
    {
        (incoming, work, outgoing, failed) =
            (Make(folder, "in"), Make(folder, "work"), Make(folder, "out"), Make(folder, "failed"));
        claim = new FileStream(Path.Combine(folder, "lock"), FileMode.OpenOrCreate, FileAccess.Write, FileShare.None);
    }

    /// <summary>Lets go of the folder.</summary>
    public void Dispose() => claim.Dispose();

    /// <summary>Puts jobs back that a process before this one took and did not end.</summary>
    public int TakeBack()
    {
        string[] left = Directory.GetFiles(work, "*.txt");
        foreach (string job in left)
        {
            File.Move(job, Path.Combine(incoming, Path.GetFileName(job)));
        }

        return left.Length;
    }

    /// <summary>Takes the first job by name, if there is one.</summary>
    public bool TryTake([NotNullWhen(true)] out string? job)
    {
        job = null;
        if (Directory.EnumerateFiles(incoming, "*.txt").Order(StringComparer.Ordinal).FirstOrDefault() is { } file)
        {
            job = Path.Combine(work, Path.GetFileName(file));
            File.Move(file, job);
        }

        return job is not null;
    }

    /// <summary>Where the rows of a job are written while it lasts.</summary>
    public static string Draft(string job) => Path.ChangeExtension(job, ".jsonl");

    /// <summary>Hands the rows out, and ends the job.</summary>
    public void Finish(string job)
    {
        File.Move(Draft(job), Path.Combine(outgoing, Path.GetFileName(Draft(job))), overwrite: true);
        File.Delete(job);
    }

    /// <summary>Sets a job aside, with the reason beside it.</summary>
    public void Fail(string job, string reason)
    {
        string aside = Path.Combine(failed, Path.GetFileName(job));
        File.WriteAllText(Path.ChangeExtension(aside, ".error"), reason + Environment.NewLine);
        File.Move(job, aside, overwrite: true);
        File.Delete(Draft(job));
    }

    /// <summary>Gives a job back that was not ended, for another time.</summary>
    public void Return(string job)
    {
        File.Delete(Draft(job));
        File.Move(job, Path.Combine(incoming, Path.GetFileName(job)));
    }

    private static string Make(string folder, string name) => Directory.CreateDirectory(Path.Combine(folder, name)).FullName;
}
