using System.IO.Compression;
using System.IO.Pipelines;
using System.Text;
using Microsoft.AspNetCore.Http;
using StellaInterop.Server.Errors;
using StellaInterop.Server.Fields;

namespace StellaInterop.Tests;

/// <summary>The buffer of a body.</summary>
internal sealed class RequestBodyTests
{
    private const int Limit = 1 << 20;

    /// <summary>More than the first buffer, and not a power of two.</summary>
    private static readonly byte[] Content = Encoding.ASCII.GetBytes(new string('a', 100_000));

    [Test]
    public async Task An_announced_length_costs_nothing_before_its_bytes_arrive()
    {
        var pipe = new Pipe();
        var request = Request(pipe.Reader.AsStream());
        request.ContentLength = Limit;
        long before = GC.GetAllocatedBytesForCurrentThread();
        Task<RequestBody> reading = RequestBody.ReadAsync(request, Limit, CancellationToken.None);
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.LessThan(Limit / 4));
        await pipe.Writer.WriteAsync(Content);
        await pipe.Writer.CompleteAsync();
        using RequestBody body = await reading;
        Assert.That(body.Bytes.ToArray(), Is.EqualTo(Content));
        Assert.That(body.Capacity, Is.EqualTo(128 << 10));
    }

    [Test]
    public async Task The_buffer_of_an_unpacked_body_grows_with_its_bytes()
    {
        using var packed = new MemoryStream();
        using (var packer = new GZipStream(packed, CompressionLevel.Fastest, leaveOpen: true))
        {
            packer.Write(Content);
        }

        packed.Position = 0;
        HttpRequest request = Request(packed);
        request.ContentLength = packed.Length;
        request.Headers.ContentEncoding = "gzip";
        using RequestBody body = await RequestBody.ReadAsync(request, Limit, CancellationToken.None);
        Assert.That(body.Bytes.ToArray(), Is.EqualTo(Content));
        Assert.That(body.Capacity, Is.EqualTo(128 << 10));
    }

    [TestCase(1000)]
    [TestCase(16 << 10)]
    [TestCase(99_999)]
    [TestCase(100_000)]
    public async Task A_body_of_exactly_the_limit_is_read_and_a_byte_more_is_refused(int limit)
    {
        byte[] bytes = [.. Enumerable.Repeat((byte)'a', limit)];
        using RequestBody body = await RequestBody.ReadAsync(Request(new MemoryStream(bytes)), limit, CancellationToken.None);
        Assert.That(body.Bytes.Length, Is.EqualTo(limit));
        Assert.That(body.Capacity, Is.EqualTo(limit));
        ServerException? error = Assert.ThrowsAsync<ServerException>(
            () => RequestBody.ReadAsync(Request(new MemoryStream([.. bytes, (byte)'a'])), limit, CancellationToken.None));
        Assert.That(error!.Error.Kind, Is.EqualTo(ErrorKind.BodyTooLarge));
    }

    private static HttpRequest Request(Stream body) => new DefaultHttpContext { Request = { Body = body } }.Request;
}
