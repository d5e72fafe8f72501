using System.Buffers;
using System.Net;
using System.Net.Http.Headers;
using StellaInterop.Cli.Errors;

namespace StellaInterop.Cli.Hub;

/// <summary>Downloads one file into a partial file, which a later run continues. Each file needs its own instance.</summary>
internal sealed class FileDownload(HubClient client, IDownloadProgress progress)
{
    private const int BufferBytes = 128 << 10;

    /// <summary>
    /// The maximum size of a file whose size the server does not publish. Large files always have a published size.
    /// </summary>
    private const long MaxUnpublishedBytes = 64 << 20;

    /// <summary>The version of the file that the bytes of this run belong to, if the server sent an ETag.</summary>
    private EntityTagHeaderValue? entityTag;

    /// <summary>Downloads the missing bytes of a file. The partial file is then complete but not verified.</summary>
    public async Task DownloadAsync(HubFile file, Uri address, string partial, CancellationToken cancellationToken)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(partial)!);
        using FileStream target = Open(partial);
        if (file.PublishedSize is not { } size || target.Length > size)
        {
            // Without a published size, a partial file could be complete already.
            target.SetLength(0);
        }

        await client.WithRetriesAsync(
            () => DownloadRestAsync(file, address, target, cancellationToken),
            () => target.Length,
            cancellationToken).ConfigureAwait(false);
        FlushToDisk(target);
    }

    // FlushAsync would leave the bytes in the cache of the system, and a power failure could leave a file with holes.
    private static void FlushToDisk(FileStream target) => target.Flush(flushToDisk: true);

    private static FileStream Open(string partial)
    {
        try
        {
            return new FileStream(partial, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None, bufferSize: 0, useAsync: true);
        }
        catch (IOException e)
        {
            throw new CliException(ExitCode.Other, $"{partial} cannot be written. Check that no other download of the same file is running.", e);
        }
    }

    /// <summary>Makes one attempt and returns the length of the partial file.</summary>
    private async Task<long> DownloadRestAsync(HubFile file, Uri address, FileStream target, CancellationToken cancellationToken)
    {
        long? size = file.PublishedSize;
        long start = size is null ? 0 : target.Length;
        if (start == size)
        {
            return start;
        }

        HubRange? range = start > 0 ? new HubRange(start, entityTag) : null;
        using HttpResponseMessage response = await client.GetAsync(address, range, cancellationToken).ConfigureAwait(false);
        if (response.StatusCode == HttpStatusCode.RequestedRangeNotSatisfiable)
        {
            target.SetLength(0);
            throw new TransientHubException($"The server did not continue {file.Path} at byte {start}.");
        }

        if (!IsContinuation(response, start))
        {
            // The server sends the whole file instead of the requested range.
            start = 0;
        }

        entityTag = response.Headers.ETag is { IsWeak: false } strong ? strong : null;
        target.SetLength(start);
        target.Position = start;
        await CopyAsync(file, address, response, target, cancellationToken).ConfigureAwait(false);
        return target.Length < size
            ? throw new TransientHubException($"The transfer of {file.Path} ended at byte {target.Length} of {size}.")
            : target.Length;
    }

    private static bool IsContinuation(HttpResponseMessage response, long start) =>
        response.StatusCode == HttpStatusCode.PartialContent && response.Content.Headers.ContentRange?.From == start;

    private async Task CopyAsync(
        HubFile file, Uri address, HttpResponseMessage response, FileStream target, CancellationToken cancellationToken)
    {
        byte[] buffer = ArrayPool<byte>.Shared.Rent(BufferBytes);
        try
        {
            Stream body = await response.Content.ReadAsStreamAsync(cancellationToken).ConfigureAwait(false);
            while (await client.ReceiveAsync(address, Read, cancellationToken).ConfigureAwait(false) is var read and > 0)
            {
                await target.WriteAsync(buffer.AsMemory(0, read), cancellationToken).ConfigureAwait(false);
                progress.ReportReceived(target.Length);
                if (target.Length > (file.PublishedSize ?? MaxUnpublishedBytes))
                {
                    target.SetLength(0);
                    throw new CliException(
                        ExitCode.ModelRefused, $"{file.Path}: The server sent more than the expected {file.PublishedSize ?? MaxUnpublishedBytes} bytes. Run this again, or name another --endpoint.");
                }
            }

            Task<int> Read(CancellationToken token) => body.ReadAsync(buffer.AsMemory(0, BufferBytes), token).AsTask();
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }
}
