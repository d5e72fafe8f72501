using System.Diagnostics.CodeAnalysis;

namespace StellaInterop.Models.Mini;

/// <summary>The small model that is copied beside the application.</summary>
public static class StellaMiniModel
{
    /// <summary>Name of the model's folder beside the application.</summary>
    private const string FolderName = "stella-mini";

    /// <summary>
    /// The model's folder, to be passed to <c>StellaModel.Load</c>: beside this assembly if it is there, as in a plugin,
    /// else beside the application, whether it is there or not.
    /// </summary>
    public static string Path { get; } = Find();

    [UnconditionalSuppressMessage("SingleFile", "IL3000", Justification = "There the location is empty, and passed over.")]
    private static string Find()
    {
        string? plugin = System.IO.Path.GetDirectoryName(typeof(StellaMiniModel).Assembly.Location);
        return new[] { plugin, AppContext.BaseDirectory }
            .OfType<string>()
            .Select(directory => System.IO.Path.Combine(directory, FolderName))
            .FirstOrDefault(Directory.Exists, System.IO.Path.Combine(AppContext.BaseDirectory, FolderName));
    }
}
