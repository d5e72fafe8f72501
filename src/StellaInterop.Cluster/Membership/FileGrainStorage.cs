using System.Security.Cryptography;
using System.Text;
using Microsoft.Win32.SafeHandles;
using Orleans.Storage;
using StellaInterop.Cluster.Errors;

namespace StellaInterop.Cluster.Membership;

/// <summary>Keeps the state of each grain in a file of its own, for the nodes of one machine.</summary>
/// <remarks>
/// The ETag is the hash of the file, so a writer succeeds only if the file has the bytes that the writer knows. Each operation holds a lock file,
/// because two nodes may have an activation of the same grain for a moment.
/// </remarks>
internal sealed class FileGrainStorage(string folder, IGrainStorageSerializer serializer) : IGrainStorage
{
    private const int LockAttempts = 500;

    private static readonly TimeSpan LockDelay = TimeSpan.FromMilliseconds(20);

    public async Task ReadStateAsync<T>(string stateName, GrainId grainId, IGrainState<T> grainState)
    {
        string path = PathOf(stateName, grainId);
        using FileStream held = await LockAsync().ConfigureAwait(false);
        byte[]? content = Read(path);
        grainState.State = content is null ? Activator.CreateInstance<T>() : Deserialize<T>(path, content);
        grainState.RecordExists = content is not null;
        grainState.ETag = Hash(content);
    }

    public async Task WriteStateAsync<T>(string stateName, GrainId grainId, IGrainState<T> grainState)
    {
        string path = PathOf(stateName, grainId);
        byte[] content = serializer.Serialize(grainState.State).ToArray();
        using FileStream held = await LockAsync().ConfigureAwait(false);
        Check(path, grainState.ETag);
        string temporary = path + ".tmp";
        using (SafeFileHandle file = File.OpenHandle(temporary, FileMode.Create, FileAccess.Write, FileShare.None, FileOptions.WriteThrough))
        {
            await RandomAccess.WriteAsync(file, content, 0).ConfigureAwait(false);
        }

        File.Move(temporary, path, overwrite: true);
        grainState.RecordExists = true;
        grainState.ETag = Hash(content);
    }

    public async Task ClearStateAsync<T>(string stateName, GrainId grainId, IGrainState<T> grainState)
    {
        string path = PathOf(stateName, grainId);
        using FileStream held = await LockAsync().ConfigureAwait(false);
        Check(path, grainState.ETag);
        File.Delete(path);
        grainState.State = Activator.CreateInstance<T>();
        grainState.RecordExists = false;
        grainState.ETag = null;
    }

    private static void Check(string path, string? expected)
    {
        string? stored = Hash(Read(path));
        if (stored != expected)
        {
            throw new InconsistentStateException($"The state in {path} has changed since it was read.", stored, expected, storageException: null);
        }
    }

    private static byte[]? Read(string path) => File.Exists(path) ? File.ReadAllBytes(path) : null;

    private static string? Hash(byte[]? content) => content is null ? null : Convert.ToHexStringLower(SHA256.HashData(content));

    private T Deserialize<T>(string path, byte[] content)
    {
        try
        {
            return serializer.Deserialize<T>(BinaryData.FromBytes(content)) ?? throw new FormatException("It is empty");
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            throw new ClusterException($"The state in {path} is damaged: {e.Message.TrimEnd('.')}. Restore the file, or delete it to begin anew.", e);
        }
    }

    /// <summary>Returns the path of a state. A grain key may be longer than a file name, so the name has a hash of it.</summary>
    private string PathOf(string stateName, GrainId grainId)
    {
        byte[] hash = SHA256.HashData(Encoding.UTF8.GetBytes($"{stateName}\n{grainId}"));
        return Path.Combine(folder, $"{Convert.ToHexStringLower(hash)}.json");
    }

    private async Task<FileStream> LockAsync()
    {
        StateFolder.Create(folder);
        string path = Path.Combine(folder, ".lock");
        for (int attempt = 1; ; attempt++)
        {
            try
            {
                return new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
            }
            catch (IOException) when (attempt < LockAttempts)
            {
                await Task.Delay(LockDelay).ConfigureAwait(false);
            }
        }
    }
}
