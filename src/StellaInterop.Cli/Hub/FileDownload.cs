using System.Buffers;
using System.Net;
using System.Net.Http.Headers;

namespace StellaInterop.Cli.Hub;

/// <summary>Fetches one file into a partial file, and goes on where an earlier run stopped. One instance a file.</summary>
internal sealed class FileDownload(HubClient client, IDownloadReport report)
{
    private const int BufferBytes = 128 << 10;

    /// <summary>What a file may have whose size the server does not publish: none of the large ones.</summary>
    private const long MaxUnknownBytes = 64 << 20;

    /// <summary>The version that the bytes of this run belong to, where the server has told it.</summary>
    private EntityTagHeaderValue? tag;

    /// <summary>Fetches what is missing of <paramref name="file"/>. The partial file holds it all afterwards, not yet checked.</summary>
    public async Task FetchAsync(HubFile file, Uri address, string partial, CancellationToken cancellationToken)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(partial)!);
        using FileStream target = Open(partial);
        if (file.PublishedSize is not { } size || target.Length > size)
        {
            // Without a size there is no telling whether it is whole.
            target.SetLength(0);
        }

        await client.WithRetriesAsync(
            () => FetchRestAsync(file, address, target, cancellationToken),
            () => target.Length,
            cancellationToken).ConfigureAwait(false);
        ToDisk(target);
    }

    // So that no power cut leaves a whole file with holes: FlushAsync would leave the bytes to the system.
    private static void ToDisk(FileStream target) => target.Flush(flushToDisk: true);

    private static FileStream Open(string partial)
    {
        try
        {
            return new FileStream(partial, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None, bufferSize: 0, useAsync: true);
        }
        catch (IOException e)
        {
            throw new CliException(ExitCode.Other, $"{partial} cannot be written; is another download of it running?", e);
        }
    }

    /// <summary>One try. Gives the length that the partial file has in the end.</summary>
    private async Task<long> FetchRestAsync(HubFile file, Uri address, FileStream target, CancellationToken cancellationToken)
    {
        long? size = file.PublishedSize;
        long start = size is null ? 0 : target.Length;
        if (start == size)
        {
            return start;
        }

        HubRange? range = start > 0 ? new HubRange(start, tag) : null;
        using HttpResponseMessage response = await client.GetAsync(address, range, cancellationToken).ConfigureAwait(false);
        if (response.StatusCode == HttpStatusCode.RequestedRangeNotSatisfiable)
        {
            target.SetLength(0);
            throw new TransientHubException($"{file.Path}: the server does not go on at byte {start}");
        }

        if (!GoesOn(response, start))
        {
            // The whole file comes, whatever was asked for.
            start = 0;
        }

        tag = response.Headers.ETag is { IsWeak: false } strong ? strong : null;
        target.SetLength(start);
        target.Position = start;
        await CopyAsync(file, address, response, target, cancellationToken).ConfigureAwait(false);
        return target.Length < size
            ? throw new TransientHubException($"{file.Path} broke off at byte {target.Length} of {size}")
            : target.Length;
    }

    private static bool GoesOn(HttpResponseMessage response, long start) =>
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
                report.Received(target.Length);
                if (target.Length > (file.PublishedSize ?? MaxUnknownBytes))
                {
                    target.SetLength(0);
                    throw new CliException(
                        ExitCode.ModelRefused, $"{file.Path}: the server sends more than the {file.PublishedSize ?? MaxUnknownBytes} bytes there can be");
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
