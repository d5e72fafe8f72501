namespace StellaInterop;

/// <summary>Provides the names under which all pools of a process report to <c>System.Diagnostics</c>.</summary>
/// <remarks>With OpenTelemetry: <c>AddMeter(StellaTelemetry.MeterName)</c> and <c>AddSource(StellaTelemetry.ActivitySourceName)</c>.</remarks>
public static class StellaTelemetry
{
    /// <summary>The name of the meter.</summary>
    public const string MeterName = "StellaInterop";

    /// <summary>The name of the activity source.</summary>
    public const string ActivitySourceName = "StellaInterop";
}
