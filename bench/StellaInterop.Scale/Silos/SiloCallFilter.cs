namespace StellaInterop.Scale.Silos;

/// <summary>Tells the meter of the calls that leave and reach one silo.</summary>
internal sealed class SiloCallFilter(CallMeter meter, int silo) : IIncomingGrainCallFilter, IOutgoingGrainCallFilter
{
    public Task Invoke(IIncomingGrainCallContext context)
    {
        meter.Arrive(context, silo);
        return context.Invoke();
    }

    public Task Invoke(IOutgoingGrainCallContext context) => meter.RunAsync(context, silo);
}
