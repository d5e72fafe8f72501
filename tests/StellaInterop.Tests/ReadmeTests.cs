namespace StellaInterop.Tests;

/// <summary>The example of the README is code that compiles and runs: it stands in ReadmeExample.cs.</summary>
internal sealed class ReadmeTests
{
    [Test]
    public void The_readme_shows_the_code_that_is_compiled() =>
        ReadmeBlock.IsCompiled("Use it from C#", "tests/StellaInterop.Tests/ReadmeExample.cs");

    [Test]
    public void The_example_ranks_the_steps_above_the_bread()
    {
        (float steps, float bread) = ReadmeExample.Run();
        Assert.That(steps, Is.GreaterThan(bread + 0.2f));
    }
}
