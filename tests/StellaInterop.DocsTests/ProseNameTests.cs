using System.Collections.Frozen;
using System.Reflection;
using System.Reflection.Metadata;
using System.Reflection.PortableExecutable;
using System.Text.RegularExpressions;
using StellaInterop.Models.Mini;
using StellaInterop.Tests;

namespace StellaInterop.DocsTests;

/// <summary>A name of code in the text of a document exists: types, members and enum values do not survive their renaming in prose.</summary>
internal sealed partial class ProseNameTests
{
    /// <summary>Names of other worlds that look like names of .NET, with the world that they are of.</summary>
    private static readonly FrozenSet<string> Foreign = FrozenSet.Create(
        StringComparer.Ordinal,
        // The command line and the folders of models.
        "DIR", "MODEL", "TEXT", "QUERY", "FILE", "NAME", "ORG", "REV", "KEY", "PATH", "FOLDER", "RID", "ID", "N", "COMMAND", "ON", "YES",
        // Architectures, modules, tokenizers and settings as Python names them.
        "GteModel", "Qwen2Model", "Qwen2ForCausalLM", "BertTokenizer", "Qwen2Tokenizer", "AutoModel", "AutoTokenizer", "Dense", "Transformer",
        "Tanh", "WordPiece", "Unigram", "WordLevel", "SentenceTransformer", "Qwen2",
        // Other libraries, at the place where they are left behind.
        "PoolingType", "NativeLogConfig", "SessionOptions", "IntraOpNumThreads", "Embeddings", "AddStackExchangeRedisCache", "AddPrometheusExporter",
        // The tasks of Cake.
        "Soak",
        // HTTP, systems and formats.
        "Retry", "After", "UTF", "JSON", "BOM", "NUL", "SIGBUS", "LF", "CR", "CRLF", "BLAKE3", "SHA", "U", "FFFD", "RssAnon", "MemAvailable");

    private static readonly Assembly[] Ours =
        [typeof(StellaModel).Assembly, typeof(StellaEmbeddingGenerator).Assembly, typeof(StellaMiniModel).Assembly];

    private static readonly Dictionary<string, Type> Types =
        Ours.SelectMany(assembly => assembly.GetExportedTypes()).ToDictionary(type => type.Name.Split('`')[0], StringComparer.Ordinal);

    private static readonly HashSet<string> OwnNames =
    [
        .. Types.Keys,
        .. Types.Values.SelectMany(MembersOf),
        .. Types.Values.SelectMany(type => type.Namespace!.Split('.')),
        "Extensions", "Models", "Mini", "Cli",
    ];

    /// <summary>Classes of tests and the members that a document names beside them; PromiseTests looks these up.</summary>
    private static readonly HashSet<string> TestNames =
    [
        .. Directory.EnumerateFiles(Path.Combine(Tree.Root, "tests"), "*Tests.cs", SearchOption.AllDirectories)
            .Select(file => Path.GetFileNameWithoutExtension(file)),
    ];

    private static readonly Lazy<HashSet<string>> PlatformNames = new(() =>
    [
        .. ((string)AppContext.GetData("TRUSTED_PLATFORM_ASSEMBLIES")!).Split(Path.PathSeparator)
            .Where(file => !Path.GetFileName(file).StartsWith("StellaInterop", StringComparison.Ordinal) && Path.GetFileName(file) != "stella.dll")
            .SelectMany(PublicNames),
    ]);

    private static IEnumerable<string> Documents() => Document.All.Where(document =>
        document is "README.md" or "src/README.md" or "CONTRIBUTING.md" or "SECURITY.md" or "src/StellaInterop.Models.Mini/README.md"
        || (document.StartsWith("docs/", StringComparison.Ordinal) && document is not ("docs/abi.md" or "docs/api-decisions.md")
            && !document.StartsWith("docs/decisions/", StringComparison.Ordinal)));

    [TestCaseSource(nameof(Documents))]
    public void Names_of_code_in_prose_exist(string document)
    {
        // The blocks are compiled or run by other tests.
        string prose = Block().Replace(Document.Read(document), match => new string('\n', match.Value.Count(c => c == '\n')));
        var unknown = new List<string>();
        foreach (Match span in Span().Matches(prose))
        {
            string code = span.Groups[1].Value;
            if (code.Contains('/', StringComparison.Ordinal) || FileName().IsMatch(code))
            {
                continue;
            }

            foreach (string name in Name().Matches(code).Select(match => match.Value))
            {
                if (!Exists(name))
                {
                    unknown.Add($"{document}:{prose[..span.Index].Count(c => c == '\n') + 1}: {name} in `{code}`");
                }
            }
        }

        Assert.That(unknown, Is.Empty, "names that are in no assembly");
    }

