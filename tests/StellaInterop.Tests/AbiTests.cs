using System.Reflection;
using System.Runtime.InteropServices;
using StellaInterop.Interop;
using StellaInterop.Memory;
using StellaInterop.Serving;
using StellaInterop.Tests.Serving;

namespace StellaInterop.Tests;

/// <summary>The managed bindings and the native library agree on exports, error codes and enum values.</summary>
internal sealed class AbiTests
{
    [OneTimeSetUp]
    public void Load() => NativeLibraryLoader.EnsureLoaded();

    [Test]
    public void Every_imported_function_is_exported_by_the_native_library()
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

    /// <summary>An assembly cannot open a connection without a reference to a networking assembly.</summary>
    [Test]
    public void The_library_references_no_networking_assembly()
    {
        IEnumerable<string?> references = typeof(StellaModel).Assembly.GetReferencedAssemblies().Select(name => name.Name);
        Assert.That(references, Has.None.StartsWith("System.Net").And.Not.Empty);
    }

    [Test]
    public void The_native_library_has_the_ABI_version_of_the_bindings()
    {
        Assert.That(NativeMethods.stella_abi_version(), Is.EqualTo(NativeMethods.STELLA_ABI_VERSION));
        Assert.That((int)NativeMethods.stella_abi_struct_size((uint)NativeStruct.ModelInfo), Is.EqualTo(104));
    }

    [Test]
    public void Public_error_codes_equal_the_native_error_codes()
    {
        // Codes from 900 on come from managed code.
        Assert.That(
            Enum.GetValues<StellaErrorCode>().Where(code => (int)code is > 0 and < 900).Select(code => (code.ToString(), (int)code)),
            Is.EquivalentTo(Enum.GetValues<NativeErrorCode>().Select(code => (code.ToString(), (int)code))));
    }

    [Test]
    public void Public_enums_have_the_values_of_the_native_enums()
    {
        Assert.Multiple(() =>
        {
            AssertSameMembers<StellaPrecision, NativePrecision>(("Float32", "F32"), ("BFloat16", "BF16"));
            AssertSameMembers<StellaEncoder, NativeEncoder>();
            AssertSameMembers<StellaCpuLevel, NativeCpuLevel>();
            AssertSameMembers<StellaLoadMode, NativeLoadMode>();
            AssertSameMembers<StellaPoolingMode, NativePooling>();
            AssertSameMembers<StellaDevice, NativeDevice>();
            // The public names are for users, the native names describe the implementation.
            AssertSameMembers<StellaLongTextBehavior, NativeLongText>(("Error", "Refuse"));
            AssertSameMembers<StellaArchitecture, NativeArchitecture>(("NewModel", "New"));
        });
    }

    /// <summary>Asserts that two enums have the same members, ignoring case, except for the given pairs of names.</summary>
    private static void AssertSameMembers<TPublic, TNative>(params (string Public, string Native)[] names)
        where TPublic : struct, Enum
        where TNative : struct, Enum =>
        Assert.That(
            Enum.GetValues<TPublic>().Select(value =>
                ((names.FirstOrDefault(name => name.Public == value.ToString()).Native ?? value.ToString()).ToUpperInvariant(), Convert.ToUInt32(value))),
            Is.EquivalentTo(Enum.GetValues<TNative>().Select(value => (value.ToString().ToUpperInvariant(), Convert.ToUInt32(value)))));
}
