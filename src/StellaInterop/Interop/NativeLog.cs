using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;
using Microsoft.Extensions.Logging;
using StellaInterop.Threading;

namespace StellaInterop.Interop;

/// <summary>Writes native log records to an <see cref="ILogger"/>.</summary>
internal static unsafe class NativeLog
{
    /// <summary>The category of native records.</summary>
    public const string Category = "StellaInterop.Native";

    private static readonly EventId RecordId = new(1, "NativeRecord");

    /// <summary>
    /// Creates a sink for a logger. The sink keeps the logger alive until the last model that was opened with it is freed. Native code then
    /// calls <see cref="Release"/>, after its last <see cref="Write"/>.
    /// </summary>
    public static LogSinkHandle CreateSink(ILogger logger)
    {
        var state = GCHandle.Alloc(logger);
        try
        {
            NativeLogSink* sink;
            NativeErrors.ThrowIfFailed(NativeMethods.stella_log_sink_new(
                &Write, &Release, (void*)GCHandle.ToIntPtr(state), (uint)LowestLevel(logger), &sink));
            return new LogSinkHandle(sink);
        }
        catch
        {
            state.Free();
            throw;
        }
    }

    /// <summary>
    /// Returns the lowest level that a logger accepts now. Native code drops records below it before they are written: the tokenizer
    /// traces each character, and a call into .NET for each of them made tokenizing a text five times as slow.
    /// </summary>
    private static LogLevel LowestLevel(ILogger logger)
    {
        LogLevel lowest = LogLevel.Trace;
        // The logger is code of the host, and a load must not fail by it.
        ForeignCode.Run(() =>
        {
            while (lowest < LogLevel.None && !logger.IsEnabled(lowest))
            {
                lowest++;
            }
        });
        return lowest;
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static void Write(void* userData, uint level, byte* target, nuint targetLength, byte* message, nuint messageLength)
    {
        try
        {
            // Native levels have the same numbers as LogLevel.
            var logger = (ILogger)GCHandle.FromIntPtr((nint)userData).Target!;
            var logLevel = (LogLevel)level;
            if (logger.IsEnabled(logLevel))
            {
                string targetText = Text(target, targetLength);
                string messageText = Text(message, messageLength);
#pragma warning disable CA1848 // A project has one class with generated messages. Their level is fixed, but a native record has its own.
                logger.Log(logLevel, RecordId, "{Target}: {Message}", targetText, messageText);
#pragma warning restore CA1848
            }
        }
#pragma warning disable CA1031 // An exception that leaves this method would end the process; losing a record is harmless.
        catch
#pragma warning restore CA1031
        {
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static void Release(void* userData) => GCHandle.FromIntPtr((nint)userData).Free();

    /// <summary>Decodes a text of a record. It may quote a file of the model, so control characters are escaped.</summary>
    private static string Text(byte* utf8, nuint length) => Printable.Line(Encoding.UTF8.GetString(utf8, checked((int)length)));
}
