using StellaInterop.Interop;
using StellaInterop.Tests.Serving;

namespace StellaInterop.Tests;

/// <summary>Each native error code has one exception type, chosen by the code and not by its neighbours.</summary>
internal sealed class NativeErrorTests
{
    /// <summary>From 900 on, codes arise in C#.</summary>
    private static IEnumerable<StellaErrorCode> NativeCodes =>
        Enum.GetValues<StellaErrorCode>().Where(code => (int)code is > 0 and < 900);

    [TestCaseSource(nameof(NativeCodes))]
    public void Every_native_code_has_an_exception_type(StellaErrorCode code) =>
        Assert.That(NativeErrors.TypeOf(code), Is.Not.Null);

    [TestCaseSource(nameof(NativeCodes))]
    public void An_exception_keeps_code_message_and_cause(StellaErrorCode code)
    {
        var cause = new IOException("the cause");
        Exception error = NativeErrors.Create(code, "the message", 7, cause);
        Assert.Multiple(() =>
        {
            Assert.That(error.Message, Is.EqualTo("the message"));
            Assert.That(error.InnerException, Is.SameAs(cause));
            Assert.That((error as StellaException)?.Code, code == StellaErrorCode.Cancelled ? Is.Null : Is.EqualTo(code));
            Assert.That((error as StellaInputException)?.TextIndex, error is StellaInputException ? Is.EqualTo(7) : Is.Null);
        });
    }

    [TestCase(StellaErrorCode.InvalidArgument, typeof(StellaOptionException))]
    [TestCase(StellaErrorCode.PrecisionUnavailable, typeof(StellaOptionException))]
    [TestCase(StellaErrorCode.UnknownDimension, typeof(StellaOptionException))]
    [TestCase(StellaErrorCode.BufferTooSmall, typeof(StellaException))]
    [TestCase(StellaErrorCode.SessionBusy, typeof(StellaException))]
    [TestCase(StellaErrorCode.OutOfMemory, typeof(StellaMemoryException))]
    [TestCase(StellaErrorCode.ThreadRefused, typeof(StellaThreadException))]
    [TestCase(StellaErrorCode.ModelUnsupported, typeof(StellaModelFolderException))]
    [TestCase(StellaErrorCode.TokenizerInvalid, typeof(StellaTokenizerException))]
    [TestCase(StellaErrorCode.Cancelled, typeof(OperationCanceledException))]
    [TestCase((StellaErrorCode)177, typeof(StellaException))]
    public void Only_errors_of_options_are_option_errors(StellaErrorCode code, Type type) =>
        Assert.That(NativeErrors.Create(code, "message", null, null), Is.TypeOf(type));

    [Test]
    public void Refused_memory_has_no_figures_of_a_budget()
    {
        var error = (StellaMemoryException)NativeErrors.Create(StellaErrorCode.OutOfMemory, "message", null, null);
        Assert.Multiple(() =>
        {
            Assert.That((error.RequestedBytes, error.AvailableBytes, error.LimitBytes), Is.EqualTo(((long?)null, (long?)null, (long?)null)));
            Assert.That(error.LimitSource, Is.EqualTo("the system"));
        });
    }
}
