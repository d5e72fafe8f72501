namespace StellaInterop.Models.Mini;

/// <summary>The small model that is copied beside the application.</summary>
public static class StellaMiniModel
{
    /// <summary>Name of the model's folder beside the application.</summary>
    private const string FolderName = "stella-mini";

    /// <summary>The model's folder, to be passed to <c>StellaModel.Load</c>. The path is not checked here.</summary>
    public static string Path { get; } = System.IO.Path.Combine(AppContext.BaseDirectory, FolderName);
}
