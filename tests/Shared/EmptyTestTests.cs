using System.Reflection;
using NUnit.Framework.Internal;

namespace StellaInterop.Tests;

/// <summary>No test of an assembly has parameters without values: NUnit would run it with none, and say nothing.</summary>
internal sealed class EmptyTestTests
{
    private static readonly Assembly Assembly = typeof(EmptyTestTests).Assembly;

    [Test]
    public void Every_parameter_has_values()
    {
        IEnumerable<string> empty =
            from type in Assembly.GetTypes()
            from method in type.GetMethods(BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Instance | BindingFlags.Static)
            from parameter in method.GetParameters()
            let values = parameter.GetCustomAttribute<ValuesAttribute>()
            where values is not null && !values.GetData(new ParameterWrapper(new MethodWrapper(type, method), parameter)).Cast<object?>().Any()
            select $"{type.Name}.{method.Name}({parameter.Name})";
        Assert.That(empty, Is.Empty);
    }
}
