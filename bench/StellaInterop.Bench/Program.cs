using BenchmarkDotNet.Running;

// dotnet run --project bench/StellaInterop.Bench -c Release -- --filter '*'
BenchmarkSwitcher.FromAssembly(typeof(Program).Assembly).Run(args);
