using ScottPlot;
using SkiaSharp;
using StellaInterop.Bench.Engines;

namespace StellaInterop.Bench.Reporting;

/// <summary>Draws the charts of a <c>peers</c> run: one per precision, with bars by shape and engine.</summary>
internal static class PeersPlots
{
    private const int Width = 1100;
    private const int Height = 560;
    private const double Group = 0.8;

    /// <summary>Colors that remain distinct with red-green color blindness (Okabe and Ito).</summary>
    private static readonly string[] Palette = ["#0072b2", "#e69f00", "#009e73", "#cc79a7"];

    private static readonly string[] SansFonts = ["Segoe UI", "Helvetica", "Liberation Sans", "DejaVu Sans", "Noto Sans"];

    /// <summary>Draws the charts into a folder and returns their files.</summary>
    public static IReadOnlyList<string> Write(PeersReport report, string folder)
    {
        Directory.CreateDirectory(folder);
        var files = new List<string>();
        foreach (StellaPrecision precision in new[] { StellaPrecision.Float32, StellaPrecision.BFloat16, StellaPrecision.Int8 })
        {
            EngineSpec[] own = [.. Measured(report).Where(engine => engine.Precision == precision)];
            if (own.Length == 0)
            {
                continue;
            }

            EngineSpec[] engines = [.. Measured(report).Where(engine => own.Contains(engine) || own.Any(o => o.Peers.Contains(engine.Name)))];
#pragma warning disable CA1308 // File names are lower case.
            string file = Path.Combine(folder, $"peers-{precision.ToString().ToLowerInvariant()}.png");
#pragma warning restore CA1308
            Draw(report, precision, engines, file);
            files.Add(file);
        }

        return files;
    }

    private static IEnumerable<EngineSpec> Measured(PeersReport report) =>
        EngineSpec.All.Where(spec => report.Engines.Any(engine => engine.Name == spec.Name && engine.Unavailable is null));

    private static void Draw(PeersReport report, StellaPrecision precision, EngineSpec[] engines, string file)
    {
        using var plot = new Plot();
        double width = Group / engines.Length;
        double top = 0;
        var ranges = new List<(double X, ShapeResult Result)>();
        for (int e = 0; e < engines.Length; e++)
        {
            var bars = new List<Bar>();
            for (int s = 0; s < report.Shapes.Count; s++)
            {
                ShapeResult result = report.Shapes[s].Results.Single(r => r.Engine == engines[e].Name);
                double x = s - (Group / 2) + ((e + 0.5) * width);
                top = Math.Max(top, result.Fastest);
                bars.Add(new Bar
                {
                    Position = x,
                    Value = result.TokensPerSecond,
                    Size = width * 0.9,
                    FillColor = Color.FromHex(Palette[e % Palette.Length]),
                    LineWidth = 0,
                });
                ranges.Add((x, result));
            }

            plot.Add.Bars(bars).LegendText = $"{engines[e].Name}  ({report.Engines.Single(r => r.Name == engines[e].Name).Detail})";
        }

        // Added after the bars, so that the lines and labels are drawn on top of them.
        foreach (var (x, result) in ranges)
        {
            var range = plot.Add.Line(x, result.Slowest, x, result.Fastest);
            range.Color = Colors.Black;
            range.LineWidth = 1.5f;
            var label = plot.Add.Text($"{result.TokensPerSecond:F0}", x, 0);
            label.LabelAlignment = Alignment.LowerCenter;
            label.LabelFontSize = 11;
            label.LabelBold = true;
            label.LabelBackgroundColor = Colors.White.WithAlpha(0.75);
            label.OffsetY = -2;
        }

        plot.Title($"{report.Model}, {precision}, {report.Threads} threads on {report.Machine.Cpu}", size: 16);
        plot.YLabel("tokens/s");
        plot.XLabel(
            $"texts x tokens of one call. Bars: median of {report.Rounds} rounds; lines: slowest to fastest; {report.Date:yyyy-MM-dd}", size: 13);
        plot.Axes.Bottom.SetTicks(
            [.. Enumerable.Range(0, report.Shapes.Count).Select(s => (double)s)], [.. report.Shapes.Select(shape => shape.Name)]);
        plot.Axes.Bottom.MajorTickStyle.Length = 0;
        plot.Axes.Bottom.TickLabelStyle.FontSize = 14;
        plot.Grid.XAxisStyle.IsVisible = false;
        plot.Axes.Left.TickLabelStyle.FontSize = 12;
        plot.Axes.SetLimits(-0.6, report.Shapes.Count - 0.4, 0, top * 1.1);
        plot.ShowLegend(Edge.Bottom);
        plot.Font.Set(SansFonts.FirstOrDefault(SKFontManager.Default.FontFamilies.Contains, Fonts.Default));
        plot.SavePng(file, Width, Height);
    }
}
