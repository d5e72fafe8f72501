using System.ComponentModel.DataAnnotations;

namespace StellaInterop;

/// <summary>Represents an option whose value is outside its range.</summary>
/// <param name="Name">The name of the property; a dot separates the name of a nested options object from its property.</param>
/// <param name="Value">The value.</param>
/// <param name="Message">A sentence that states the name and the range.</param>
internal readonly record struct OptionError(string Name, object? Value, string Message);

/// <summary>Checks options and arguments.</summary>
/// <remarks>
/// An options object lists its errors once, with the methods that return an <see cref="OptionError"/>. A constructor throws the first
/// error; a service that validates its configuration reports all of them. The methods that begin with <c>ThrowIf</c> check arguments.
/// </remarks>
internal static class Guard
{
    /// <summary>The longest time that a timer of .NET accepts, rounded down to days.</summary>
    public static readonly TimeSpan LongestTimer = TimeSpan.FromDays(49);

    /// <summary>
    /// The longest time of an option. .NET reads a bare number in configuration as days, so a day or more is most likely a mistake and is
    /// refused.
    /// </summary>
    private static readonly TimeSpan LongestOption = new(23, 59, 59);

    public static OptionError? Range(string name, long? value, long min, long max) =>
        value is { } number && (number < min || number > max)
            ? new OptionError(name, number, $"{name} must be {min} to {max}.")
            : null;

    /// <summary>Checks a share of a whole: above 0 and at most 1.</summary>
    public static OptionError? Share(string name, double value) =>
        value is > 0 and <= 1 ? null : new OptionError(name, value, $"{name} must be above 0 and at most 1.");

    public static OptionError? Positive(string name, TimeSpan? value) =>
        value is { } time && (time <= TimeSpan.Zero || time > LongestOption) ? TimeError(name, time, "above 0") : null;

    public static OptionError? NotNegative(string name, TimeSpan value) =>
        value < TimeSpan.Zero || value > LongestOption ? TimeError(name, value, "0") : null;

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

    /// <summary>Returns the errors of a nested options object under its name.</summary>
    public static IEnumerable<OptionError?> Under(string name, IEnumerable<OptionError> errors) =>
        errors.Select(error => (OptionError?)(error with { Name = $"{name}.{error.Name}" }));

    /// <summary>Converts the errors for a service that validates its configuration.</summary>
    public static IEnumerable<ValidationResult> Results(IEnumerable<OptionError> errors) =>
        errors.Select(error => new ValidationResult(error.Message, [error.Name]));

    /// <exception cref="ArgumentOutOfRangeException">There is an error. The message is that of the first error.</exception>
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

    /// <exception cref="ArgumentOutOfRangeException">The value is 0 or less.</exception>
    public static void ThrowIfNotPositive(int? value, string name)
    {
        if (value is <= 0)
        {
            throw new ArgumentOutOfRangeException(name, value, $"{name} must be above zero.");
        }
    }

    /// <exception cref="ArgumentOutOfRangeException">The time is below zero or above <see cref="LongestTimer"/>.</exception>
    public static void ThrowIfNotTimer(TimeSpan value, string name, string subject)
    {
        if (value < TimeSpan.Zero || value > LongestTimer)
        {
            throw new ArgumentOutOfRangeException(name, value, $"{subject} must be 0 to {LongestTimer.TotalDays} days.");
        }
    }

    /// <exception cref="ArgumentOutOfRangeException">The scale is negative or not finite.</exception>
    public static void ThrowIfNotScale(float value, string name)
    {
        if (!float.IsFinite(value) || value < 0)
        {
            throw new ArgumentOutOfRangeException(name, value, $"{name} must be finite and not negative.");
        }
    }

    /// <exception cref="ArgumentException">A buffer has another length than the call needs.</exception>
    public static void ThrowIfLengthIsNot(int expected, int length, string name)
    {
        if (length != expected)
        {
            throw new ArgumentException($"{name} has {length} elements; {expected} are needed.", name);
        }
    }

    /// <exception cref="ArgumentException">Two vectors have different lengths.</exception>
    public static void ThrowIfDimensionsDiffer(int first, int second, string nameOfSecond)
    {
        if (first != second)
        {
            throw new ArgumentException(
                $"{nameOfSecond} has {second} elements, and the other vector {first}. Only vectors of one dimension can be compared.",
                nameOfSecond);
        }
    }

    /// <exception cref="ArgumentException">The length of a matrix is not the number of its rows times their dimension.</exception>
    public static void ThrowIfNotMatrix(int dimension, int rowCount, int length, string name)
    {
        if ((long)dimension * rowCount != length)
        {
            throw new ArgumentException(
                $"{name} has {length} elements; {rowCount} rows of {dimension} have {(long)dimension * rowCount}. Query and rows must have one dimension.",
                name);
        }
    }

    /// <exception cref="ArgumentException">A buffer has no room for the vectors of a call.</exception>
    public static void ThrowIfNoRoomForVectors(int vectorCount, int dimension, int length, string name)
    {
        if (length / dimension < vectorCount)
        {
            throw new ArgumentException(
                $"{vectorCount} vectors of {dimension} need {(long)vectorCount * dimension} numbers; there is room for {length}.", name);
        }
    }

    /// <exception cref="ArgumentException">A buffer has room for some token counts of a call, and not for all.</exception>
    public static void ThrowIfNoRoomForCounts(int textCount, int length, string name)
    {
        // An empty buffer wants no counts.
        if (length > 0 && length < textCount)
        {
            throw new ArgumentException($"{textCount} texts need as many counts; there is room for {length}.", name);
        }
    }

    private static OptionError TimeError(string name, TimeSpan value, string min) => new(
        name,
        value,
        $"{name} must be {min} to {LongestOption:c}, as hours:minutes:seconds. In configuration a bare number means days: write 00:00:05 for 5 seconds.");

    /// <summary>
    /// The values of an enum. <see cref="Enum.IsDefined{T}"/> keeps them in a cache that a garbage collection may empty, so that a later
    /// call would allocate.
    /// </summary>
    private static class EnumValues<T>
        where T : struct, Enum
    {
        public static readonly T[] All = Enum.GetValues<T>();
    }
}
