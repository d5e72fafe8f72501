using System.ComponentModel.DataAnnotations;
using StellaInterop.Memory;
using StellaInterop.Serving;

namespace StellaInterop;

/// <summary>An option whose value is outside its range.</summary>
/// <param name="Name">The name of the property; a dot separates the name of a nested options object from its property.</param>
/// <param name="Value">The value.</param>
/// <param name="Message">A sentence that states the name and the range.</param>
internal readonly record struct OptionError(string Name, object? Value, string Message);

/// <summary>
/// The checks that options objects share. Each object lists its errors once; a constructor throws the first of them, and a service that
/// validates its configuration reports them all.
/// </summary>
internal static class OptionRules
{
    public static OptionError? Range(string name, long? value, long least, long most) =>
        value is { } number && (number < least || number > most)
            ? new OptionError(name, number, $"{name} must be {least} to {most}.")
            : null;

    public static OptionError? Share(string name, double value) =>
        value is > 0 and <= 1 ? null : new OptionError(name, value, $"{name} must be above 0 and at most 1.");

    public static OptionError? Positive(string name, TimeSpan? value) =>
        value is { } time && (time <= TimeSpan.Zero || time > PoolTimes.LongestOption) ? Time(name, time, zero: false) : null;

    public static OptionError? NotNegative(string name, TimeSpan value) =>
        value < TimeSpan.Zero || value > PoolTimes.LongestOption ? Time(name, value, zero: true) : null;

    public static OptionError? NotNull(string name, object? value) =>
        value is null ? new OptionError(name, null, $"{name} must not be null.") : null;

    public static OptionError? Defined<T>(string name, T value)
        where T : struct, Enum =>
        Array.IndexOf(EnumValues<T>.All, value) >= 0
            ? null
            : new OptionError(name, value, $"{name} is {value}; it must be {string.Join(" or ", Enum.GetNames<T>())}.");

    /// <summary>Returns the errors that are not null.</summary>
    public static IEnumerable<OptionError> All(params IEnumerable<OptionError?> errors) =>
        errors.Where(error => error is not null).Select(error => error!.Value);

    /// <exception cref="ArgumentOutOfRangeException">The value is 0 or less.</exception>
    public static void ThrowIfNotPositive(int? value, string name)
    {
        if (value is <= 0)
        {
            throw new ArgumentOutOfRangeException(name, value, $"{name} must be above zero.");
        }
    }

    /// <summary>Returns the errors of a nested options object under its name.</summary>
    public static IEnumerable<OptionError?> Under(string name, IEnumerable<OptionError> errors) =>
        errors.Select(error => (OptionError?)(error with { Name = $"{name}.{error.Name}" }));

    /// <exception cref="ArgumentOutOfRangeException">There is an error; the message is that of the first.</exception>
    public static void ThrowFirst(IEnumerable<OptionError> errors) =>
        ThrowIf(errors.Select(error => (OptionError?)error).FirstOrDefault());

    /// <exception cref="ArgumentOutOfRangeException">There is an error.</exception>
    public static void ThrowIf(OptionError? error)
    {
        if (error is { } found)
        {
            throw new ArgumentOutOfRangeException(found.Name, found.Value, found.Message);
        }
    }

    public static IEnumerable<ValidationResult> Results(IEnumerable<OptionError> errors) =>
        errors.Select(error => new ValidationResult(error.Message, [error.Name]));

    private static OptionError Time(string name, TimeSpan value, bool zero) =>
        new(name, value, $"{name} must be {PoolTimes.Range(zero)}");

    /// <summary>
    /// The values of an enum. <see cref="Enum.IsDefined{T}"/> keeps them in a cache that a garbage collection may empty, so that a call
    /// afterwards would allocate.
    /// </summary>
    private static class EnumValues<T>
        where T : struct, Enum
    {
        public static readonly T[] All = Enum.GetValues<T>();
    }
}
