// A worker over a queue that is a folder: what is put into QUEUE/in, one text a line, comes out of QUEUE/out as JSON Lines.
//
//     dotnet run --project samples/FileQueue -c Release -- --Queue:Folder /var/spool/embeddings
//
// Settings of the model are those of StellaEmbeddingsOptions, in the section StellaEmbeddings.

using Microsoft.Extensions.Options;
using StellaInterop;
using StellaInterop.Models.Mini;
using StellaInterop.Samples.FileQueue;

HostApplicationBuilder builder = Host.CreateApplicationBuilder(args);
builder.Services.AddStellaEmbeddings(builder.Configuration.GetSection(StellaEmbeddingsOptions.DefaultSection));
builder.Services.PostConfigure<StellaEmbeddingsOptions>(options =>
{
    if (string.IsNullOrEmpty(options.ModelPath) && string.IsNullOrEmpty(options.ModelName))
    {
        options.ModelPath = StellaMiniModel.Path;
    }
});
builder.Services.AddOptions<QueueOptions>().BindConfiguration("Queue").Validate(
    options => Directory.Exists(options.Folder), "Queue:Folder must be a folder that exists").ValidateOnStart();
builder.Services.AddSingleton(TimeProvider.System);
builder.Services.AddSingleton(services => new JobFolder(services.GetRequiredService<IOptions<QueueOptions>>().Value.Folder));
builder.Services.AddHostedService<QueueWorker>();
await builder.Build().RunAsync();
