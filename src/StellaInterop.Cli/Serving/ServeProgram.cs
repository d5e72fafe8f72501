using System.Security.Cryptography.X509Certificates;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Options;
using StellaInterop.Cli.Errors;
using StellaInterop.Cli.Terminal;
using StellaInterop.Models.Mini;

namespace StellaInterop.Cli.Serving;

/// <summary>Runs the server of <c>stella serve</c>. Only this folder of the command line, and that of clusters, use ASP.NET Core.</summary>
internal static class ServeProgram
{
    /// <summary>The section with the options of the server, and the prefix of variables of the environment.</summary>
    private const string SectionName = "Server";
    private const string EnvironmentPrefix = "STELLA_";
    private const string MiniName = "stella-mini";

    /// <summary>The time for the requests that the server has when it stops. Each model then drains within the same time.</summary>
    private static readonly TimeSpan DrainTimeout = TimeSpan.FromSeconds(20);

    /// <summary>Serves until the token is cancelled.</summary>
    /// <returns>The exit code.</returns>
    public static async Task<int> RunAsync(ServeSettings settings, CancellationToken cancellationToken)
    {
        WebApplication application = Build(settings);
        await using (application.ConfigureAwait(false))
        {
            try
            {
                await application.StartAsync(cancellationToken).ConfigureAwait(false);
            }
            catch (OptionsValidationException e)
            {
                foreach (string failure in e.Failures)
                {
                    ErrorReport.Write(failure);
                }

                return (int)ExitCode.Usage;
            }
            catch (IOException e) when (e.InnerException is AddressInUseException)
            {
                throw new CliException(ExitCode.Other, $"{e.Message.TrimEnd('.')}. Stop the other program, or choose another address by --urls.");
            }
            catch (InvalidDataException e)
            {
                // The file of keys.
                throw new CliException(ExitCode.Other, e.Message);
            }

            StellaServerOptions options = application.Services.GetRequiredService<IOptions<StellaServerOptions>>().Value;
            PrintAddresses(application.Urls, options);
            await Task.Delay(Timeout.InfiniteTimeSpan, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            await application.StopAsync(CancellationToken.None).ConfigureAwait(false);
        }

        return (int)ExitCode.Success;
    }

    private static WebApplication Build(ServeSettings settings)
    {
        // The empty builder reads no files of the working directory.
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions { ApplicationName = "stella" });
        if (settings.ConfigurationFile is { } file)
        {
            AddFile(builder.Configuration, file);
        }

        _ = builder.Configuration.AddEnvironmentVariables(EnvironmentPrefix);
        IConfigurationSection section = builder.Configuration.GetSection(SectionName);
        _ = builder.Services.AddStellaServer(section);
        _ = builder.Services.PostConfigure<StellaServerOptions>(options => Apply(settings, options));
        _ = builder.Services.Configure<HostOptions>(host => host.ShutdownTimeout = DrainTimeout);
        // CommandStop handles signals.
        _ = builder.Services.AddSingleton<IHostLifetime>(new NoLifetime());
        ServerLogging.Add(builder.Logging, settings.Verbosity);
        _ = builder.WebHost.UseKestrelCore().ConfigureKestrel(kestrel => kestrel.AddServerHeader = false);
        string? certificate = settings.Certificate ?? section["Certificate"];
        string[] urls = ListenAddresses.Parse(
            settings.Urls ?? section["Urls"] ?? ServeSettings.DefaultUrl,
            hasKeys: (settings.KeyFile ?? section[nameof(StellaServerOptions.KeyFile)]) is { Length: > 0 },
            settings.IsInsecure,
            certificate is not null,
            out bool hasHttps);
        if (certificate is not null && !hasHttps)
        {
            throw new CliException(ExitCode.Usage, "There is a certificate, and no address of --urls uses it. Give an address with https.");
        }

        _ = builder.WebHost.UseUrls(urls);
        if (certificate is not null)
        {
            string? password = (settings.CertificatePasswordFile ?? section["CertificatePasswordFile"]) is { } passwordFile
                ? ServerCertificate.ReadPassword(passwordFile)
                : section["CertificatePassword"];
#pragma warning disable CA2000 // The certificate lives as long as the server.
            X509Certificate2 loaded = ServerCertificate.Load(certificate, settings.CertificateKey ?? section["CertificateKey"], password);
#pragma warning restore CA2000
            X509Certificate2Collection chain = ServerCertificate.LoadChain(certificate, password);
            _ = builder.WebHost.UseKestrelHttpsConfiguration().ConfigureKestrel(kestrel => kestrel.ConfigureHttpsDefaults(
                https => (https.ServerCertificate, https.ServerCertificateChain) = (loaded, chain)));
        }

        WebApplication application = builder.Build();
        _ = application.MapStellaServer();
        return application;
    }

    private static void AddFile(IConfigurationManager configuration, string file)
    {
        try
        {
            _ = configuration.AddJsonFile(Path.GetFullPath(file), optional: false, reloadOnChange: false);
        }
        catch (Exception e) when (e is IOException or InvalidDataException or UnauthorizedAccessException)
        {
            throw new CliException(ExitCode.Usage, $"--config {file} cannot be read.", e);
        }
    }

    private static void Apply(ServeSettings settings, StellaServerOptions options)
    {
        if (settings.Models.Count > 0)
        {
            options.Models.Clear();
        }

        foreach (string model in settings.Models)
        {
            options.Models.Add(model.Split('=', 2) is [var name, var path]
                ? new StellaServedModelOptions { Name = name, Path = path }
                : new StellaServedModelOptions { Path = model });
        }

        if (options.Models.Count == 0)
        {
            options.Models.Add(new StellaServedModelOptions { Name = MiniName, Path = StellaMiniModel.Path });
        }

        if (settings.CorsOrigins.Count > 0)
        {
            options.CorsOrigins.Clear();
        }

        foreach (string origin in settings.CorsOrigins)
        {
            options.CorsOrigins.Add(origin);
        }

        options.KeyFile = settings.KeyFile ?? options.KeyFile;
        options.MaxBodyBytes = settings.MaxBodyBytes ?? options.MaxBodyBytes;
        options.MaxBufferedBytes = settings.MaxBufferedBytes ?? options.MaxBufferedBytes;
    }

    private static void PrintAddresses(ICollection<string> urls, StellaServerOptions options)
    {
        string names = string.Join(", ", options.Models.Select(model => model.Name ?? model.Path));
        ConsoleOutput.WriteResult($"Serving {names} at {string.Join(", ", urls)}. Try:");
        string key = options.KeyFile is null ? "" : "-H 'Authorization: Bearer KEY' ";
        ConsoleOutput.WriteResult($"curl {urls.First()}/v1/embeddings {key}-H 'Content-Type: application/json' -d '{{\"input\": \"a text\"}}'");
    }
}
