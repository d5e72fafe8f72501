using Microsoft.Extensions.AI;
using StellaInterop;
using StellaInterop.Models.Mini;

var builder = WebApplication.CreateBuilder(args);
builder.Services.AddStellaEmbeddings(options => options.ModelPath = StellaMiniModel.Path);
builder.Services.AddHealthChecks().AddStellaHealthChecks();
await using WebApplication app = builder.Build();
var prompt = new EmbeddingGenerationOptions
{
    AdditionalProperties = new() { [StellaEmbeddingGenerator.PromptProperty] = Ranking.Options.Prompt },
};
app.MapGet("/ranking", async (IEmbeddingGenerator<string, Embedding<float>> generator) =>
{
    GeneratedEmbeddings<Embedding<float>> vectors = await generator.GenerateAsync(Ranking.All, prompt);
    return string.Join('\n', Ranking.Of([.. vectors.SelectMany(vector => vector.Vector.ToArray())]));
});
app.MapHealthChecks("/health");

// Stops when the parent process closes the standard input.
_ = Task.Run(async () =>
{
    await Console.In.ReadToEndAsync();
    app.Lifetime.StopApplication();
});
await app.RunAsync();
