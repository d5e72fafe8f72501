using System.Buffers.Binary;
using StellaInterop.Bulk.Files;
using ZstdSharp;

namespace StellaInterop.Bulk.Tests.Files;

/// <summary>A seekable zstd file is read at any place, and by any reader of zstd. A damage is noticed.</summary>
internal sealed class SeekableZstdTests
{
    private static readonly byte[] Content = Random(length: (2 * SeekableZstd.FrameBytes) + 1000);

    private static byte[] Packed => Pack(Content);

    [TestCase(0)]
    [TestCase(1)]
    [TestCase(SeekableZstd.FrameBytes)]
    [TestCase((3 * SeekableZstd.FrameBytes) + 5)]
    public void The_content_is_read_back(int length)
    {
        byte[] content = Random(length);
        byte[] packed = Pack(content);
        using SeekableZstdContent seekable = Open(packed);
        Assert.That(seekable.Length, Is.EqualTo(length));
        Assert.That(ReadToEnd(seekable).AsSpan().SequenceEqual(content), Is.True);
        using var other = new DecompressionStream(new MemoryStream(packed));
        Assert.That(ReadToEnd(other).AsSpan().SequenceEqual(content), Is.True, "another reader");
    }

    [Test]
    public void Reading_begins_at_any_place()
    {
        using SeekableZstdContent seekable = Open(Packed);
        foreach (int place in (int[])[SeekableZstd.FrameBytes + 7, 3, SeekableZstd.FrameBytes - 1, Content.Length - 1, SeekableZstd.FrameBytes, Content.Length])
        {
            seekable.Position = place;
            byte[] read = new byte[20];
            int count = seekable.ReadAtLeast(read, read.Length, throwOnEndOfStream: false);
            Assert.That(read[..count], Is.EqualTo(Content[place..Math.Min(place + 20, Content.Length)]), $"at {place}");
        }
    }

    [Test]
    public void A_damage_is_noticed()
    {
        byte[] packed = Packed;
        Assert.Multiple(() =>
        {
            for (int i = 0; i < packed.Length; i += i < packed.Length - 60 ? 40_009 : 1)
            {
                byte[] damaged = [.. packed];
                damaged[i] ^= 0x10;
                Assert.That(Reads(damaged), Is.False, $"byte {i} of {packed.Length}");
            }

            for (int length = 0; length < packed.Length; length += length < packed.Length - 60 ? 40_009 : 1)
            {
                Assert.That(Reads(packed[..length]), Is.False, $"{length} of {packed.Length} bytes");
            }
        });
    }

    [Test]
    public void A_table_for_another_file_is_refused()
    {
        byte[] packed = Packed;
        BinaryPrimitives.WriteInt32LittleEndian(packed.AsSpan(packed.Length - SeekableZstd.FooterBytes), int.MaxValue);
        Assert.That(() => Open(packed), Throws.TypeOf<InvalidDataException>());
    }

    /// <summary>Returns whether a file is read to its end, by the library and by another reader. Only the other one reads the header of the table.</summary>
    private static bool Reads(byte[] packed)
    {
        try
        {
            using SeekableZstdContent seekable = Open(packed);
            using var other = new DecompressionStream(new MemoryStream(packed));
            return ReadToEnd(seekable).AsSpan().SequenceEqual(Content) && ReadToEnd(other).Length == Content.Length;
        }
        catch (Exception e) when (e is InvalidDataException or EndOfStreamException or ZstdException)
        {
            return false;
        }
    }

    private static byte[] Pack(byte[] content)
    {
        using var file = new MemoryStream();
        using (var writer = new SeekableZstdWriter(() => file))
        {
            for (int begin = 0; begin < content.Length; begin += 300_000)
            {
                writer.Write(content.AsSpan(begin, Math.Min(300_000, content.Length - begin)));
            }

            writer.Complete();
        }

        return file.ToArray();
    }

    private static SeekableZstdContent Open(byte[] packed) => new(new MemoryStream(packed), e => new InvalidDataException("damaged", e));

    private static byte[] ReadToEnd(Stream stream)
    {
        using var read = new MemoryStream();
        byte[] buffer = new byte[100_000];
        for (int count; (count = stream.Read(buffer)) > 0;)
        {
            read.Write(buffer.AsSpan(0, count));
        }

        return read.ToArray();
    }

    /// <summary>Returns bytes that pack to about half.</summary>
    private static byte[] Random(int length)
    {
        byte[] bytes = new byte[length];
        new Random(5).NextBytes(bytes);
        for (int i = 0; i < length; i++)
        {
            bytes[i] &= 0xf;
        }

        return bytes;
    }
}
