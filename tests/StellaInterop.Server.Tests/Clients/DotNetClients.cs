using System.ClientModel;
using System.Net.Http.Headers;
using System.Xml.Linq;
using Microsoft.Extensions.AI;
using OllamaSharp;
using OllamaSharp.Models;
using OpenAI;
using OpenAI.Embeddings;
using AIEmbeddingGenerationOptions = Microsoft.Extensions.AI.EmbeddingGenerationOptions;

namespace StellaInterop.Tests.Clients;

/// <summary>A client of NuGet, which runs in the process of the tests.</summary>
internal abstract class DotNetClient(string package) : ServerClient("NuGet", package)
{
    public override string Version { get; } = (string)XDocument.Load(Path.Combine(SourceTree.Root, "Directory.Packages.props"))
        .Descendants("PackageVersion").Single(version => (string?)version.Attribute("Include") == package).Attribute("Version")!;

    public override async Task<ClientResult> EmbedAsync(ClientRequest request)
    {
        try
        {
            IEnumerable<ReadOnlyMemory<float>> vectors = await GetVectorsAsync(request);
            return new ClientResult([.. vectors.Select(vector => Array.ConvertAll(vector.ToArray(), number => (double)number))], null);
        }
        catch (Exception e)
        {
            return new ClientResult(null, e.ToString());
        }
    }

    protected abstract Task<IEnumerable<ReadOnlyMemory<float>>> GetVectorsAsync(ClientRequest request);
}

internal sealed class OpenAIClientOfNuGet() : DotNetClient("OpenAI")
{
    protected override async Task<IEnumerable<ReadOnlyMemory<float>>> GetVectorsAsync(ClientRequest request)
    {
        EmbeddingClient client = Create(request);
        var options = new OpenAI.Embeddings.EmbeddingGenerationOptions { Dimensions = request.Dimension };
        return request.IsSingle
            ? [(await client.GenerateEmbeddingAsync(request.Texts[0], options)).Value.ToFloats()]
            : (await client.GenerateEmbeddingsAsync(request.Texts, options)).Value.Select(embedding => embedding.ToFloats());
    }

    public static EmbeddingClient Create(ClientRequest request) =>
        new(request.Model, new ApiKeyCredential(request.Key), new OpenAIClientOptions { Endpoint = new Uri($"{request.Address}/v1") });
}

internal sealed class ExtensionsAIClient() : DotNetClient("Microsoft.Extensions.AI.OpenAI")
{
    protected override async Task<IEnumerable<ReadOnlyMemory<float>>> GetVectorsAsync(ClientRequest request)
    {
        using IEmbeddingGenerator<string, Embedding<float>> generator = OpenAIClientOfNuGet.Create(request).AsIEmbeddingGenerator();
        var options = new AIEmbeddingGenerationOptions { Dimensions = request.Dimension };
        return request.IsSingle
            ? [await generator.GenerateVectorAsync(request.Texts[0], options)]
            : (await generator.GenerateAsync(request.Texts, options)).Select(embedding => embedding.Vector);
    }
}

internal sealed class OllamaSharpClient() : DotNetClient("OllamaSharp")
{
    protected override async Task<IEnumerable<ReadOnlyMemory<float>>> GetVectorsAsync(ClientRequest request)
    {
        // The client has no setting for a key, but takes an HttpClient with one.
        using var http = new HttpClient { BaseAddress = new Uri(request.Address) };
        http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", request.Key);
        using var client = new OllamaApiClient(http, request.Model);
        EmbedResponse response = request.IsSingle && request.Dimension is null
            ? await client.EmbedAsync(request.Texts[0])
            : await client.EmbedAsync(new EmbedRequest { Model = request.Model, Input = [.. request.Texts], Dimensions = request.Dimension });
        return response.Embeddings.Select(vector => new ReadOnlyMemory<float>(vector));
    }
}
