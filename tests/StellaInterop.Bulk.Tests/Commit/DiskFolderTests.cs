using System.Text;
using StellaInterop.Bulk.Commit;
using StellaInterop.Tests;

namespace StellaInterop.Bulk.Tests.Commit;

internal sealed class DiskFolderTests
{
    [Test]
    public void A_name_is_given_once()
    {
        using var temporary = new TemporaryFolder();
        using DiskFolder folder = Open(temporary);
        Assert.That(Publish(folder, "part", "first"), Is.True);
        Assert.That(Publish(folder, "part", "second"), Is.False);
        Assert.That(File.ReadAllText(temporary.File("out/part")), Is.EqualTo("first"));
        Assert.That(Directory.GetFiles(temporary.File("out/_tmp")).Where(file => !file.EndsWith(".lock", StringComparison.Ordinal)), Is.Empty);
    }

    [Test]
    public void Of_many_writers_of_a_name_one_wins()
    {
        using var temporary = new TemporaryFolder();
        using DiskFolder folder = Open(temporary);
        for (int round = 0; round < 50; round++)
        {
            int wins = 0;
            string name = $"part{round}";
            Parallel.For(0, 4, writer => Interlocked.Add(ref wins, Publish(folder, name, $"{writer}") ? 1 : 0));
            Assert.That(wins, Is.EqualTo(1));
        }
    }

    [Test]
    public void A_file_gets_another_name_unless_the_name_is_taken()
    {
        using var temporary = new TemporaryFolder();
        using DiskFolder folder = Open(temporary);
        Assert.That(folder.TryRename("first", "name"), Is.False, "there is no file");
        Assert.That(Publish(folder, "first", "first") && Publish(folder, "second", "second"), Is.True);
        Assert.That(folder.TryRename("first", "name"), Is.True);
        Assert.That(folder.TryRename("second", "name"), Is.False);
        Assert.That((File.ReadAllText(temporary.File("out/name")), File.ReadAllText(temporary.File("out/second"))), Is.EqualTo(("first", "second")));
        folder.Delete("first");
        folder.Delete("first");
        Assert.That(File.Exists(temporary.File("out/first")), Is.False);
    }

    [Test]
    public void Replace_takes_the_place_of_a_file()
    {
        using var temporary = new TemporaryFolder();
        using DiskFolder folder = Open(temporary);
        Assert.That(Publish(folder, "name", "old"), Is.True);
        using (ITemporaryFile file = folder.CreateTemporary())
        {
            file.Content.Write("new"u8);
            file.Flush();
            folder.Replace(file, "name");
        }

        folder.FlushFolder("");
        Assert.That(File.ReadAllText(temporary.File("out/name")), Is.EqualTo("new"));
    }

    [Test]
    public void Many_writers_replace_a_file_that_others_read()
    {
        using var temporary = new TemporaryFolder();
        using DiskFolder folder = Open(temporary);
        Assert.That(Publish(folder, "name", "content 0"), Is.True);
        Parallel.For(1, 200, writer =>
        {
            using (ITemporaryFile file = folder.CreateTemporary())
            {
                file.Content.Write(Encoding.UTF8.GetBytes($"content {writer % 10}"));
                file.Flush();
                folder.Replace(file, "name");
            }

            using var reader = new StreamReader(folder.OpenRead("name"));
            Assert.That(reader.ReadToEnd(), Does.Match("^content [0-9]$"));
        });
    }

