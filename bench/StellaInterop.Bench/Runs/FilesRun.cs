using System.Diagnostics;
using StellaInterop.Bench.Files;
using StellaInterop.Bench.Measuring;
using StellaInterop.Bench.Reporting;
using StellaInterop.Bulk;
using StellaInterop.Bulk.Inputs;

namespace StellaInterop.Bench.Runs;

/// <summary>Measures the writing of Parquet beside other libraries, and the reading of each input format.</summary>
internal sealed class FilesRun(int rows, int dimension, int inputRows, int rounds, Action<string> log)
{
    /// <summary>Measures all files and prints two tables.</summary>
    public void Run(TextWriter output, CancellationToken cancellationToken)
    {
        var load = new MachineLoad();
        MarkdownTable written = Write(cancellationToken);
        MarkdownTable read = Read(cancellationToken);
        MachineInfo machine = MachineInfo.Read();
        output.WriteLine($"{machine.Cpu}; {machine.Processors} processors; {machine.System}, {machine.Runtime}; medians of {rounds}");
        output.WriteLine(load.OthersShare() is { } others ? $"other processes took {others:0.0 %} of the machine" : "the load of other processes is unknown");
        output.WriteLine();
        written.Write(output);
        output.WriteLine();
        read.Write(output);
    }

    private MarkdownTable Write(CancellationToken cancellationToken)
    {
        var table = new MarkdownTable("vectors", "rows/s", "MB/s", "file, MB", "writer");
        foreach (StellaBulkVectorType type in new[] { StellaBulkVectorType.Float32, StellaBulkVectorType.Half, StellaBulkVectorType.Int8 })
        {
            var sample = new PartSample(rows, dimension, type);
            foreach ((string name, Action<PartSample, Stream> write) in PartWriters.Of(type))
            {
                log($"Writing {type} with {name}.");
                using var file = new MemoryStream();
                double seconds = MedianSeconds(
                    () =>
                    {
                        file.SetLength(0);
                        write(sample, file);
                    },
                    cancellationToken);
                table.Add(
                    $"{type}, {rows} x {dimension}", $"{rows / seconds:F0}", $"{(double)rows * dimension * sizeof(float) / seconds / 1e6:F0}", $"{file.Length / 1e6:F1}", name);
            }
        }

        return table;
    }

    private MarkdownTable Read(CancellationToken cancellationToken)
    {
        var table = new MarkdownTable("format", "rows/s", "MB/s", "file, MB", "name");
        foreach ((string name, byte[] content) in InputSample.Create(inputRows))
        {
            log($"Reading {name}.");
            IInputFormat format = InputFormats.Find(name)!;
            double seconds = MedianSeconds(
                () =>
                {
                    using RowReader reader = format.Open(name, new MemoryStream(content), new InputColumns(), default);
                    int count = 0;
                    while (reader.Read(out InputRow row))
                    {
                        count += row.Text is null ? 0 : 1;
                    }

                    if (count != inputRows)
                    {
                        throw new InvalidDataException($"{name} has {count} rows instead of {inputRows}.");
                    }
                },
                cancellationToken);
            table.Add(format.Name, $"{inputRows / seconds:F0}", $"{content.Length / seconds / 1e6:F0}", $"{content.Length / 1e6:F1}", name);
        }

        return table;
    }

    /// <summary>Returns the median of the rounds, without the first one, which warms up.</summary>
    private double MedianSeconds(Action action, CancellationToken cancellationToken)
    {
        var seconds = new List<double>();
        for (int round = 0; round <= rounds; round++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            var clock = Stopwatch.StartNew();
            action();
            if (round > 0)
            {
                seconds.Add(clock.Elapsed.TotalSeconds);
            }
        }

        return Statistics.Median(seconds);
    }
}
