using System.Text.Json.Serialization;

namespace StellaInterop.Cluster.Jobs;

[JsonSourceGenerationOptions(UseStringEnumConverter = true)]
[JsonSerializable(typeof(List<StoredJob>))]
internal sealed partial class DirectoryJson : JsonSerializerContext;
