using System.Diagnostics.CodeAnalysis;
using System.Reflection;
using System.Runtime.InteropServices;

namespace StellaInterop.Interop;

/// <summary>
/// Finds and loads the native library, checks its ABI, and resolves every import of this assembly to it.
/// </summary>
/// <remarks>
/// <see cref="EnsureLoaded"/> must be called before the first import. A static constructor would hide a failure in a
/// <see cref="TypeInitializationException"/>. A failure is not remembered, so that the next call finds a library that was added since.
/// </remarks>
internal static unsafe class NativeLibraryLoader
{
    private const string LibraryName = "stella_interop";
    private const string NoSuchFile = "no such file";

    private static readonly Lock Gate = new();

    // Static, because a process loads one copy of the native library.
    private static nint library;
    private static bool isReady;
    private static bool resolverIsOurs;

    /// <summary>Whether this thread is calling an import to test the host's resolver.</summary>
    [ThreadStatic]
    private static bool testsHostResolver;

    /// <summary>Loads the library at the first call. Thread-safe.</summary>
    /// <remarks>No lock is held while code of the host runs, such as its DllImport resolver or the load context of a plugin.</remarks>
    /// <exception cref="StellaNativeLibraryNotFoundException">
    /// No candidate could be loaded, or the host's resolver returns another library.
    /// </exception>
    /// <exception cref="StellaAbiMismatchException">The library that was found has another version of the ABI.</exception>
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
                // Another thread was faster. The system counts loads, so this only undoes the load of this thread.
                NativeLibrary.Free(loaded);
            }
        }
        else
        {
            CheckHostResolver();
        }

        Volatile.Write(ref isReady, true);
    }

    /// <summary>
    /// Sets the DllImport resolver of this assembly. Returns <see langword="false"/> if the host has set one, because an assembly has
    /// only one.
    /// </summary>
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

    /// <summary>Checks that the imports reach a library of this ABI through the resolver that the host has set.</summary>
    private static void CheckHostResolver()
    {
        const string Subject = "The host has set its own DllImport resolver for the assembly StellaInterop";
        if (testsHostResolver)
        {
            throw new StellaNativeLibraryNotFoundException(
                $"{Subject}, and that resolver called StellaInterop while '{LibraryName}' was being resolved. "
                + "Let the resolver return a handle or 0 without using the library.",
                [],
                innerException: null);
        }

        // If the resolver returns 0, the runtime searches by name and finds the library that is loaded here.
        IReadOnlyList<StellaLoadAttempt> attempts = [];
        string advice = $"Let the resolver return the handle of a StellaInterop library for '{LibraryName}'.";
        try
        {
            string path = LoadChecked().Path;
            advice = $"Let the resolver return 0 for '{LibraryName}', or the handle of {path}.";
        }
        catch (StellaNativeLibraryNotFoundException e)
        {
            // The host may have the library at a path that is not among the candidates.
            attempts = e.Attempts;
        }
        catch (StellaAbiMismatchException)
        {
            // The library beside the program differs from the library that the resolver returns.
        }

        testsHostResolver = true;
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
            testsHostResolver = false;
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
            if (MismatchOf(path) is { } reason)
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

        string message = $"The native library {FileName} could not be loaded. {NativePlatform.Statement}";
        if (!attempts.TrueForAll(attempt => attempt.Reason == NoSuchFile))
        {
            // The runtime would try the same files, and a truncated file would crash the process.
            throw new StellaNativeLibraryNotFoundException($"{message} None of the files that were found can be used.", attempts, cause);
        }

        try
        {
            // Includes the load context, because a plugin host may have its own search.
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
    /// Returns the candidates: beside this assembly and beside the application, directly or in <c>runtimes/RID/native</c>, and in the
    /// native folders of packages. A plugin's assembly is not beside the application; a single-file application has no assembly file.
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
        [UnconditionalSuppressMessage("SingleFile", "IL3000", Justification = "The location is empty there, and an empty folder is skipped.")]
        get => Path.GetDirectoryName(typeof(NativeLibraryLoader).Assembly.Location) ?? "";
    }

    private static string? MismatchOf(string path)
    {
        try
        {
            return File.Exists(path) ? NativeImage.MismatchOf(path) : NoSuchFile;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return e.Message;
        }
    }

    /// <summary>Shortens the system's message about a library. A message about another file means that a dependency is missing.</summary>
    private static string Reason(string path, string message) => string.Join(", ", SystemLines(message).Select(line =>
        line.StartsWith($"{path}: ", StringComparison.Ordinal) ? line[(path.Length + 2)..]
        : OperatingSystem.IsWindows() ? line
        : $"a dependency is missing: {line}"));

    /// <summary>Returns the system's lines of a message. On Unix, .NET writes a line of advice before them.</summary>
    private static string[] SystemLines(string message) =>
        message.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries) is [_, _, ..] and var lines && !OperatingSystem.IsWindows()
            ? lines[1..]
            : [message.ReplaceLineEndings(" ").Trim()];

    private static string FileName =>
        OperatingSystem.IsWindows() ? $"{LibraryName}.dll"
        : OperatingSystem.IsMacOS() ? $"lib{LibraryName}.dylib"
        : $"lib{LibraryName}.so";
}