    /// <summary>The right column of the table of renamed members.</summary>
    [Test]
    public void New_names_of_the_API_decisions_exist()
    {
        string[] cells =
        [
            .. Document.Read("docs/api-decisions.md").Split("## Old and new names")[1].Split("\n## ")[0].Split('\n')
                .Where(line => line.StartsWith("| `", StringComparison.Ordinal))
                .Select(line => line.Split('|')[2]),
        ];
        Assert.That(cells, Has.Length.GreaterThan(30));
        Assert.That(
            cells.SelectMany(cell => Span().Matches(cell)).SelectMany(span => Name().Matches(span.Groups[1].Value)).Select(match => match.Value).Where(name => !Exists(name)),
            Is.Empty);
    }

    [TestCase("StellaPrecision.Float32", true)]
    [TestCase("StellaPrecision.Bf16", false)]
    [TestCase("StellaPoolOptions.Timeout", false)]
    [TestCase("Bf16", false)]
    [TestCase("F32", false)]
    [TestCase("StellaLongText", false)]
    [TestCase("ThreadPool.SetMinThreads", true)]
    [TestCase("Pool.MaxWorkers", true)]
    public void A_name_that_is_in_no_assembly_is_found(string name, bool exists) => Assert.That(Exists(name), Is.EqualTo(exists));

    private static bool Exists(string name)
    {
        string[] parts = name.Split('.');
        return TestNames.Contains(parts[0])
            || (parts.Length > 1 && Types.TryGetValue(parts[0], out Type? type)
            ? MembersOf(type).Contains(parts[1], StringComparer.Ordinal)
            : parts.All(part => OwnNames.Contains(part) || Foreign.Contains(part) || PlatformNames.Value.Contains(part)));
    }

    private static IEnumerable<string> MembersOf(Type type) => type.GetMembers().Select(member => member.Name);

    private static IEnumerable<string> PublicNames(string file)
    {
        using var stream = File.OpenRead(file);
        using var pe = new PEReader(stream);
        if (!pe.HasMetadata)
        {
            yield break;
        }

        MetadataReader metadata = pe.GetMetadataReader();
        foreach (TypeDefinitionHandle handle in metadata.TypeDefinitions)
        {
            TypeDefinition type = metadata.GetTypeDefinition(handle);
            if ((type.Attributes & TypeAttributes.VisibilityMask) is not (TypeAttributes.Public or TypeAttributes.NestedPublic))
            {
                continue;
            }

            yield return metadata.GetString(type.Name).Split('`')[0];
            foreach (string part in metadata.GetString(type.Namespace).Split('.'))
            {
                yield return part;
            }

            foreach (MethodDefinitionHandle method in type.GetMethods())
            {
                yield return metadata.GetString(metadata.GetMethodDefinition(method).Name);
            }

            foreach (PropertyDefinitionHandle property in type.GetProperties())
            {
                yield return metadata.GetString(metadata.GetPropertyDefinition(property).Name);
            }

            foreach (FieldDefinitionHandle field in type.GetFields())
            {
                yield return metadata.GetString(metadata.GetFieldDefinition(field).Name);
            }
        }
    }

    [GeneratedRegex("^```.*?^```$|^ {4,}\\S.*$", RegexOptions.Multiline | RegexOptions.Singleline)]
    private static partial Regex Block();

    [GeneratedRegex("`([^`\n]+)`")]
    private static partial Regex Span();

    /// <summary>A name in Pascal case, or in capitals, that is no part of another word, with its members.</summary>
    [GeneratedRegex(@"(?<![\w.""$-])[A-Z][A-Za-z0-9]*(?:\.[A-Z][A-Za-z0-9]*)*(?![\w""-])")]
    private static partial Regex Name();

    [GeneratedRegex(@"^[\w-]+\.(md|cs|csproj|json|txt|slnx?|props|targets|jsonl|csv|npy|onnx|gguf|so|dll|rs)$")]
    private static partial Regex FileName();
}
