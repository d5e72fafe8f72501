// Third-party components in the packages: bills of materials, notices, and the allowed licences.

using System.Text.Json.Nodes;

// A crate or a NuGet package. Folder has the unpacked files of a crate. A crate that is used only in builds or tests is not shipped.
record Component(string Name, string Version, string License, string Source, string Copyright, string Folder, string Sha256, bool IsShipped)
{
    public string Title => $"{Name} {Version}";
}

// Allowed licences. A component with a choice of licences needs one of these.
var allowedLicences = new HashSet<string> { "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "NCSA", "PostgreSQL", "Unicode-3.0", "Zlib" };

/// Returns every third-party crate of Cargo.lock.
Component[] Crates()
{
    UseExtraCargoConfig();
    var metadata = JsonDocument.Parse(string.Concat(OutputIn(native, "cargo", "metadata --locked --format-version 1")));
    var linked = OutputIn(native, "cargo", "tree --locked --package stella-ffi --edges normal --target all --prefix none --format {p}")
        .Select(line => line.Split(' '))
        .Where(parts => parts.Length > 1)
        .Select(parts => $"{parts[0]} {parts[1].TrimStart('v')}")
        .ToHashSet();
    var checksums = Regex.Matches(
            System.IO.File.ReadAllText(native.CombineWithFilePath("Cargo.lock").FullPath),
            "name = \"(.+)\"\nversion = \"(.+)\"\nsource = .+\nchecksum = \"(.+)\"")
        .ToDictionary(m => $"{m.Groups[1].Value} {m.Groups[2].Value}", m => m.Groups[3].Value);
    return metadata.RootElement.GetProperty("packages").EnumerateArray()
        .Where(p => p.GetProperty("source").ValueKind == JsonValueKind.String)
        .Select(p =>
        {
            var (name, version) = (p.GetProperty("name").GetString(), p.GetProperty("version").GetString());
            return new Component(
                name,
                version,
                p.GetProperty("license").GetString(),
                p.GetProperty("repository").GetString(),
                Copyright: null,
                System.IO.Path.GetDirectoryName(p.GetProperty("manifest_path").GetString()),
                checksums[$"{name} {version}"],
                linked.Contains($"{name} {version}"));
        })
        .OrderBy(c => c.Title, StringComparer.Ordinal)
        .ToArray();
}

/// Runs the CycloneDX tool, which writes the bill of materials of a project's NuGet packages into a file. Returns the bill.
JsonNode NuGetBill(string project, FilePath file)
{
    EnsureDirectoryExists(file.GetDirectory());
    Output("dotnet", $"CycloneDX src/{project}/{project}.csproj --output {file.GetDirectory()} --filename {file.GetFilename()} --output-format Json "
        + $"--exclude-dev --disable-package-restore --no-serial-number --spec-version 1.6 --set-name {project} --set-version {PackageVersion()}");
    var bill = JsonNode.Parse(System.IO.File.ReadAllText(file.FullPath));
    bill["metadata"]["timestamp"] = CommitTime().ToString("yyyy-MM-ddTHH:mm:ssZ");
    System.IO.File.WriteAllText(file.FullPath, bill.ToJsonString(new JsonSerializerOptions { WriteIndented = true }) + "\n");
    return bill;
}

Component[] NuGetComponents(JsonNode bill) => (bill["components"]?.AsArray() ?? [])
    .Select(c => new Component(
        (string)c["name"],
        (string)c["version"],
        string.Join(" AND ", (c["licenses"]?.AsArray() ?? []).Select(l => (string)(l["expression"] ?? l["license"]?["id"] ?? l["license"]?["name"]))),
        Source: null,
        (string)c["copyright"] ?? string.Join(", ", (c["authors"]?.AsArray() ?? []).Select(a => (string)a["name"])),
        Folder: null,
        Sha256: null,
        IsShipped: true))
    .OrderBy(c => c.Title, StringComparer.Ordinal)
    .ToArray();

Component[] WriteNuGetSbom(string project) =>
    NuGetComponents(NuGetBill(project, packages.CombineWithFilePath($"{project}.{PackageVersion()}.nuget.cdx.json")));

Component[] WriteCrateSbom()
{
    var crates = Crates();
    var bill = new
    {
        bomFormat = "CycloneDX",
        specVersion = "1.6",
        version = 1,
        metadata = new
        {
            timestamp = CommitTime().ToString("yyyy-MM-ddTHH:mm:ssZ"),
            component = new { type = "library", name = "stella_interop", version = PackageVersion() },
        },
        components = crates.Select(c => new Dictionary<string, object>
        {
            ["type"] = "library",
            ["bom-ref"] = $"pkg:cargo/{c.Name}@{c.Version}",
            ["name"] = c.Name,
            ["version"] = c.Version,
            // Crates for builds or tests only are listed as excluded, because they are not in the library.
            ["scope"] = c.IsShipped ? "required" : "excluded",
            ["hashes"] = new[] { new { alg = "SHA-256", content = c.Sha256 } },
            ["licenses"] = new[] { new { expression = SpdxExpression(c.License) } },
            ["purl"] = $"pkg:cargo/{c.Name}@{c.Version}",
        }),
    };
    System.IO.File.WriteAllText(
        packages.CombineWithFilePath($"StellaInterop.{PackageVersion()}.native.cdx.json").FullPath,
        JsonSerializer.Serialize(bill, new JsonSerializerOptions { WriteIndented = true }) + "\n");
    return crates;
}

void CheckLicences(IEnumerable<Component> components)
{
    var refused = components.Where(c => !IsAllowed(c.License)).Select(c => $"{c.Title} ({c.License ?? "no licence"})").Distinct().ToArray();
    if (refused.Length > 0)
    {
        throw new CakeException($"These components have no allowed licence: {string.Join(", ", refused)}. Remove them, or add the licence to .cake/licences.cake.");
    }
}

/// Returns a valid SPDX expression. Older crates write a slash instead of OR.
string SpdxExpression(string licence) => Regex.Replace(licence ?? "", " ?/ ?", " OR ");

/// Returns whether the allowed licences satisfy an SPDX expression.
bool IsAllowed(string licence)
{
    var tokens = new Queue<string>(Regex.Matches(SpdxExpression(licence), @"[()]|[\w.+-]+").Select(m => m.Value));
    bool Or()
    {
        var allowed = And();
        while (tokens.TryPeek(out var token) && token == "OR")
        {
            tokens.Dequeue();
            allowed |= And();
        }

        return allowed;
    }

    bool And()
    {
        var allowed = One();
        while (tokens.TryPeek(out var token) && token == "AND")
        {
            tokens.Dequeue();
            allowed &= One();
        }

        return allowed;
    }

    bool One()
    {
        var name = tokens.Count > 0 ? tokens.Dequeue() : "";
        if (name == "(")
        {
            var allowed = Or();
            return tokens.Count > 0 && tokens.Dequeue() == ")" && allowed;
        }

        if (tokens.TryPeek(out var token) && token == "WITH")
        {
            // An exception only grants additional permissions.
            tokens.Dequeue();
            tokens.Dequeue();
        }

        return allowedLicences.Contains(name);
    }

    return Or() && tokens.Count == 0;
}

/// Returns the notices: the crates in the library on any platform, the text of each licence once with the crates that it covers, and
/// the packages in the tool.
string ThirdPartyNotices()
{
    var crates = Crates().Where(c => c.IsShipped).ToArray();
    var text = new System.Text.StringBuilder(System.IO.File.ReadAllText(native.CombineWithFilePath("notices-head.md").FullPath));
    text.Append("\n| crate | licence | source |\n| --- | --- | --- |\n");
    foreach (var crate in crates)
    {
        text.Append($"| {crate.Title} | {crate.License} | {crate.Source} |\n");
    }

    foreach (var licence in crates.GroupBy(c => LicenceText(c.Folder)).OrderBy(g => g.First().Title, StringComparer.Ordinal))
    {
        text.Append($"\n### {string.Join(", ", licence.Select(c => c.Title))}\n\n");
        text.Append(licence.Key is null ? "The crate has no licence file. The table has the name of its licence.\n" : $"```text\n{licence.Key}\n```\n");
    }

    text.Append("\n## NuGet packages in the stella tool\n\n");
    text.Append("Their assemblies are beside `stella.dll` in the package StellaInterop.Cli. LICENSE has the text of the MIT licence.\n\n");
    text.Append("| package | licence | copyright |\n| --- | --- | --- |\n");
    var shipped = PackagesWithFiles("StellaInterop.Cli");
    foreach (var package in NuGetComponents(NuGetBill("StellaInterop.Cli", artifacts.CombineWithFilePath("notices/tool.cdx.json"))).Where(c => shipped.Contains(c.Name)))
    {
        text.Append($"| {package.Title} | {package.License} | {package.Copyright} |\n");
    }

    return text.ToString();
}

/// Returns the packages with files beside a program. Others only name their dependencies, or have tools for the build.
HashSet<string> PackagesWithFiles(string project)
{
    var assets = JsonNode.Parse(System.IO.File.ReadAllText(root.CombineWithFilePath($"src/{project}/obj/project.assets.json").FullPath));
    return assets["targets"].AsObject().SelectMany(target => target.Value.AsObject())
        .Where(package => new[] { "runtime", "runtimeTargets", "resource" }.Any(kind =>
            package.Value[kind]?.AsObject().Any(file => !file.Key.EndsWith("/_._")) == true))
        .Select(package => package.Key.Split('/')[0])
        .ToHashSet();
}

string LicenceText(string folder) => System.IO.Directory.GetFiles(folder)
    .Where(f => Regex.IsMatch(System.IO.Path.GetFileName(f), "^(LICEN[CS]E|COPYING|UNLICENSE)", RegexOptions.IgnoreCase))
    .OrderBy(f => !f.Contains("MIT", StringComparison.OrdinalIgnoreCase))
    .ThenBy(f => System.IO.Path.GetFileName(f), StringComparer.Ordinal)
    .Select(f => string.Join('\n', System.IO.File.ReadAllText(f).ReplaceLineEndings("\n").Split('\n').Select(l => l.TrimEnd())).Trim('\n'))
    .FirstOrDefault();
