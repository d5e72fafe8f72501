using System.Diagnostics.CodeAnalysis;
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
    private const string NoSuchFile = "no such file";

    private static readonly Lock Gate = new();

    // One native image serves the process, so these are one value a process.
    private static nint library;
    private static bool isReady;
    private static bool resolverIsOurs;

    /// <summary>Whether this thread is calling an import to see where the host's resolver leads.</summary>
    [ThreadStatic]
    private static bool asksHost;

    /// <summary>Loads the library unless that has been done. Thread-safe.</summary>
    /// <remarks>No lock is held while code of the host runs: its DllImport resolver, and the load context of a plugin.</remarks>
    /// <exception cref="StellaNativeLibraryNotFoundException">No candidate could be loaded, or the host's resolver leads elsewhere.</exception>
    /// <exception cref="StellaAbiMismatchException">The one that was found speaks another ABI.</exception>
    public static void EnsureLoaded()
    {
        if (Volatile.Read(ref isReady))
        {
            return;
        }

        if (TrySetResolver())
        {
            nint loaded = LoadChecked().Handle;
            if (Interlocked.CompareExchange(ref library, loaded, 0) != 0)
            {
                // Another thread was faster. Each load counts, so that freeing this one leaves the library where it is.
                NativeLibrary.Free(loaded);
            }
        }
        else
        {
            CheckHostResolver();
        }

        Volatile.Write(ref isReady, true);
    }

    /// <summary>Sets this assembly's resolver. False when the host has set one: an assembly can have one resolver only.</summary>
    private static bool TrySetResolver()
    {
        lock (Gate)
        {
            if (resolverIsOurs)
            {
                return true;
            }

            try
            {
                NativeLibrary.SetDllImportResolver(typeof(NativeLibraryLoader).Assembly, Resolve);
            }
            catch (InvalidOperationException)
            {
                return false;
            }

            return resolverIsOurs = true;
        }
    }

    private static nint Resolve(string name, Assembly assembly, DllImportSearchPath? searchPath) =>
        name == LibraryName ? Volatile.Read(ref library) : 0;

    /// <summary>Sees whether the imports reach a library of this ABI through the resolver that the host has set.</summary>
    private static void CheckHostResolver()
    {
        const string Subject = "The host has set its own DllImport resolver for the assembly StellaInterop";
        if (asksHost)
        {
            throw new StellaNativeLibraryNotFoundException(
                $"{Subject}, and that resolver called StellaInterop while '{LibraryName}' was being resolved. "
                + "Let the resolver return a handle or 0 without using the library.",
                [],
                innerException: null);
        }

        // When the resolver returns 0, the runtime looks for the library by its name and finds the one that is loaded.
        IReadOnlyList<StellaLoadAttempt> attempts = [];
        string advice = $"Let the resolver return the handle of a StellaInterop library for '{LibraryName}'.";
        try
        {
            string path = LoadChecked().Path;
            advice = $"Let the resolver return 0 for '{LibraryName}', or the handle of {path}.";
        }
        catch (StellaNativeLibraryNotFoundException e)
        {
            // The host may have the library where this loader does not look.
            attempts = e.Attempts;
        }
        catch (StellaAbiMismatchException)
        {
            // The library beside the program is not the one that the resolver returns.
        }

        asksHost = true;
        try
        {
            AbiContract.CheckImports("The library that the host's DllImport resolver returns");
        }
#pragma warning disable CA1031 // The resolver is the host's code and may throw anything.
        catch (Exception e) when (e is not StellaException)
#pragma warning restore CA1031
        {
            throw new StellaNativeLibraryNotFoundException(
                $"{Subject}, and the imports do not reach the native library through it: {SystemLines(e.Message)[0]} {advice}", attempts, e);
        }
        finally
        {
            asksHost = false;
        }
    }

    private static (nint Handle, string Path) LoadChecked()
    {
        var (handle, path) = Load();
        AbiContract.Check(handle, path);
        return (handle, path);
    }

    private static (nint Handle, string Path) Load()
    {
        var attempts = new List<StellaLoadAttempt>();
        Exception? cause = null;
        foreach (string path in Candidates().Distinct())
        {
            if (WhyNot(path) is { } reason)
            {
                attempts.Add(new StellaLoadAttempt { Path = path, Reason = reason });
                continue;
            }

            try
            {
                return (NativeLibrary.Load(path), path);
            }
            catch (Exception e) when (e is DllNotFoundException or BadImageFormatException)
            {
                cause = e;
                attempts.Add(new StellaLoadAttempt { Path = path, Reason = Reason(path, e.Message) });
            }
        }

        string message = $"the native library {FileName} could not be loaded. {NativePlatform.Statement}";
        if (!attempts.TrueForAll(attempt => attempt.Reason == NoSuchFile))
        {
            // The runtime would try the same files, and one that is cut short would end the process.
            throw new StellaNativeLibraryNotFoundException($"{message} What was found does not serve.", attempts, cause);
        }

        try
        {
            // Asks the load context, too: a host of plugins may know better.
            return (NativeLibrary.Load(LibraryName, typeof(NativeLibraryLoader).Assembly, null), LibraryName);
        }
        catch (Exception e) when (e is DllNotFoundException or BadImageFormatException)
        {
            string search = $"{LibraryName} (the runtime's own search)";
            attempts.Add(new StellaLoadAttempt { Path = search, Reason = string.Join(", ", SystemLines(e.Message)) });
            throw new StellaNativeLibraryNotFoundException($"{message} {NativePlatform.Advice}", attempts, e);
        }
    }

    /// <summary>
    /// Beside this assembly and beside the application, flat or in the folders of a package, and where the host says that
    /// packages keep natives. A plugin has its assembly elsewhere than the application; a single file has none.
    /// </summary>
    private static IEnumerable<string> Candidates()
    {
        string packages = AppContext.GetData("NATIVE_DLL_SEARCH_DIRECTORIES") as string ?? "";
        return new[] { AssemblyDirectory, AppContext.BaseDirectory }
            .Where(directory => directory.Length > 0)
            .Select(Path.TrimEndingDirectorySeparator)
            .SelectMany(directory => new[] { directory, Path.Combine(directory, "runtimes", NativePlatform.Rid, "native") })
            .Concat(packages.Split(Path.PathSeparator, StringSplitOptions.RemoveEmptyEntries))
            .Select(directory => Path.Combine(directory, FileName));
    }

    private static string AssemblyDirectory
    {
        [UnconditionalSuppressMessage("SingleFile", "IL3000", Justification = "There the location is empty, and passed over.")]
        get => Path.GetDirectoryName(typeof(NativeLibraryLoader).Assembly.Location) ?? "";
    }

    private static string? WhyNot(string path)
    {
        try
        {
            return File.Exists(path) ? NativeImage.Misfit(path) : NoSuchFile;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return e.Message;
        }
    }

    /// <summary>What the system says of a library. Where it names another file, that is a dependency.</summary>
    private static string Reason(string path, string message) => string.Join(", ", SystemLines(message).Select(line =>
        line.StartsWith($"{path}: ", StringComparison.Ordinal) ? line[(path.Length + 2)..]
        : OperatingSystem.IsWindows() ? line
        : $"it depends on what is not here: {line}"));

    /// <summary>On Unix .NET writes a line of advice first, then what the system says of each path.</summary>
    private static string[] SystemLines(string message) =>
        message.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries) is [_, _, ..] and var lines && !OperatingSystem.IsWindows()
            ? lines[1..]
            : [message.ReplaceLineEndings(" ").Trim()];

    private static string FileName =>
        OperatingSystem.IsWindows() ? $"{LibraryName}.dll"
        : OperatingSystem.IsMacOS() ? $"lib{LibraryName}.dylib"
        : $"lib{LibraryName}.so";
}
