using StellaInterop;
using StellaInterop.Models.Mini;

/// <summary>A plugin that the host calls by reflection.</summary>
public static class Plugin
{
    /// <summary>Ranks the texts with the model next to the plugin.</summary>
    public static string[] Run()
    {
        using var model = StellaModel.Load(StellaMiniModel.Path);
        return Ranking.Of(model);
    }
}
