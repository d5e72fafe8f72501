namespace StellaInterop.Soak.FaultInjection;

/// <summary>Texts that always fail, each in a different way, and the errors that are injected.</summary>
internal static class Poison
{
    public const string Panic = "an injected panic";
    public const string Named = "an injected non-finite vector";
    public const string Unnamed = "an injected failure of the forward pass";
    public const string Head = "an injected missing head";

    /// <summary>Gets the texts. The error of the first has its index, that of the second has none, and the third panics.</summary>
    public static IReadOnlyList<string> Texts { get; } = ["a named poison", "an unnamed poison", "a poison that panics"];

    public static StellaException ErrorOf(int text, int index) => text switch
    {
        0 => new StellaInputException(StellaErrorCode.ResultNotFinite, Named, index),
        1 => new StellaException(StellaErrorCode.ForwardFailed, Unnamed),
        _ => new StellaException(StellaErrorCode.Panic, Panic),
    };

    /// <summary>Returns whether an error or one of its causes was injected.</summary>
    public static bool IsInjected(Exception? error) =>
        error is StellaException { Message: Panic or Named or Unnamed or Head } || (error is not null && IsInjected(error.InnerException));
}
