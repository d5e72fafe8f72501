using StellaInterop.Interop;
using StellaInterop.Tests.Serving;

namespace StellaInterop.Tests;

/// <summary>Each native error code has its own exception type, regardless of the codes with nearby numbers.</summary>
internal sealed class NativeErrorTests
{
    /// <summary>The codes below 900. Codes from 900 on come from managed code.</summary>
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
    public void A_native_code_is_mapped_to_its_own_exception_type(StellaErrorCode code, Type type) =>
        Assert.That(NativeErrors.Create(code, "message", null, null), Is.TypeOf(type));

    [Test]
    public void A_native_out_of_memory_error_has_no_budget_figures()
    {
        var error = (StellaMemoryException)NativeErrors.Create(StellaErrorCode.OutOfMemory, "message", null, null);
        Assert.Multiple(() =>
        {
            Assert.That((error.RequestedBytes, error.AvailableBytes, error.LimitBytes), Is.EqualTo(((long?)null, (long?)null, (long?)null)));
            Assert.That(error.LimitSource, Is.EqualTo("the system"));
        });
    }
}
