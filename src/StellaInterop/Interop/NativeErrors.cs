using System.Text;

namespace StellaInterop.Interop;

/// <summary>Specifies the exception type of a native error.</summary>
internal enum ErrorType
{
    /// <summary><see cref="StellaException"/>.</summary>
    Plain,

    /// <summary><see cref="StellaOptionException"/>.</summary>
    Option,

    /// <summary><see cref="StellaModelFolderException"/>.</summary>
    ModelFolder,

    /// <summary><see cref="StellaTokenizerException"/>.</summary>
    Tokenizer,

    /// <summary><see cref="StellaInputException"/>; without the index of a text, <see cref="StellaException"/>.</summary>
    Input,

    /// <summary><see cref="StellaMemoryException"/>.</summary>
    Memory,

    /// <summary><see cref="StellaThreadException"/>.</summary>
    Thread,

    /// <summary><see cref="OperationCanceledException"/>.</summary>
    Cancelled,
}

/// <summary>Converts native errors to exceptions.</summary>
internal static unsafe class NativeErrors
{
    /// <summary>Throws the exception of an error and frees the error. Returns if the error is null, which means success.</summary>
    public static void ThrowIfFailed(NativeError* error)
    {
        if (error is not null)
        {
            throw FromOwned(error);
        }
    }

    /// <summary>Returns the code of an error, which the caller still owns.</summary>
    public static StellaErrorCode CodeOf(NativeError* error) => (StellaErrorCode)NativeMethods.stella_error_code(error);

    /// <summary>
    /// Throws the exception of an error about packed texts and frees the error. Native code read only the beginning of a text that was
    /// cut; the exception for such a text has the length of the whole text.
    /// </summary>
    public static void ThrowIfFailed(NativeError* error, PackedTexts texts)
    {
        if (error is not null
            && CodeOf(error) == StellaErrorCode.TextTooLong
            && NativeMethods.stella_error_text_index(error) is >= 0 and <= int.MaxValue and var index
            && texts.TooLongError((int)index) is { } whole)
        {
            Free(error);
            throw whole;
        }

        ThrowIfFailed(error);
    }

    /// <summary>Frees an error that is not thrown.</summary>
    public static void Free(NativeError* error) => NativeMethods.stella_error_free(error);

    private static Exception FromOwned(NativeError* error)
    {
        try
        {
            StellaErrorCode code = CodeOf(error);
            long text = NativeMethods.stella_error_text_index(error);
            int? textIndex = text < 0 ? null : checked((int)text);

            // From the root cause outwards, because an exception needs its cause at construction.
            Exception? cause = null;
            for (int level = (int)NativeMethods.stella_error_chain_length(error) - 1; level > 0; level--)
            {
                cause = new StellaException(code, Message(error, (nuint)level), cause);
            }

            return Create(code, Message(error, 0), textIndex, cause);
        }
        finally
        {
            Free(error);
        }
    }

    /// <summary>
    /// Returns the exception type of a native code, or <see langword="null"/> for a code that this version does not know.
    /// </summary>
    /// <remarks>
    /// Every code has its own line, because codes with adjacent numbers have different kinds of cause: an option, the machine, a defect.
    /// </remarks>
    internal static ErrorType? TypeOf(StellaErrorCode code) => code switch
    {
        StellaErrorCode.Internal => ErrorType.Plain,
        StellaErrorCode.Panic => ErrorType.Plain,
        StellaErrorCode.InvalidArgument => ErrorType.Option,
        StellaErrorCode.BufferTooSmall => ErrorType.Plain,
        StellaErrorCode.SessionBusy => ErrorType.Plain,
        StellaErrorCode.PrecisionUnavailable => ErrorType.Option,
        StellaErrorCode.UnknownDimension => ErrorType.Option,
        StellaErrorCode.UnknownPrompt => ErrorType.Option,
        StellaErrorCode.OutOfMemory => ErrorType.Memory,
        StellaErrorCode.ThreadRefused => ErrorType.Thread,
        StellaErrorCode.ModelFolderNotFound => ErrorType.ModelFolder,
        StellaErrorCode.ModelFileMissing => ErrorType.ModelFolder,
        StellaErrorCode.ModelFileUnreadable => ErrorType.ModelFolder,
        StellaErrorCode.ModelFileInvalid => ErrorType.ModelFolder,
        StellaErrorCode.ModelInconsistent => ErrorType.ModelFolder,
        StellaErrorCode.ModelUnsupported => ErrorType.ModelFolder,
        StellaErrorCode.TokenizerInvalid => ErrorType.Tokenizer,
        StellaErrorCode.TextNotUnicode => ErrorType.Input,
        StellaErrorCode.TextTooLong => ErrorType.Input,
        StellaErrorCode.TextNotTokenized => ErrorType.Input,
        StellaErrorCode.ForwardFailed => ErrorType.Plain,
        StellaErrorCode.ResultNotFinite => ErrorType.Input,
        StellaErrorCode.ResultZero => ErrorType.Input,
        StellaErrorCode.Cancelled => ErrorType.Cancelled,
        _ => null,
    };

    /// <summary>Creates the exception of a native error.</summary>
    /// <param name="code">The native code.</param>
    /// <param name="message">The native message.</param>
    /// <param name="textIndex">The index of the text that caused the error; <see langword="null"/> if no single text did.</param>
    /// <param name="cause">The inner exception.</param>
    internal static Exception Create(StellaErrorCode code, string message, int? textIndex, Exception? cause) =>
        (TypeOf(code), textIndex) switch
        {
            (ErrorType.Option, _) => new StellaOptionException(code, message, cause),
            (ErrorType.ModelFolder, _) => new StellaModelFolderException(code, message, cause),
            (ErrorType.Tokenizer, _) => new StellaTokenizerException(code, message, cause),
            (ErrorType.Input, { } index) => new StellaInputException(code, message, index, cause),
            (ErrorType.Memory, _) => new StellaMemoryException(message, cause),
            (ErrorType.Thread, _) => new StellaThreadException(message, cause),
            (ErrorType.Cancelled, _) => new OperationCanceledException(message, cause),
            _ => new StellaException(code, message, cause),
        };

    private static string Message(NativeError* error, nuint level)
    {
        nuint length = NativeMethods.stella_error_message(error, level, null, 0);
        byte[] utf8 = new byte[length];
        fixed (byte* pointer = utf8)
        {
            _ = NativeMethods.stella_error_message(error, level, pointer, length);
        }

        // The message may quote a file of the model.
        return Printable.Line(Encoding.UTF8.GetString(utf8));
    }
}
