using System.Reflection;
using System.Runtime.InteropServices;
using StellaInterop.Interop;
using StellaInterop.Memory;
using StellaInterop.Serving;
using StellaInterop.Tests.Serving;

namespace StellaInterop.Tests;

/// <summary>Both sides of the boundary name the same things.</summary>
internal sealed class AbiTests
{
    [OneTimeSetUp]
    public void Load() => NativeLibraryLoader.EnsureLoaded();

    [Test]
    public void Every_import_has_its_export()
    {
        string library = Path.Combine(AppContext.BaseDirectory, "libstella_interop.so");
        nint handle = NativeLibrary.Load(File.Exists(library) ? library : "stella_interop");
        string[] imports = [.. typeof(NativeMethods)
            .GetMethods(BindingFlags.Static | BindingFlags.NonPublic)
            .Select(method => method.GetCustomAttribute<DllImportAttribute>()?.EntryPoint)
            .OfType<string>()];
        Assert.That(imports, Has.Length.GreaterThan(15));
        Assert.That(imports.Where(name => !NativeLibrary.TryGetExport(handle, name, out _)), Is.Empty);
        NativeLibrary.Free(handle);
    }

    /// <summary>What a library does not refer to it does not call.</summary>
    [Test]
    public void The_library_refers_to_nothing_that_opens_a_connection()
    {
        IEnumerable<string?> references = typeof(StellaModel).Assembly.GetReferencedAssemblies().Select(name => name.Name);
        Assert.That(references, Has.None.StartsWith("System.Net").And.Not.Empty);
    }

    [Test]
    public void The_library_speaks_this_version()
    {
        Assert.That(NativeMethods.stella_abi_version(), Is.EqualTo(NativeMethods.STELLA_ABI_VERSION));
        Assert.That((int)NativeMethods.stella_abi_struct_size((uint)NativeStruct.ModelInfo), Is.EqualTo(104));
    }

    [Test]
    public void Error_codes_are_those_of_the_native_library()
    {
        // From 900 on they arise before or beside the library.
        Assert.That(
            Enum.GetValues<StellaErrorCode>().Where(code => (int)code is > 0 and < 900).Select(code => (code.ToString(), (int)code)),
            Is.EquivalentTo(Enum.GetValues<NativeErrorCode>().Select(code => (code.ToString(), (int)code))));
    }

    [Test]
    public void Public_enums_are_numbered_as_the_native_ones()
    {
        Assert.Multiple(() =>
        {
            Same<StellaPrecision, NativePrecision>(("Float32", "F32"), ("BFloat16", "BF16"));
            Same<StellaEncoder, NativeEncoder>();
            Same<StellaCpuLevel, NativeCpuLevel>();
            Same<StellaLoadMode, NativeLoadMode>();
            Same<StellaPoolingMode, NativePooling>();
            Same<StellaDevice, NativeDevice>();
            // Named for people on one side, for what the code does on the other.
            Same<StellaLongTextBehavior, NativeLongText>(("Error", "Refuse"));
            Same<StellaArchitecture, NativeArchitecture>(("NewModel", "New"));
        });
    }

    /// <summary>Compares the names of members, case aside, and their numbers. Some have another name in native code on purpose.</summary>
    private static void Same<TPublic, TNative>(params (string Public, string Native)[] names)
        where TPublic : struct, Enum
        where TNative : struct, Enum =>
        Assert.That(
            Enum.GetValues<TPublic>().Select(value =>
                ((names.FirstOrDefault(name => name.Public == value.ToString()).Native ?? value.ToString()).ToUpperInvariant(), Convert.ToUInt32(value))),
            Is.EquivalentTo(Enum.GetValues<TNative>().Select(value => (value.ToString().ToUpperInvariant(), Convert.ToUInt32(value)))));
}
