using OpenTelemetry.Metrics;
using OpenTelemetry.Trace;

namespace StellaInterop;

/// <summary>Brings what pools measure and trace to OpenTelemetry.</summary>
public static class StellaInstrumentationExtensions
{
    private const string Name = "StellaInterop";

    /// <summary>Collects the meter of all pools.</summary>
    /// <param name="builder">What builds the meter provider.</param>
    public static MeterProviderBuilder AddStellaInstrumentation(this MeterProviderBuilder builder)
    {
        ArgumentNullException.ThrowIfNull(builder);
        return builder.AddMeter(Name);
    }

    /// <summary>Collects the activities of all pools.</summary>
    /// <param name="builder">What builds the tracer provider.</param>
    public static TracerProviderBuilder AddStellaInstrumentation(this TracerProviderBuilder builder)
    {
        ArgumentNullException.ThrowIfNull(builder);
        return builder.AddSource(Name);
    }
}
