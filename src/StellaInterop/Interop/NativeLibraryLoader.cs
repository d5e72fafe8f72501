using System.Reflection;
using System.Runtime.InteropServices;

namespace StellaInterop.Interop;

/// <summary>
/// Finds the native library, checks that it speaks this assembly's ABI, and hands it to every import.
/// </summary>
/// <remarks>
/// Nothing happens in a static constructor, where a failure would be hidden behind a
/// <see cref="TypeInitializationException"/>: <see cref="EnsureLoaded"/> is called before the first import and throws
/// by itself. A failure is not remembered, so a library that appears later is found.
/// </remarks>
internal static unsafe class NativeLibraryLoader
{
    private const string LibraryName = "stella_interop";

    private static readonly Lock Gate = new();

    // One native image serves the process, so this is one value a process.
    private static nint library;
    private static bool resolverIsSet;

    /// <summary>Loads the library unless that has been done. Thread-safe.</summary>
    /// <exception cref="StellaNativeLibraryNotFoundException">No candidate could be loaded.</exception>
    /// <exception cref="StellaAbiMismatchException">The one that was found speaks another ABI.</exception>
    public static void EnsureLoaded()
    {
        if (Volatile.Read(ref library) != 0)
        {
            return;
        }

        lock (Gate)
        {
            if (library != 0)
            {
                return;
            }

            var (handle, path) = Load();
            AbiContract.Check(handle, path);
            if (!resolverIsSet)
            {
                NativeLibrary.SetDllImportResolver(typeof(NativeLibraryLoader).Assembly, Resolve);
                resolverIsSet = true;
            }

            Volatile.Write(ref library, handle);
        }
    }

    private static nint Resolve(string name, Assembly assembly, DllImportSearchPath? searchPath) =>
        name == LibraryName ? library : 0;

    private static (nint Handle, string Path) Load()
    {
        var attempts = new List<StellaLoadAttempt>();
        foreach (string path in Candidates())
        {
            if (!File.Exists(path))
            {
                attempts.Add(new StellaLoadAttempt(path, "no such file"));
                continue;
            }

            try
            {
                return (NativeLibrary.Load(path), path);
            }
            catch (Exception e) when (e is DllNotFoundException or BadImageFormatException)
            {
                attempts.Add(new StellaLoadAttempt(path, FirstLine(e.Message)));
            }
        }

        try
        {
            return (NativeLibrary.Load(LibraryName, typeof(NativeLibraryLoader).Assembly, null), LibraryName);
        }
        catch (Exception e) when (e is DllNotFoundException or BadImageFormatException)
        {
            attempts.Add(new StellaLoadAttempt($"{LibraryName} (the runtime's own search)", FirstLine(e.Message)));
            throw new StellaNativeLibraryNotFoundException(FileName, attempts, e);
        }
    }

    /// <summary>Flat beside the application, in its runtimes folder, and where the host says that packages keep natives.</summary>
    private static IEnumerable<string> Candidates()
    {
        yield return Path.Combine(AppContext.BaseDirectory, FileName);
        yield return Path.Combine(AppContext.BaseDirectory, "runtimes", RuntimeInformation.RuntimeIdentifier, "native", FileName);

        string packages = AppContext.GetData("NATIVE_DLL_SEARCH_DIRECTORIES") as string ?? "";
        foreach (string directory in packages.Split(Path.PathSeparator, StringSplitOptions.RemoveEmptyEntries))
        {
            string path = Path.Combine(directory, FileName);
            if (File.Exists(path))
            {
                yield return path;
            }
        }
    }

    private static string FileName =>
        OperatingSystem.IsWindows() ? $"{LibraryName}.dll"
        : OperatingSystem.IsMacOS() ? $"lib{LibraryName}.dylib"
        : $"lib{LibraryName}.so";

    private static string FirstLine(string text) => text.AsSpan().Trim().ToString().Split('\n')[0].TrimEnd();
}
