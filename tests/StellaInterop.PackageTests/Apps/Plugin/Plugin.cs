using StellaInterop;
using StellaInterop.Models.Mini;

/// <summary>What the host calls by name.</summary>
public static class Plugin
{
    /// <summary>Ranks with the model that lies beside the plugin.</summary>
    public static string[] Run()
    {
        using var model = StellaModel.Load(StellaMiniModel.Path);
        return Ranking.Of(model);
    }
}
