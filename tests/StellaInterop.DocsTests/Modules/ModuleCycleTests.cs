using StellaInterop.Tests;

namespace StellaInterop.DocsTests.Modules;

/// <summary>Modules use each other in one direction: the files and folders of a crate, and the folders of a C# project.</summary>
internal sealed class ModuleCycleTests
{
    private static readonly string[] Crates = ["stella-kernels", "stella-core", "stella-ffi"];

    private static IEnumerable<string> Projects() =>
        Directory.EnumerateFiles(SourceTree.Root, "*.csproj", SearchOption.AllDirectories)
            .Select(file => Path.GetRelativePath(SourceTree.Root, Path.GetDirectoryName(file)!).Replace('\\', '/'))
            .Where(folder => folder.Split('/') is [("src" or "bench" or "samples"), _])
            .Order(StringComparer.Ordinal);

    [TestCaseSource(nameof(Crates))]
    public void Files_of_a_crate_have_no_cycle(string crate) => HasNoCycle(RustModules.OfCrate(Path.Combine(SourceTree.Root, "native", crate)));

    [TestCaseSource(nameof(Crates))]
    public void Folders_of_a_crate_have_no_cycle(string crate) => HasNoCycle(RustModules.FoldersOfCrate(Path.Combine(SourceTree.Root, "native", crate)));

    [TestCaseSource(nameof(Projects))]
    public void Folders_of_a_project_have_no_cycle(string project) => HasNoCycle(CSharpFolders.OfProject(Path.Combine(SourceTree.Root, project)));

    /// <summary>The library and the crates are known to have many uses between their modules: a graph without them was not read.</summary>
    [Test]
    public void Uses_between_modules_are_found()
    {
        Assert.Multiple(() =>
        {
            Assert.That(Projects().Count(), Is.GreaterThan(6));
            Assert.That(CSharpFolders.OfProject(Path.Combine(SourceTree.Root, "src/StellaInterop")).Count, Is.GreaterThan(8));
            Assert.That(RustModules.OfCrate(Path.Combine(SourceTree.Root, "native/stella-core")).Count, Is.GreaterThan(60));
        });
    }

    [Test]
    public void A_planted_cycle_between_folders_of_a_project_is_found()
    {
        const string Pool = "namespace P.Serving; internal sealed class Pool { public P.Memory.Budget? Budget; }";
        const string Budget = "namespace P.Memory; internal sealed class Budget { public object Owner() => null!; }";
        (string, string)[] oneWay = [("Serving/Pool.cs", Pool), ("Memory/Budget.cs", Budget)];
        (string, string)[] bothWays = [("Serving/Pool.cs", Pool), ("Memory/Budget.cs", Budget.Replace("null!", "new P.Serving.Pool()", StringComparison.Ordinal))];
        Assert.Multiple(() =>
        {
            Assert.That(CSharpFolders.Of(oneWay).Cycles(), Is.Empty);
            Assert.That(
                CSharpFolders.Of(bothWays).Cycles(),
                Is.EqualTo(new[] { "Memory uses Serving (Memory/Budget.cs:1 Pool); Serving uses Memory (Serving/Pool.cs:1 Budget)" }));
        });
    }

    [Test]
    public void A_use_without_the_name_of_the_type_is_found()
    {
        (string, string)[] files =
        [
            ("A/Left.cs", "namespace P; internal sealed class Left { public int Value => Maker.Make().Size; }"),
            ("Maker.cs", "namespace P; internal static class Maker { public static Right Make() => new(); }"),
            ("B/Right.cs", "namespace P; internal sealed class Right { public int Size => new Left().Value; }"),
        ];
        Assert.That(CSharpFolders.Of(files).Cycles(), Has.Some.Contain("A uses B (A/Left.cs:1 Size); B uses A (B/Right.cs:1 Left)"));
    }

    private static IEnumerable<TestCaseData> RustCycles()
    {
        yield return new TestCaseData("use crate::low::Low;", "use crate::{high::High, other::{Thing, More}};").SetArgDisplayNames("in groups");
        yield return new TestCaseData("fn f() { crate::low::f() }", "fn g(_: super::high::High) {}").SetArgDisplayNames("in expressions");
        yield return new TestCaseData("use crate::low;", "use crate::High;").SetArgDisplayNames("through an export of the root");
        yield return new TestCaseData("use super::low::*;", "use crate::high::High as H;").SetArgDisplayNames("renamed");
    }

    [TestCaseSource(nameof(RustCycles))]
    public void A_planted_cycle_between_files_of_a_crate_is_found(string high, string low)
    {
        (string, string)[] files =
            [("lib.rs", "mod high; mod low; mod other; pub use high::High;"), ("high.rs", high), ("low.rs", low), ("other.rs", "pub struct Thing;")];
        Assert.That(RustModules.Of(files).Cycles(), Has.Some.StartWith("high.rs uses low.rs"));
    }

    [Test]
    public void Comments_literals_declarations_and_unit_tests_make_no_use()
    {
        const string Low = """"
            //! Below [`crate::high`].
            mod inner;
            const TEXT: &str = "crate::high::High"; /* crate::high */
            const RAW: &str = r#"crate::high"#;
            #[cfg(test)]
            mod tests {
                use crate::high::High;
                fn nested() { if true { High::new(); } }
            }
            """";
        (string, string)[] files = [("lib.rs", "mod high; mod low;"), ("high.rs", "use crate::low;"), ("low.rs", Low)];
        Assert.That(RustModules.Of(files).Cycles(), Is.Empty);
    }

    [Test]
    public void A_planted_cycle_between_folders_of_a_crate_is_found()
    {
        (string, string)[] files =
        [
            ("files/folder.rs", "use crate::weights::header;"), ("files/json.rs", ""), ("weights/header.rs", ""), ("weights/tensor.rs", "use crate::files::json;"),
        ];
        Assert.Multiple(() =>
        {
            Assert.That(RustModules.Of(files).Cycles(), Is.Empty);
            Assert.That(RustModules.Of(files, RustModules.FolderOf).Cycles(), Has.Count.EqualTo(1));
        });
    }

    private static void HasNoCycle(ModuleGraph graph) => Assert.That(graph.Cycles(), Is.Empty, "modules that use each other in a circle");
}
