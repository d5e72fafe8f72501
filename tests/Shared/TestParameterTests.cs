using System.Reflection;
using NUnit.Framework.Internal;

namespace StellaInterop.Tests;

/// <summary>Every parameter of a test has values. NUnit silently runs no test case for a parameter without values.</summary>
internal sealed class TestParameterTests
{
    private static readonly Assembly Assembly = typeof(TestParameterTests).Assembly;

    [Test]
    public void Every_Values_attribute_has_values()
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
