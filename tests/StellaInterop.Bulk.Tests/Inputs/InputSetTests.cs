using System.Diagnostics;
using StellaInterop.Bulk.Inputs;
using StellaInterop.Bulk.Tests.Support;
using StellaInterop.Tests;

namespace StellaInterop.Bulk.Tests.Inputs;

internal sealed class InputSetTests
{
    private static readonly TestRows Rows = new();

    [Test]
    public void A_folder_stands_for_its_known_files_in_ordinal_order()
    {
        using TemporaryFolder folder = Tree("b.rows", "a.rows", "C.rows", "sub/c.rows", "a.unknown", ".hidden.rows", "_errors/x.rows", "sub.rows");
        Assert.That(Names(folder, folder.Path), Is.EqualTo(["C.rows", "a.rows", "b.rows", "sub.rows", "sub/c.rows"]));
    }

    [TestCase("*.rows", new[] { "a.rows", "b.rows" })]
    [TestCase("?.rows", new[] { "a.rows", "b.rows" })]
    [TestCase("**/*.rows", new[] { "a.rows", "b.rows", "sub/a.rows", "sub/deep/c.rows" })]
    [TestCase("**/c.rows", new[] { "c.rows" }, Description = "names count from the folder that all inputs have in common")]
    [TestCase("*/a.rows", new[] { "a.rows" })]
    [TestCase("s*/**/*.rows", new[] { "a.rows", "deep/c.rows" })]
    public void A_pattern_stands_for_the_files_that_it_matches(string pattern, string[] names)
    {
        using TemporaryFolder folder = Tree("a.rows", "b.rows", "sub/a.rows", "sub/deep/c.rows", "sub/deep/d.txt");
        Assert.That(Names(folder, folder.File(pattern)), Is.EqualTo(names));
    }

    [Test]
    public void Inputs_keep_their_order_and_a_file_is_read_once()
    {
        using TemporaryFolder folder = Tree("z/1.rows", "a/2.rows", "a/3.rows");
        Assert.That(Names(folder, folder.File("z"), folder.File("a/3.rows"), folder.File("a")), Is.EqualTo(["z/1.rows", "a/3.rows", "a/2.rows"]));
    }

    [Test]
    public void Names_do_not_depend_on_the_place_of_the_inputs()
    {
        using TemporaryFolder one = Tree("x/in/a.rows", "x/in/sub/b.rows");
        using TemporaryFolder other = Tree("in/a.rows", "in/sub/b.rows");
        Assert.That(Names(one, one.File("x/in")), Is.EqualTo(Names(other, other.File("in/a.rows"), other.File("in/sub/b.rows"))));
    }

    [Test]
    public void The_output_folder_is_left_out()
    {
        using TemporaryFolder folder = Tree("a.rows", "out/b.rows", "out2/c.rows");
        Assert.That(
            InputSet.Find([folder.Path], folder.File("out"), Find).Select(file => file.Name), Is.EqualTo(["a.rows", "out2/c.rows"]));
    }

    [Test]
    public void An_input_that_names_no_file_is_refused()
    {
        using TemporaryFolder folder = Tree("a.rows", "b.unknown", "empty/.keep");
        Refused("missing.rows", "does not exist", StellaBulkErrorCode.InputUnreadable);
        Assert.That(() => Names(folder, "-"), Throws.TypeOf<StellaBulkException>().With.Message.Contain("Copy the input to a file"));
        Refused("*.parquet", "matches no file");
        Refused("empty", "no file of a known format");
        Refused("b.unknown", "--input-format");

        void Refused(string input, string message, StellaBulkErrorCode code = StellaBulkErrorCode.NoInput) => Assert.That(
            () => Names(folder, folder.File(input)),
            Throws.TypeOf<StellaBulkException>().With.Property("Code").EqualTo(code).And.Message.Contain(message));
    }

    [Test]
    [Platform(Exclude = "Win")]
    public void Links_are_followed_and_a_loop_of_links_is_refused()
    {
        using TemporaryFolder folder = Tree("in/a.rows", "elsewhere/b.rows");
        _ = Directory.CreateSymbolicLink(folder.File("in/linked"), folder.File("elsewhere"));
        Assert.That(Names(folder, folder.File("in")), Is.EqualTo(["a.rows", "linked/b.rows"]));
        _ = Directory.CreateSymbolicLink(folder.File("elsewhere/loop"), folder.File("in"));
        Assert.That(
            () => Names(folder, folder.File("in")),
            Throws.TypeOf<StellaBulkException>().With.Property("Code").EqualTo(StellaBulkErrorCode.InputUnreadable).And.Message.Contain("Remove the link"));
    }

    [Test]
    [Platform(Exclude = "Win")]
    public void A_pipe_is_refused_at_once()
    {
        using TemporaryFolder folder = Tree();
        using (Process mkfifo = Process.Start("mkfifo", [folder.File("pipe.rows")]))
        {
            mkfifo.WaitForExit();
        }

        InputFile file = InputSet.Find([folder.File("pipe.rows")], folder.File("out"), Find)[0];
        Assert.That(
            file.OpenRead,
            Throws.TypeOf<StellaBulkException>().With.Property("Code").EqualTo(StellaBulkErrorCode.InputUnreadable).And.Message.Contain("copy the input to a file"));
    }

    [Test]
    public void A_file_that_cannot_be_opened_is_named()
    {
        using TemporaryFolder folder = Tree("a.rows");
        InputFile file = InputSet.Find([folder.File("a.rows")], folder.File("out"), Find)[0];
        File.Delete(file.Path);
        Assert.That(
            file.OpenRead,
            Throws.TypeOf<StellaBulkException>().With.Property("Code").EqualTo(StellaBulkErrorCode.InputUnreadable).And.Message.Contain("a.rows"));
    }

    private static TemporaryFolder Tree(params string[] files)
    {
        var folder = new TemporaryFolder();
        foreach (string file in files)
        {
            Directory.CreateDirectory(Path.GetDirectoryName(folder.File(file))!);
            File.WriteAllText(folder.File(file), "");
        }

        return folder;
    }

    private static IEnumerable<string> Names(TemporaryFolder folder, params string[] inputs) =>
        InputSet.Find(inputs, folder.File("output"), Find).Select(file => file.Name);

    private static IInputFormat? Find(string name) => name.EndsWith(".rows", StringComparison.Ordinal) ? Rows : null;
}
