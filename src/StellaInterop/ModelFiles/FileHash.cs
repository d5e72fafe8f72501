using System.Buffers;
using System.Security.Cryptography;
using StellaInterop.Interop;

namespace StellaInterop.ModelFiles;

/// <summary>Hashes files of any size.</summary>
internal static class FileHash
{
    private const int BufferBytes = 1 << 20;

    /// <summary>Returns the length of a file, with links followed; 0 for a pipe or a device.</summary>
    public static long Length(string path)
    {
        try
        {
            var file = new FileInfo(path);
            return (file.ResolveLinkTarget(returnFinalTarget: true) as FileInfo ?? file).Length;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw Unreadable(path, e);
        }
    }

    /// <summary>Hashes a file, and calls <paramref name="onRead"/> with the number of bytes of each read.</summary>
    public static StellaManifestFile Compute(string path, Action<int> onRead, CancellationToken cancellationToken)
    {
        // Checked before the open: pipes and devices have length 0, and opening a pipe waits for a writer.
        if (Length(path) == 0)
        {
            throw new StellaModelFolderException(StellaErrorCode.ModelFileInvalid, $"{path} is empty or not a regular file. Download the file again.");
        }

        byte[] buffer = ArrayPool<byte>.Shared.Rent(BufferBytes);
        try
        {
            using var sha256 = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
            using var blake3 = new HasherHandle();
            using var stream = new FileStream(
                path, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 0, FileOptions.SequentialScan);
            long size = 0;
            while (stream.Read(buffer) is var read and > 0)
            {
                cancellationToken.ThrowIfCancellationRequested();
                sha256.AppendData(buffer, 0, read);
                blake3.Append(buffer.AsSpan(0, read));
                size += read;
                onRead(read);
            }

            return new StellaManifestFile
            {
                Size = size,
                Sha256 = Convert.ToHexStringLower(sha256.GetHashAndReset()),
                Blake3 = blake3.Finish(),
            };
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw Unreadable(path, e);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    /// <summary>Creates the error of a file that does not exist or cannot be read.</summary>
    public static StellaModelFolderException Unreadable(string path, Exception cause) =>
        cause is FileNotFoundException or DirectoryNotFoundException
            ? new(StellaErrorCode.ModelFileMissing, $"{path} does not exist.", cause)
            : new(StellaErrorCode.ModelFileUnreadable, $"{path} cannot be read.", cause);
}