    [Test]
    public void Files_of_ended_processes_are_deleted_and_those_of_running_ones_kept()
    {
        using var temporary = new TemporaryFolder();
        using DiskFolder running = Open(temporary);
        using ITemporaryFile inUse = running.CreateTemporary();
        File.WriteAllText(temporary.File("out/_tmp/dead.lock"), "");
        File.WriteAllText(temporary.File("out/_tmp/dead-1"), "rest");
        File.WriteAllText(temporary.File("out/_tmp/unlocked-1"), "rest");
        Directory.CreateDirectory(temporary.File("out/_tmp/unlocked-2"));
        File.WriteAllText(temporary.File("out/_tmp/unlocked-2/file"), "rest");
        File.WriteAllText(temporary.File("out/_tmp/.nfs1"), "of the system");
        using (DiskFolder other = Open(temporary))
        {
            other.DeleteAbandoned();
        }

        Assert.That(Directory.GetFileSystemEntries(temporary.File("out/_tmp")), Has.Length.EqualTo(3));
        inUse.Content.Write("x"u8);
        inUse.Flush();
        Assert.That(running.TryPublish(inUse, "part"), Is.True);
    }

    [Test]
    [Platform(Exclude = "Win", Reason = "Windows has no shared locks.")]
    public void Files_behind_any_lock_are_kept()
    {
        using var temporary = new TemporaryFolder();
        using DiskFolder folder = Open(temporary);
        File.WriteAllText(temporary.File("out/_tmp/live.lock"), "");
        File.WriteAllText(temporary.File("out/_tmp/live-1"), "in use");
        // Network file systems have no shared locks, so a process that asks for one would find every other process ended.
        using var shared = new FileStream(temporary.File("out/_tmp/live.lock"), FileMode.Open, FileAccess.Read, FileShare.Read);
        folder.DeleteAbandoned();
        Assert.That(File.Exists(temporary.File("out/_tmp/live-1")), Is.True);
    }

    [Test]
    public void A_disposed_folder_leaves_no_temporary_files()
    {
        using var temporary = new TemporaryFolder();
        using (DiskFolder folder = Open(temporary))
        {
            using ITemporaryFile file = folder.CreateTemporary();
            file.Content.Write(Encoding.UTF8.GetBytes(new string('x', 1_000_000)));
        }

        Assert.That(Directory.GetFiles(temporary.File("out/_tmp")), Is.Empty);
    }

    [Test]
    public void All_files_of_a_folder_disappear_in_one_step()
    {
        using var temporary = new TemporaryFolder();
        using DiskFolder folder = Open(temporary);
        for (int round = 0; round < 20; round++)
        {
            folder.CreateFolder("marks");
            for (int mark = 0; mark < 50; mark++)
            {
                _ = Publish(folder, $"marks/{mark}", "ended");
            }

            using var start = new Barrier(2);
            var writer = Task.Run(() =>
            {
                start.SignalAndWait();
                while (true)
                {
                    for (int mark = 0; mark < 50; mark++)
                    {
                        try
                        {
                            if (Publish(folder, $"marks/{mark}", "late"))
                            {
                                return "A late writer found a name free.";
                            }
                        }
                        catch (IOException)
                        {
                            return null;
                        }
                    }
                }
            });
            start.SignalAndWait();
            folder.DeleteFolder("marks");
            folder.DeleteFolder("marks");
            Assert.That(writer.Result, Is.Null);
        }

        Assert.That(Directory.GetDirectories(temporary.File("out/_tmp")), Is.Empty);
    }

    [Test]
    public void A_missing_folder_is_empty()
    {
        using var temporary = new TemporaryFolder();
        using var folder = new DiskFolder(temporary.File("missing"));
        Assert.That(folder.List(""), Is.Empty);
        Assert.That(folder.Exists("_manifest.json"), Is.False);
        Assert.That(Directory.Exists(temporary.File("missing")), Is.False);
    }

    private static DiskFolder Open(TemporaryFolder temporary)
    {
        var folder = new DiskFolder(temporary.File("out"));
        folder.CreateFolder("");
        folder.CreateFolder(OutputNames.TemporaryFolder);
        return folder;
    }

    private static bool Publish(DiskFolder folder, string name, string content)
    {
        using ITemporaryFile file = folder.CreateTemporary();
        file.Content.Write(Encoding.UTF8.GetBytes(content));
        file.Flush();
        return folder.TryPublish(file, name);
    }
}
