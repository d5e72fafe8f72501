using System.Net;
using System.Security.Cryptography;
using System.Text;
using System.Text.RegularExpressions;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using StellaInterop.Server.Fields;
using StellaInterop.Server.Http;
using StellaInterop.Server.Keys;
using StellaInterop.Server.OpenApi;
using OpenAIProtocol = StellaInterop.Server.Protocols.OpenAI;

namespace StellaInterop.Tests;

/// <summary>The page about the API.</summary>
internal sealed class ApiPageTests
{
    private const string BrowserAccept = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

    [Test]
    public async Task A_browser_gets_the_page_and_a_client_the_words_of_Ollama()
    {
        await using RunningServer server = await RunningServer.StartAsync();
        ServerAnswer page = await server.SendAsync(HttpMethod.Get, "/", null, ("Accept", BrowserAccept));
        Assert.That(page.Body, Does.StartWith("<!DOCTYPE html>"));
        Assert.That(page.Header("Vary"), Is.EqualTo("Accept"));
        Assert.That((await server.GetAsync("/docs")).Body, Is.EqualTo(page.Body));
        foreach (string? accept in new[] { "*/*", "application/json", "text/html;q=0", "text/plain, image/*" })
        {
            Assert.That((await server.SendAsync(HttpMethod.Get, "/", null, ("Accept", accept))).Body, Is.EqualTo("Ollama is running"), accept);
        }

        Assert.That((await server.PostAsync("/", new { inputs = "a" })).Status, Is.EqualTo(HttpStatusCode.OK));
    }

    [Test]
    public async Task The_page_has_every_route_with_its_fields_and_an_example_that_is_answered()
    {
        await using RunningServer server = await RunningServer.StartAsync();
        string page = WebUtility.HtmlDecode((await server.GetAsync("/docs")).Body);
        ServerRoute[] routes = [.. server.Services.GetRequiredService<EndpointDataSource>().Endpoints
            .Select(endpoint => endpoint.Metadata.GetMetadata<ServerRoute>()!).Where(route => route.Method != ServerRoute.AnyMethod)];
        string[] sections = page.Split("<h3>")[1..];
        Assert.That(sections, Has.Length.EqualTo(routes.Length).And.Length.GreaterThan(20));
        foreach (ServerRoute route in routes)
        {
            string section = sections.Single(section => section.StartsWith($"{route.Method} {route.Path.Replace("{**", "{")}<", StringComparison.Ordinal));
            Assert.That(Names(route.Body ?? [], ""), Is.All.Matches<string>(name => section.Contains($"<code>{name}</code>", StringComparison.Ordinal)), section);
            Match curl = Regex.Match(section, "<code>curl (http://[^ <]*)(?: -H '([^']*)')?(?: -d '([^']*)')?");
            string path = new Uri(curl.Groups[1].Value).AbsolutePath.Replace("/v1/models/model", "/v1/models/tiny", StringComparison.Ordinal);
            ServerAnswer answer = route.Method == "GET" ? await server.GetAsync(path) : await server.PostTextAsync(path, curl.Groups[3].Value);
            bool isRefused = route.Summary.StartsWith("Refused", StringComparison.Ordinal);
            Assert.That((int)answer.Status, Is.EqualTo(isRefused ? 422 : 200), $"{curl.Value}: {answer.Body}");
        }
    }

    [Test]
    public async Task The_page_loads_nothing_and_runs_no_script()
    {
        await using RunningServer server = await RunningServer.StartAsync();
        ServerAnswer answer = await server.GetAsync("/docs");
        Assert.That(answer.Body, Does.Not.Match("(?i)<script|<link|<img|<iframe|<form|<base|@import|url\\(|\\son[a-z]+=|\\ssrc=|\\shref=|\\sstyle="));
        string style = Regex.Match(answer.Body, "<style>(.*?)</style>", RegexOptions.Singleline).Groups[1].Value;
        Assert.That(
            answer.Header("Content-Security-Policy"),
            Does.StartWith($"default-src 'none'; style-src 'sha256-{Convert.ToBase64String(SHA256.HashData(Encoding.UTF8.GetBytes(style)))}'; "));
        Assert.That(answer.Header("X-Content-Type-Options"), Is.EqualTo("nosniff"));
    }

    [Test]
    public async Task The_page_of_a_server_with_keys_tells_only_that_requests_need_one()
    {
        using var folder = new TemporaryFolder();
        KeyFile.Save(folder.File("keys.json"), [new ApiKey { Name = "first", Sha256 = KeyFile.Hash(KeyFile.CreateKey()) }]);
        await using RunningServer server = await RunningServer.StartAsync(options =>
        {
            options.KeyFile = folder.File("keys.json");
            options.Models.Add(new StellaServedModelOptions { Name = "secret-name", Path = Fixtures.Model("tiny-new") });
        });
        ServerAnswer page = await server.GetAsync("/docs");
        Assert.That(page.Status, Is.EqualTo(HttpStatusCode.OK));
        Assert.That(WebUtility.HtmlDecode(page.Body), Does.Contain("-H 'Authorization: Bearer KEY'").And.Not.Contains("secret-name"));
        Assert.That((await server.GetAsync("/openapi.json")).Status, Is.EqualTo(HttpStatusCode.Unauthorized));
    }

    [TestCase("http://a<script>")]
    [TestCase("http://a'$(x)")]
    [TestCase("http://a b")]
    public void An_address_that_is_not_plain_is_not_shown(string address) =>
        Assert.That(ApiPage.Write(OpenAIProtocol.Routes, address, hasKeys: false), Does.Contain("curl http://127.0.0.1:8080/v1/models").And.Not.Contains(address));

    [Test]
    public void Texts_of_the_tables_are_escaped()
    {
        const string text = "<b>\"&'";
        var route = new ServerRoute("POST", "/<b>", OpenAIProtocol.Protocol with { Name = text }, RouteAccess.Key, text, _ => Task.CompletedTask)
        {
            Body = new FieldTable<object>(Field.Note<object>(text, text)).Schema,
        };
        string page = ApiPage.Write([route], "http://a", hasKeys: true);
        Assert.That(page, Does.Not.Contain("<b>").And.Contains("&lt;b&gt;&quot;&amp;&#x27;"));
    }

    private static IEnumerable<string> Names(IEnumerable<IFieldSchema> fields, string prefix) =>
        fields.SelectMany(field => Names(field.Fields, $"{prefix}{field.Name}.").Prepend(prefix + field.Name));
}
