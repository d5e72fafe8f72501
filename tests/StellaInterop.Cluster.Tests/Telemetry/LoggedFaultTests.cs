using StellaInterop.Cluster.Telemetry;

namespace StellaInterop.Cluster.Tests.Telemetry;

/// <summary>Tests what is logged of a fault that lasts.</summary>
internal sealed class LoggedFaultTests
{
    [Test]
    public void A_fault_that_lasts_is_logged_once()
    {
        List<string> logged = [];
        var fault = new LoggedFault(logged.Add);
        fault.Begin(new TimeoutException("No answer to call 1."));
        fault.Begin(new TimeoutException("No answer to call 2."));
        fault.Begin(new IOException("The folder is away."));
        fault.End();
        fault.Begin(new IOException("The folder is away again."));
        Assert.That(logged, Is.EqualTo(["No answer to call 1.", "The folder is away.", "The folder is away again."]));
    }
}
