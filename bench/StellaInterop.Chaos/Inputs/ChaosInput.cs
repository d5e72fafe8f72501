using System.Globalization;
using System.Text.Json;
using StellaInterop.Chaos.Nodes;

namespace StellaInterop.Chaos.Inputs;

/// <summary>Represents the rows of a job: short texts of random words, and one poison row.</summary>
internal sealed class ChaosInput
{
    /// <summary>The tokens of a chunk: about four rows, so that a poison chunk is halved twice.</summary>
    private const int ChunkTokens = 64;

    private const int RowsPerChunk = 4;

    private const string Words = "river stone light paper garden winter engine window market letter forest island copper silver thunder valley";

    private ChaosInput(string poisoned, string clean, string poisonId, IReadOnlyList<string> ids)
    {
        Poisoned = poisoned;
        Clean = clean;
        PoisonId = poisonId;
        Ids = ids;
    }

    /// <summary>Gets the file with all rows.</summary>
    public string Poisoned { get; }

    /// <summary>Gets the file without the poison row.</summary>
    public string Clean { get; }

    public string PoisonId { get; }

    /// <summary>Gets the ids of all rows.</summary>
    public IReadOnlyList<string> Ids { get; }

    /// <summary>Writes both files.</summary>
    /// <param name="folder">The folder of the files.</param>
    /// <param name="chunks">The approximate number of chunks.</param>
    /// <param name="seed">The seed of the words and of the place of the poison row.</param>
    public static ChaosInput Write(string folder, int chunks, int seed)
    {
        var random = new Random(seed);
        string[] words = Words.Split(' ');
        int rows = chunks * RowsPerChunk;
        // In the first quarter, so that the halving has time.
        int poison = random.Next(rows / 4);
        string poisoned = Path.Combine(folder, "texts.jsonl");
        string clean = Path.Combine(folder, "clean.jsonl");
        var ids = new List<string>();
        using var all = new StreamWriter(poisoned);
        using var others = new StreamWriter(clean);
        for (int row = 0; row < rows; row++)
        {
            string id = string.Create(CultureInfo.InvariantCulture, $"row-{row:D6}");
            string text = string.Join(' ', random.GetItems(words, random.Next(7, 12)));
            ids.Add(id);
            all.WriteLine(JsonSerializer.Serialize(new { id, text = row == poison ? $"{NodeArguments.PoisonMark} {text}" : text }));
            if (row != poison)
            {
                others.WriteLine(JsonSerializer.Serialize(new { id, text }));
            }
        }

        return new ChaosInput(poisoned, clean, ids[poison], ids);
    }

    /// <summary>Returns the arguments of <c>stella bulk</c> that the job and its reference share.</summary>
    public static IEnumerable<string> JobOptions(string input, string output) =>
    [
        input, "--output", output, "--format", "jsonl", "--chunk-tokens", ChunkTokens.ToString(CultureInfo.InvariantCulture),
    ];
}
