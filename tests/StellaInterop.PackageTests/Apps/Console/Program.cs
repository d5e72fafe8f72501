using StellaInterop;
using StellaInterop.Models.Mini;

try
{
    using var model = StellaModel.Load(StellaMiniModel.Path);
    Array.ForEach(Ranking.Of(model), Console.WriteLine);
    return 0;
}
catch (StellaException e)
{
    Console.WriteLine($"{e.GetType().Name}: {e.Message}");
    return 1;
}
