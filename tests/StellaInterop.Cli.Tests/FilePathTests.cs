namespace StellaInterop.Tests;

/// <summary>Tests names of files and files in use, on every system.</summary>
internal sealed class FilePathTests
{
    [Test]
    public void Names_with_blanks_and_letters_of_every_script_are_read_written_and_reported()
    {
        using var folder = new TemporaryFolder();
        const string name = "ein Modell/größe 模型 🎉";
        string model = folder.File(name);
        folder.CopyFrom(Fixtures.Model("tiny-new"), name);
        string texts = folder.File("ein Text ä.txt");
        string manifest = folder.File("Liste ü.json");
        File.WriteAllText(texts, "river\r\nstone\r\n");
        StellaResult embedded = StellaProcess.Run("embed", "--input", texts, "--model", model);
        Assert.That(embedded, Is.EqualTo(StellaProcess.Run("embed", "river", "stone", "--model", Fixtures.Model("tiny-new"))));
        StellaResult made = StellaProcess.Run("manifest", model, "--output", manifest);
        Assert.That((made.ExitCode, made.Output, made.Error), Is.EqualTo((0, manifest + "\n", "")));
        Assert.That(StellaProcess.Run("verify", model, "--manifest", manifest).ExitCode, Is.Zero);
        Assert.That(StellaProcess.Run("info", "--model", model).Output, Does.Contain(model));
        Assert.That(StellaProcess.Run("info", "--model", $"{model} 2").Error, Does.Contain($"{model} 2"));
    }

    [Test]
    public void A_relative_path_and_every_separator_of_the_system_name_the_same_model()
    {
        string model = Fixtures.Model("tiny-new");
        string expected = StellaProcess.Run("embed", "river", "--model", model).Output;
        foreach (string path in new[] { Path.GetRelativePath(Environment.CurrentDirectory, model), model.Replace(Path.DirectorySeparatorChar, Path.AltDirectorySeparatorChar), model + Path.DirectorySeparatorChar })
        {
            StellaResult result = StellaProcess.Run("embed", "river", "--model", path);
            Assert.That((result.ExitCode, result.Output), Is.EqualTo((0, expected)), path + result.Error);
        }
    }

    [Test]
    public void A_file_that_other_programs_read_can_be_loaded_and_a_locked_file_is_named()
    {
        using TemporaryFolder folder = Fixtures.Copy("tiny-new");
        foreach (string name in new[] { "model.safetensors", "tokenizer.json" })
        {
            string file = folder.File(name);
            using (File.Open(file, FileMode.Open, FileAccess.Read, FileShare.Read))
            {
                Assert.That(StellaProcess.Run("embed", "river", "--model", folder.Path).ExitCode, Is.Zero, name);
            }

            // On other systems than Windows a program that does not ask for the lock reads the file.
            using FileStream locked = File.Open(file, FileMode.Open, FileAccess.ReadWrite, FileShare.None);
            StellaResult result = StellaProcess.Run("embed", "river", "--model", folder.Path);
            Assert.That(result.ExitCode, Is.EqualTo(OperatingSystem.IsWindows() ? 3 : 0), result.Error);
            Assert.That(result.Error, OperatingSystem.IsWindows() ? Does.Contain(file) : Is.Empty);
        }
    }

    [Test]
    public void A_manifest_that_another_program_has_open_is_replaced_or_named()
    {
        using TemporaryFolder folder = Fixtures.Copy("tiny-new");
        string manifest = folder.File("manifest.json");
        File.WriteAllText(manifest, "{}");
        using FileStream open = File.Open(manifest, FileMode.Open, FileAccess.Read, FileShare.Read);
        StellaResult result = StellaProcess.Run("manifest", folder.Path, "--output", manifest);
        Assert.That(result.ExitCode, Is.EqualTo(OperatingSystem.IsWindows() ? 3 : 0), result.Error);
        Assert.That(result.Error, OperatingSystem.IsWindows() ? Does.StartWith($"error: {manifest} cannot be written") : Is.Empty);
        Assert.That(Directory.EnumerateFiles(folder.Path, "*.tmp"), Is.Empty, "nothing is left behind");
    }
}
