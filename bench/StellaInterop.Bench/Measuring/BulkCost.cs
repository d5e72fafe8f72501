namespace StellaInterop.Bench.Measuring;

/// <summary>The cost of embedding an input, by a bulk job or by a pool, in a process of its own.</summary>
/// <param name="Seconds">The time from the first text to the end. Time in which the process was stopped does not count.</param>
/// <param name="ProcessorSeconds">The processor time of all threads of the process in that time.</param>
/// <param name="StartSeconds">The time before it: start-up, load of the model, and the planning of a bulk job.</param>
/// <param name="PeakBytes">The largest resident memory of the process, from its start to its end.</param>
/// <param name="Tokens">The tokens of all texts.</param>
internal readonly record struct BulkCost(double Seconds, double ProcessorSeconds, double StartSeconds, long PeakBytes, long Tokens);
