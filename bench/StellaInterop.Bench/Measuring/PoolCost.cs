namespace StellaInterop.Bench.Measuring;

/// <summary>The cost of embedding texts, without start-up and without the load of the model.</summary>
/// <param name="Seconds">The time.</param>
/// <param name="ProcessorSeconds">The processor time of all threads of the process.</param>
internal readonly record struct PoolCost(double Seconds, double ProcessorSeconds);
