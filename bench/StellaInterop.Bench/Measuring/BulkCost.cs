namespace StellaInterop.Bench.Measuring;

/// <summary>The cost of a bulk job in a process of its own.</summary>
/// <param name="Seconds">The time from the end of planning to the complete output.</param>
/// <param name="ProcessorSeconds">The processor time of all threads of the process in that time.</param>
/// <param name="PlanningSeconds">The time of start-up, load of the model and planning before it.</param>
/// <param name="PeakBytes">The largest resident memory of the process, from its start to its end.</param>
/// <param name="Tokens">The tokens of all rows.</param>
internal readonly record struct BulkCost(double Seconds, double ProcessorSeconds, double PlanningSeconds, long PeakBytes, long Tokens);
