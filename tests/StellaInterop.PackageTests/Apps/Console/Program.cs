using StellaInterop;
using StellaInterop.Models.Mini;

try
{
    // An argument chooses a precision that does not depend on the processor.
    var precision = args.Length == 0 ? StellaPrecision.Auto : Enum.Parse<StellaPrecision>(args[0]);
    using var model = StellaModel.Load(StellaMiniModel.Path, new StellaModelOptions { Precision = precision });
    Array.ForEach(Ranking.Of(model), Console.WriteLine);
    return 0;
}
catch (StellaException e)
{
    Console.WriteLine($"{e.GetType().Name}: {e.Message}");
    return 1;
}
