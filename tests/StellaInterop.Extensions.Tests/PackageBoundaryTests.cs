using System.Reflection;
using System.Runtime.CompilerServices;

namespace StellaInterop.Extensions.Tests;

/// <summary>Tests the boundary between the packages, which may have different versions in one process.</summary>
internal sealed class PackageBoundaryTests
{
    private static readonly Assembly Extensions = typeof(StellaEmbeddingGenerator).Assembly;

    [Test]
    public void Extensions_cannot_access_internals_of_the_library() =>
        Assert.That(
            typeof(StellaModel).Assembly.GetCustomAttributes<InternalsVisibleToAttribute>().Select(friend => friend.AssemblyName),
            Has.None.EqualTo(Extensions.GetName().Name));

    [Test]
    public void Extensions_do_not_depend_on_OpenTelemetry() =>
        Assert.That(Extensions.GetReferencedAssemblies().Select(assembly => assembly.Name), Has.None.StartsWith("OpenTelemetry"));

    [Test]
    public void Public_enums_have_more_than_one_member()
    {
        Type[] enums = [.. typeof(StellaModel).Assembly.GetExportedTypes().Concat(Extensions.GetExportedTypes()).Where(type => type.IsEnum)];
        Assert.That(enums, Has.Length.GreaterThan(10));
        Assert.That(enums.Where(type => Enum.GetNames(type).Length < 2), Is.Empty);
    }

    [Test]
    public void Public_types_are_not_positional_records()
    {
        Type[] types = [.. typeof(StellaModel).Assembly.GetExportedTypes().Concat(Extensions.GetExportedTypes())];
        Assert.That(types.Where(type => type.GetMethod("Deconstruct") is not null), Is.Empty);
    }
}
