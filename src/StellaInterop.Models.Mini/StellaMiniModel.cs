using System.Diagnostics.CodeAnalysis;

namespace StellaInterop.Models.Mini;

/// <summary>Provides the path of <c>stella-mini</c>, the small model that this package copies next to the application.</summary>
public static class StellaMiniModel
{
    /// <summary>Name of the model folder beside the application.</summary>
    private const string FolderName = "stella-mini";

    /// <summary>
    /// Gets the folder of the model, for <c>StellaModel.Load</c>. It is the folder next to this assembly if that exists, as in a plugin.
    /// Otherwise it is the folder next to the application, even if it does not exist.
    /// </summary>
    public static string Path { get; } = Find();

    [UnconditionalSuppressMessage("SingleFile", "IL3000", Justification = "In a single file, the location is empty and is skipped.")]
    private static string Find()
    {
        string? assemblyFolder = System.IO.Path.GetDirectoryName(typeof(StellaMiniModel).Assembly.Location);
        return new[] { assemblyFolder, AppContext.BaseDirectory }
            .OfType<string>()
            .Select(directory => System.IO.Path.Combine(directory, FolderName))
            .FirstOrDefault(Directory.Exists, System.IO.Path.Combine(AppContext.BaseDirectory, FolderName));
    }
}
