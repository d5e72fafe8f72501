using System.Collections.Frozen;
using System.Reflection;
using System.Reflection.Metadata;
using System.Reflection.PortableExecutable;
using System.Text.RegularExpressions;
using StellaInterop.Models.Mini;
using StellaInterop.Tests;

namespace StellaInterop.DocsTests;

/// <summary>Names of types, members and enum values in the prose of the documents exist in the code, so a renamed one is found.</summary>
internal sealed partial class ProseNameTests
{
    /// <summary>Names in the documents that look like .NET names but come from elsewhere, grouped by their origin.</summary>
    private static readonly FrozenSet<string> Foreign = FrozenSet.Create(
        StringComparer.Ordinal,
        // Placeholders of the command line and names in model folders.
        "DIR", "MODEL", "TEXT", "QUERY", "FILE", "NAME", "ORG", "REV", "KEY", "PATH", "FOLDER", "RID", "ID", "N", "COMMAND", "ON", "YES",
        // Architectures, modules, tokenizers and settings as Python names them.
        "GteModel", "Qwen2Model", "Qwen2ForCausalLM", "BertTokenizer", "Qwen2Tokenizer", "AutoModel", "AutoTokenizer", "Dense", "Transformer",
        "Tanh", "WordPiece", "Unigram", "WordLevel", "SentenceTransformer", "Qwen2",
        // Other libraries, in the pages about migrating from them.
        "PoolingType", "NativeLogConfig", "SessionOptions", "IntraOpNumThreads", "Embeddings", "AddStackExchangeRedisCache", "AddPrometheusExporter",
        // Properties of MSBuild.
        "PublishAot", "StellaAllowMissingNativeLibrary",
        // Cake tasks.
        "Soak", "Clients",
        // HTTP, systems and formats.
        "Retry", "After", "UTF", "JSON", "BOM", "NUL", "SIGBUS", "LF", "CR", "CRLF", "BLAKE3", "SHA", "U", "FFFD", "RssAnon", "MemAvailable");

    private static readonly Assembly[] Ours =
        [typeof(StellaModel).Assembly, typeof(StellaEmbeddingGenerator).Assembly, typeof(StellaServerOptions).Assembly, typeof(StellaMiniModel).Assembly];

    private static readonly Dictionary<string, Type> Types =
        Ours.SelectMany(assembly => assembly.GetExportedTypes()).ToDictionary(type => type.Name.Split('`')[0], StringComparer.Ordinal);

    private static readonly HashSet<string> OwnNames =
    [
        .. Types.Keys,
        .. Types.Values.SelectMany(MembersOf),
        .. Types.Values.SelectMany(type => type.Namespace!.Split('.')),
        "Extensions", "Models", "Mini", "Cli",
    ];

    /// <summary>Names of test classes. PromiseTests checks the test methods that a document names with them.</summary>
    private static readonly HashSet<string> TestNames =
    [
        .. Directory.EnumerateFiles(Path.Combine(SourceTree.Root, "tests"), "*Tests.cs", SearchOption.AllDirectories)
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
    public void Code_names_in_prose_exist(string document)
    {
        // Other tests compile or run the code blocks.
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

        Assert.That(unknown, Is.Empty, "names that exist in no assembly");
    }

    /// <summary>Checks the column of new names in the table of renamed members.</summary>
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
    public void Names_that_are_in_no_assembly_are_rejected(string name, bool exists) => Assert.That(Exists(name), Is.EqualTo(exists));

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

    /// <summary>Matches a whole word in Pascal case or in capitals, with its members.</summary>
    [GeneratedRegex(@"(?<![\w.""$-])[A-Z][A-Za-z0-9]*(?:\.[A-Z][A-Za-z0-9]*)*(?![\w""-])")]
    private static partial Regex Name();

    [GeneratedRegex(@"^[\w-]+\.(md|cs|csproj|json|txt|slnx?|props|targets|jsonl|csv|npy|onnx|gguf|so|dll|rs)$")]
    private static partial Regex FileName();
}
