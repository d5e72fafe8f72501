using System.Runtime.InteropServices;
using StellaInterop.Tests.Serving;

namespace StellaInterop.Tests;

/// <summary>A host that sets its own DllImport resolver for StellaInterop. It needs its own process: an assembly's resolver cannot be replaced.</summary>
internal static class HostResolverProgram
{
    public const string Command = "host-resolver";

    public enum Kind
    {
        ReturnsTheLibrary,
        ReturnsNothing,
        ReturnsAnotherLibrary,
        Throws,
        ThrowsTheFirstTime,
        UsesTheLibrary,
        UsesTheLibraryAndCatches,
        LoadsOnAnotherThread,
    }

    /// <summary>Loads a model three times and prints one line for each: the dimension of a vector, or the type and message of the error.</summary>
    public static int Run(Kind kind, string path)
    {
        int calls = 0;
        nint library = NativeLibrary.Load(path);
        NativeLibrary.SetDllImportResolver(typeof(StellaModel).Assembly, (_, _, _) =>
        {
            calls++;
            switch (kind)
            {
                case Kind.ReturnsTheLibrary:
                    return library;
                case Kind.ReturnsNothing:
                    return 0;
                case Kind.ReturnsAnotherLibrary:
                    return NativeLibrary.GetMainProgramHandle();
                case Kind.Throws:
                case Kind.ThrowsTheFirstTime when calls == 1:
                    throw new InvalidTimeZoneException("The resolver is broken.");
                case Kind.UsesTheLibrary:
                    Load();
                    return library;
                case Kind.UsesTheLibraryAndCatches when calls == 1:
                    Console.WriteLine(Attempt());
                    return library;
                case Kind.LoadsOnAnotherThread when calls == 1:
                    // The other thread calls this resolver too, and must not wait for the first call.
                    var other = new Thread(() => Console.WriteLine(Attempt()));
                    other.Start();
                    other.Join();
                    return library;
                default:
                    return library;
            }
        });
        for (int i = 0; i < 3; i++)
        {
            Console.WriteLine(Attempt());
        }

        return 0;
    }

    private static string Attempt()
    {
        try
        {
            return Load();
        }
        catch (Exception e)
        {
            return $"{e.GetType().Name}: {e.Message.ReplaceLineEndings(" ")}";
        }
    }

    private static string Load()
    {
        using StellaModel model = StellaModel.Load(Fixtures.Model("tiny-new"), new StellaModelOptions { Threads = 1 });
        return $"{model.Embed("river").Length}";
    }
}
