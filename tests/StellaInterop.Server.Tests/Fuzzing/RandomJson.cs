using System.Globalization;
using System.Text;
using System.Text.Json;
using StellaInterop.Server.Fields;

namespace StellaInterop.Tests.Fuzzing;

/// <summary>Writes bodies that a parser may trip over: near the fields of a route, and often not JSON at all.</summary>
internal sealed class RandomJson(Random random)
{
    /// <summary>Values that are not JSON, are at a limit, or are of a type that few fields have.</summary>
    private static readonly string[] HostileValues =
    [
        "NaN", "-Infinity", "1e999", "-1e-999", "1" + new string('0', 400), "-0", "1.0", "1E0", "01", "+1", "0x10", "2147483648", "-2147483649", "9223372036854775808",
        "null", "true", "\"\"", "[]", "{}", "[null]", "[[]]", "[{}]", "[\"a\",1]", "[[1,2],[3,\"a\"]]", "[1.5]", "{\"a\":{\"a\":{}}}", "'a'", "undefined", "/* a */ 1", "\"a",
    ];

    /// <summary>Texts as they are in JSON, without quotation marks.</summary>
    private static readonly string[] HostileTexts =
    [
        "", " ", "\\u0000", "\\ud83d\\ude00", "\\ud83d", "\\ude00\\ud83d", "\\u00", "\\x", "\t", "\\n\\r\\t", "\u0001", "😀", "\u202e", "\ufeff", "e\u0301", "\ufdfa", "世界",
        "\\u0061", "</s>", "[CLS]", "[UNK]", "%00", "../../etc/passwd", "{{}}", "\\\\", "\\/",
    ];

    /// <summary>Bytes that are not UTF-8: a lone continuation, a cut sequence, an overlong form, a surrogate, and one beyond Unicode.</summary>
    private static readonly byte[][] HostileBytes = [[0x80], [0xE4, 0xB8], [0xC0, 0xAF], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80], [0xFF, 0xFE], [0x00]];

    /// <summary>Returns a body for a route with the given fields.</summary>
    public byte[] Body(IReadOnlyList<IFieldSchema> fields)
    {
        if (OneIn(12))
        {
            return Encoding.UTF8.GetBytes(Deep());
        }

        byte[] bytes = Encoding.UTF8.GetBytes(OneIn(12) ? Pick(HostileValues) : Object(fields, depth: 0));
        return random.Next(10) switch
        {
            0 when bytes.Length > 0 => bytes[..random.Next(bytes.Length)],
            1 => Insert(bytes, Pick(HostileBytes)),
            2 => [.. bytes, .. Encoding.UTF8.GetBytes(Pick(["{}", ",", "\0", "x", " \r\n", "]"]))],
            3 => [0xEF, 0xBB, 0xBF, .. bytes],
            _ => bytes,
        };
    }

    private string Object(IReadOnlyList<IFieldSchema> fields, int depth)
    {
        var members = new List<string>();
        foreach (IFieldSchema field in fields)
        {
            if (field.IsRequired ? OneIn(20) : !OneIn(3))
            {
                continue;
            }

            members.Add($"{Name(field.Name)}:{Value(field, depth)}");
            if (OneIn(10))
            {
                // The same name again, with another value.
                members.Insert(random.Next(members.Count + 1), $"{Name(field.Name)}:{Value(field, depth)}");
            }
        }

        if (OneIn(4))
        {
            members.Add($"\"{Pick([.. HostileTexts, "encoding", "x-header", new string('n', 3000)])}\":{Pick(HostileValues)}");
        }

        if (OneIn(100))
        {
            members.AddRange(Enumerable.Range(0, 2000).Select(i => $"\"name {i}\":0"));
        }

        string space = OneIn(5) ? "\n\t " : "";
        return $"{{{space}{string.Join($",{space}", members)}{(OneIn(40) ? "," : "")}{space}}}";
    }

    /// <summary>Returns the name of a field, sometimes with escape sequences.</summary>
    private string Name(string name) => OneIn(15)
        ? $"\"{string.Concat(name.Select(character => $"\\u{(int)character:x4}"))}\""
        : $"\"{name}\"";

    private string Value(IFieldSchema field, int depth) => OneIn(6) ? Pick(HostileValues) : field.Type switch
    {
        FieldType.Text => field.Choices is { } choices && !OneIn(4) ? JsonSerializer.Serialize(Pick([.. choices])) : $"\"{Text()}\"",
        FieldType.Texts => OneIn(3) ? $"\"{Text()}\"" : List(() => $"\"{Text()}\""),
        FieldType.Whole => Pick(["0", "1", "-1", "8", "64", "1000", int.MaxValue.ToString(CultureInfo.InvariantCulture)]),
        FieldType.Ids => OneIn(2) ? List(Id) : List(() => List(Id)),
        FieldType.Flag => Pick(["true", "false"]),
        FieldType.Group => depth < 3 ? Object(field.Fields, depth + 1) : "{}",
        _ => Pick(HostileValues),
    };

    private string Id() => random.Next(-2, 40_000).ToString(CultureInfo.InvariantCulture);

    private string Text() => random.Next(8) switch
    {
        0 => Pick(HostileTexts),
        1 => string.Concat(Enumerable.Range(0, random.Next(1, 30)).Select(_ => Pick(HostileTexts))),
        2 => new string('a', random.Next(1, 5000)),
        3 => string.Join(' ', Enumerable.Repeat("word", random.Next(1, 1500))),
        _ => $"a text {random.Next(100)}",
    };

    private string List(Func<string> item) => $"[{string.Join(',', Enumerable.Range(0, OneIn(10) ? random.Next(200) : random.Next(4)).Select(_ => item()))}]";

    private string Deep()
    {
        int depth = Pick([60, 64, 65, 1000, 5000]);
        string open = Pick(["[", "{\"input\":", "{\"inputs\":[", "{\"a\":"]);
        return string.Concat(Enumerable.Repeat(open, depth));
    }

    private byte[] Insert(byte[] bytes, byte[] inserted)
    {
        int position = random.Next(bytes.Length + 1);
        return [.. bytes[..position], .. inserted, .. bytes[position..]];
    }

    private bool OneIn(int count) => random.Next(count) == 0;

    private T Pick<T>(T[] choices) => choices[random.Next(choices.Length)];
}
