using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Testing;
using StellaInterop.ModelFiles;
using StellaInterop.Tests.Serving;

namespace StellaInterop.Tests;

/// <summary>Text from outside is escaped before it becomes part of a message, a log record or a name.</summary>
internal sealed class PrintableTests
{
    [TestCase("plain text, ünïcödé, 漢字 and 😀", "plain text, ünïcödé, 漢字 and 😀")]
    [TestCase("", "")]
    [TestCase("C:\\models\\n", "C:\\models\\n")]
    [TestCase("\u001b[2J", @"\u{1b}[2J")]
    [TestCase("one\ntwo\r\n\tthree", @"one\ntwo\r\n\tthree")]
    [TestCase("\0\u007f\u0085\u009f", @"\u{0}\u{7f}\u{85}\u{9f}")]
    [TestCase("\u200e\u200f\u202a\u202e\u2066\u2069\u061c", @"\u{200e}\u{200f}\u{202a}\u{202e}\u{2066}\u{2069}\u{61c}")]
    [TestCase("\u2028\u2029", @"\u{2028}\u{2029}")]
    public void Line_escapes_control_and_bidirectional_characters(string text, string expected)
    {
        Assert.That(Printable.Line(text), Is.EqualTo(expected));
        Assert.That(Printable.Line(expected), Is.SameAs(expected), "escaping twice changes nothing");
        Assert.That(Printable.IsSafe(text), Is.EqualTo(text == expected));
    }

    [Test]
    public void Lines_escapes_control_characters_except_line_breaks_and_tabs() => Assert.That(
        Printable.Lines("one\n\ttwo\r\nthree\rfour\u001b"), Is.EqualTo("one\n\ttwo\r\nthree\\rfour\\u{1b}"));

    [Test]
    public void IsSafe_rejects_exactly_the_control_and_bidirectional_characters()
    {
        for (int code = 0; code <= char.MaxValue; code++)
        {
            string text = ((char)code).ToString();
            Assert.That(Printable.IsSafe(text), Is.EqualTo(!char.IsControl((char)code) && !IsBidirectional(code)), $"U+{code:X4}");
        }

        static bool IsBidirectional(int code) =>
            code is 0x61C or 0x200E or 0x200F or 0x2028 or 0x2029 or (>= 0x202A and <= 0x202E) or (>= 0x2066 and <= 0x2069);
    }

    [Test]
    public void An_exception_message_is_one_line() =>
        Assert.That(new StellaException(StellaErrorCode.Internal, "a\nb\u001b").Message, Is.EqualTo(@"a\nb\u{1b}"));

    [Test]
    [Platform("Linux,MacOsX")]
    public async Task Log_messages_contain_the_escaped_folder_name()
    {
        using TemporaryFolder copy = Fixtures.Copy("tiny-new");
        string path = Path.Combine(copy.Path, "a\u001b\nb");
        Directory.CreateDirectory(path);
        foreach (string entry in Directory.GetFileSystemEntries(copy.Path).Where(entry => entry != path))
        {
            Directory.Move(entry, Path.Combine(path, Path.GetFileName(entry)));
        }

        var log = new FakeLogCollector();
        using var loggers = LoggerFactory.Create(logging => logging
            .AddProvider(new FakeLoggerProvider(log)));
        await using (var pool = new StellaEmbeddingPool(
            path, new StellaModelOptions { LoggerFactory = loggers, Threads = 1 }, new StellaPoolOptions { LoggerFactory = loggers }))
        {
            _ = await pool.EmbedAsync("river");
            Assert.That(pool.ModelName, Is.EqualTo(@"a\u{1b}\nb"));
        }

        string[] messages = [.. log.GetSnapshot().Select(record => record.Message)];
        Assert.That(messages, Has.Some.Contains(@"a\u{1b}\nb"));
        Assert.That(messages, Has.All.Matches<string>(message => Printable.IsSafe(message)));
    }

    [Test]
    public void A_manifest_refuses_a_path_with_control_characters()
    {
        Assert.That(StellaModelFiles.IsPlainPath("a\u001b"), Is.False);
        Assert.That(StellaModelFiles.IsPlainPath("a/b\u202e"), Is.False);
        Assert.That(
            () => new StellaManifest([KeyValuePair.Create("a\u001b", new StellaManifestFile { Size = 1, Sha256 = new string('0', 64) })]),
            Throws.ArgumentException.With.Message.Contains(@"'a\u{1b}'"));
    }
}
