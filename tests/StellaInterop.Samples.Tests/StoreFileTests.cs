using Microsoft.Data.Sqlite;
using StellaInterop.Tests;

namespace StellaInterop.Samples.Tests;

/// <summary>Tests that unusable stores give a message and exit code 1, and that their files are not changed.</summary>
internal sealed class StoreFileTests
{
    private TemporaryFolder folder = null!;

    [SetUp]
    public void CreateFolder()
    {
        folder = new TemporaryFolder();
        Directory.CreateDirectory(folder.File("in"));
        File.WriteAllText(folder.File("in/a.txt"), "The river ran by the mill.");
    }

    [TearDown]
    public void DeleteFolder() => folder.Dispose();

    [Test]
    public void A_file_that_is_not_a_database_is_refused()
    {
        File.WriteAllText(Store, new string('x', 5000));
        IsRefused($"The store {Store} is not a store of folder-search. Index into another file.");
    }

    [Test]
    public void A_database_of_another_program_is_refused()
    {
        Execute("CREATE TABLE passages (id INTEGER); CREATE TABLE people (name TEXT)");
        IsRefused("The file is a database of another program. Index into another store.");
    }

    [Test]
    public void A_store_of_an_earlier_version_is_refused()
    {
        Execute("CREATE TABLE model (id TEXT); INSERT INTO model VALUES ('hash, 1024'); CREATE TABLE passages (key TEXT)");
        IsRefused("The store was created by another version of folder-search. Index into another store.");
    }

    [Test]
    public void A_store_of_another_format_is_refused()
    {
        Assert.That(Index().ExitCode, Is.Zero);
        Execute("UPDATE model SET id = 'hash, 1024, format 99'");
        IsRefused("The store was created by another version of folder-search. Index into another store.");
    }

    [Test]
    public void A_store_of_another_model_is_refused()
    {
        Assert.That(Index().ExitCode, Is.Zero);
        Execute("UPDATE model SET id = replace(id, substr(id, 1, 8), '00000000')");
        byte[] before = File.ReadAllBytes(Store);
        foreach ((int code, string output, string error) in new[] { Index(), Search() })
        {
            Assert.That((code, output), Is.EqualTo((1, string.Empty)));
            Assert.That(error, Does.Match("^folder-search: The store was created with the model '00000000.*Index into another store.\n$"));
        }

        Assert.That(File.ReadAllBytes(Store), Is.EqualTo(before));
    }

    [Test]
    public void A_damaged_store_is_refused()
    {
        Assert.That(Index().ExitCode, Is.Zero);
        File.WriteAllBytes(Store, File.ReadAllBytes(Store)[..5000]);
        IsRefused($"The store {Store} is damaged. Delete it and index again.");
    }

    [Test]
    public void A_folder_is_refused()
    {
        Directory.CreateDirectory(Store);
        foreach ((int code, _, string error) in new[] { Index(), Search() })
        {
            Assert.That((code, error), Is.EqualTo((1, $"folder-search: The store {Store} is a folder. Name a file.\n")));
        }
    }

    [Test]
    public void A_folder_that_does_not_exist_is_named()
    {
        (int code, _, string error) = Run("index", folder.File("in"), "--store", folder.File("no/index.db"));
        Assert.That((code, error), Is.EqualTo((1, $"folder-search: The store {folder.File("no/index.db")} cannot be opened: there is no folder {folder.File("no")}.\n")));
    }

    [Test]
    public void A_search_does_not_create_a_store()
    {
        Assert.That(Search(), Is.EqualTo((1, string.Empty, "folder-search: There is no index yet. Create it with `folder-search index FOLDER`.\n")));
        Assert.That(File.Exists(Store), Is.False);
    }

    [Test]
    public void A_full_disk_is_reported_and_the_next_run_completes_the_index()
    {
        foreach ((string name, string text) in Documents.All().Take(600))
        {
            File.WriteAllText(folder.File($"in/{name}"), text);
        }

        // The limit of 4096 blocks of 512 bytes is two megabytes, enough for one batch.
        (int code, _, string error) = SampleProcess.RunLimited("FolderSearch", "folder-search", "trap '' XFSZ; ulimit -f 4096", "index", folder.File("in"), "--store", Store);
        Assert.That(code, Is.EqualTo(1), error);
        Assert.That(error, Does.StartWith($"folder-search: The store {Store} cannot be written: the disk is full or failed").And.Not.Contain("   at "));
        (code, string output, error) = Index();
        Assert.That((code, error), Is.EqualTo((0, string.Empty)));
        Assert.That(output, Does.StartWith("601 files, ").And.Not.Contain(" 601 new"));
        Assert.That(Index().Output, Does.StartWith("601 files, 0 new or changed"));
    }

    [Test]
    public void A_store_that_another_run_writes_is_reported()
    {
        Assert.That(Index().ExitCode, Is.Zero);
        using SqliteConnection other = Open();
        using SqliteCommand begin = other.CreateCommand();
        begin.CommandText = "BEGIN EXCLUSIVE";
        begin.ExecuteNonQuery();
        (int code, _, string error) = Index();
        Assert.That((code, error), Is.EqualTo((1, $"folder-search: The store {Store} is used by another program. Wait until it has finished.\n")));
    }

    private string Store => folder.File("index.db");

    private void IsRefused(string message)
    {
        byte[] before = File.ReadAllBytes(Store);
        Assert.Multiple(() =>
        {
            Assert.That(Index(), Is.EqualTo((1, string.Empty, $"folder-search: {message}\n")));
            Assert.That(Search(), Is.EqualTo((1, string.Empty, $"folder-search: {message}\n")));
        });
        Assert.That(File.ReadAllBytes(Store), Is.EqualTo(before));
    }

    private (int ExitCode, string Output, string Error) Index() => Run("index", folder.File("in"), "--store", Store);

    private (int ExitCode, string Output, string Error) Search() => Run("search", "the river", "--store", Store);

    private static (int ExitCode, string Output, string Error) Run(params string[] arguments) =>
        SampleProcess.Run("FolderSearch", "folder-search", string.Empty, arguments);

    private SqliteConnection Open()
    {
        var connection = new SqliteConnection(new SqliteConnectionStringBuilder { DataSource = Store, Pooling = false }.ToString());
        connection.Open();
        return connection;
    }

    private void Execute(string statements)
    {
        using SqliteConnection connection = Open();
        using SqliteCommand command = connection.CreateCommand();
#pragma warning disable CA2100 // All statements are constants of this file.
        command.CommandText = statements;
#pragma warning restore CA2100
        command.ExecuteNonQuery();
    }
}
