using CsCheck;

namespace StellaInterop.Bulk.Tests.Support;

/// <summary>Generators for CsCheck.</summary>
internal static class Any
{
    public static Gen<T> Of<T>(params T[] values) => Gen.Int[0, values.Length - 1].Select(index => values[index]);
}
