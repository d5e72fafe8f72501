using System.Text;
using System.Text.Json;
using StellaInterop.Server.Fields;

namespace StellaInterop.Tests;

/// <summary>The texts of a request as positions in its body.</summary>
internal sealed class TextListTests
{
    private static readonly string[] Pieces = ["a", "\\\"", "\\\\", "\\u00e9", "\\ud83d\\ude42", "é", "雪", "🙂", ",", "]", " ", "\\n"];

    [Test]
    public void Texts_are_found_in_any_order([Values(0, 1, 63, 64, 65, 1000)] int count)
    {
        var random = new Random(count);
        string[] quoted = [.. Enumerable.Range(0, count).Select(_ => $"\"{string.Concat(random.GetItems(Pieces, random.Next(6)))}\"")];
        string body = $"[ {string.Join(random.Next(2) == 0 ? "," : " ,\n\t", quoted)} ]";
        string[] expected = JsonSerializer.Deserialize<string[]>(body)!;
        TextList texts = Read(body);
        Assert.Multiple(() =>
        {
            Assert.That(texts.Count, Is.EqualTo(count));
            Assert.That(texts.Take(0, count), Is.EqualTo(expected));
            foreach (int index in Enumerable.Range(0, count).Reverse().Concat(Enumerable.Range(0, count).Select(_ => random.Next(count))))
            {
                Assert.That(texts[index], Is.EqualTo(expected[index]));
                Assert.That(texts.GetByteLength(index), Is.EqualTo(Encoding.UTF8.GetByteCount(quoted[index]) - 2));
                Assert.That(texts.IsPlainAscii(index), Is.EqualTo(Ascii.IsValid(quoted[index]) && !quoted[index].Contains('\\', StringComparison.Ordinal)));
            }
        });
    }

    [Test]
    public void Short_texts_take_less_memory_than_their_body()
    {
        const int Count = 1_000_000;
        string body = $"[{string.Join(',', Enumerable.Repeat("\"\"", Count))}]";
        byte[] bytes = Encoding.UTF8.GetBytes(body);
        long before = GC.GetAllocatedBytesForCurrentThread();
        TextList texts = Read(bytes);
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.LessThan(bytes.Length / 8));
        Assert.That(texts.Count, Is.EqualTo(Count));
    }

    private static TextList Read(string body) => Read(Encoding.UTF8.GetBytes(body));

    private static TextList Read(byte[] body)
    {
        var reader = new Utf8JsonReader(body);
        _ = reader.Read();
        return TextList.Read(ref reader, body, "input");
    }
}
