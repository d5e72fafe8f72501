using StellaInterop.Tests;

namespace StellaInterop.Extensions.Tests;

/// <summary>The example of a service in the README is code that compiles and runs: it stands in ReadmeExample.cs.</summary>
internal sealed class ReadmeTests
{
    [Test]
    public void The_readme_shows_the_code_that_is_compiled() =>
        ReadmeBlock.IsCompiled("Use it in a service", "tests/StellaInterop.Extensions.Tests/ReadmeExample.cs");

    [Test]
    public async Task The_example_ranks_the_steps_above_the_bread()
    {
        (float steps, float bread) = await ReadmeExample.RunAsync(Tree.Model("stella-mini"));
        Assert.That(steps, Is.GreaterThan(bread + 0.2f));
    }
}
