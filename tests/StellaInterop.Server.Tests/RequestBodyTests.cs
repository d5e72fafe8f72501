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

    private RequestRoom room = null!;

    [SetUp]
    public void MakeRoom() => room = new RequestRoom(Limit);

    [TearDown]
    public void All_room_is_given_back() => Assert.That(room.Taken, Is.Zero);

    [Test]
    public async Task An_announced_length_costs_nothing_before_its_bytes_arrive()
    {
        var pipe = new Pipe();
        var request = Request(pipe.Reader.AsStream());
        request.ContentLength = Limit;
        long before = GC.GetAllocatedBytesForCurrentThread();
        Task<RequestBody> reading = RequestBody.ReadAsync(request, Limit, room, CancellationToken.None);
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
        using RequestBody body = await RequestBody.ReadAsync(request, Limit, room, CancellationToken.None);
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
        using RequestBody body = await RequestBody.ReadAsync(Request(new MemoryStream(bytes)), limit, room, CancellationToken.None);
        Assert.That(body.Bytes.Length, Is.EqualTo(limit));
        Assert.That(body.Capacity, Is.EqualTo(limit));
        ServerException? error = Assert.ThrowsAsync<ServerException>(
            () => RequestBody.ReadAsync(Request(new MemoryStream([.. bytes, (byte)'a'])), limit, room, CancellationToken.None));
        Assert.That(error!.Error.Kind, Is.EqualTo(ErrorKind.BodyTooLarge));
    }

    [Test]
    public async Task A_body_that_leaves_too_little_room_is_refused_before_more_of_it_is_read()
    {
        var small = new RequestRoom(Limit / 2);
        using RequestBody first = await RequestBody.ReadAsync(Request(new MemoryStream(new byte[Limit / 4])), Limit, small, CancellationToken.None);
        using var source = new MemoryStream(new byte[Limit]);
        ServerException? error = Assert.ThrowsAsync<ServerException>(() => RequestBody.ReadAsync(Request(source), Limit, small, CancellationToken.None));
        Assert.That(error!.Error.Kind, Is.EqualTo(ErrorKind.Overloaded));
        Assert.That(error.Error.RetryAfter, Is.GreaterThan(TimeSpan.Zero));
        Assert.That(source.Position, Is.EqualTo((Limit / 4) + 1), "the buffer and the byte that it has no room for");
        Assert.That(small.Taken, Is.EqualTo(Limit / 4), "the refused body has left");
    }

    [Test]
    public void A_body_that_breaks_off_gives_its_room_back()
    {
        var source = new BrokenStream(Content);
        Assert.That(() => RequestBody.ReadAsync(Request(source), Limit, room, CancellationToken.None), Throws.InstanceOf<IOException>());
        Assert.That(() => RequestBody.ReadAsync(Request(new MemoryStream([0xFF])), Limit, room, CancellationToken.None), Throws.TypeOf<ServerException>());
        HttpRequest packed = Request(new MemoryStream([1, 2, 3]));
        packed.Headers.ContentEncoding = "gzip";
        Assert.That(() => RequestBody.ReadAsync(packed, Limit, room, CancellationToken.None), Throws.TypeOf<ServerException>());
    }

    private static HttpRequest Request(Stream body) => new DefaultHttpContext { Request = { Body = body } }.Request;

    /// <summary>Fails at its end.</summary>
    private sealed class BrokenStream(byte[] bytes) : MemoryStream(bytes)
    {
        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) =>
            await base.ReadAsync(buffer, cancellationToken) is > 0 and var read ? read : throw new IOException("The client left.");
    }
}
