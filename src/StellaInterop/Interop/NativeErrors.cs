using System.Text;

namespace StellaInterop.Interop;

/// <summary>Native errors to exceptions, in one place.</summary>
internal static unsafe class NativeErrors
{
    /// <summary>Throws what <paramref name="error"/> says, and frees it. Null is success.</summary>
    public static void ThrowIfFailed(NativeError* error)
    {
        if (error is not null)
        {
            throw FromOwned(error);
        }
    }

    /// <summary>The code of an error that the caller still owns.</summary>
    public static StellaErrorCode CodeOf(NativeError* error) => (StellaErrorCode)NativeMethods.stella_error_code(error);

    /// <summary>Frees an error that was understood without being thrown.</summary>
    public static void Free(NativeError* error) => NativeMethods.stella_error_free(error);

    private static Exception FromOwned(NativeError* error)
    {
        try
        {
            StellaErrorCode code = CodeOf(error);
            long text = NativeMethods.stella_error_text_index(error);
            int? textIndex = text < 0 ? null : checked((int)text);

            // The chain is built from its root, so that each message has its cause inside.
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

    /// <summary>The type by the hundred of the code, as the codes are grouped.</summary>
    private static Exception Create(StellaErrorCode code, string message, int? textIndex, Exception? cause) =>
        ((int)code / 100) switch
        {
            _ when code == StellaErrorCode.Cancelled => new OperationCanceledException(message, cause),
            1 => new StellaOptionException(code, message, cause),
            2 => new StellaModelFolderException(code, message, cause),
            3 => new StellaTokenizerException(code, message, cause),
            _ when textIndex is { } index => new StellaInputException(code, message, index, cause),
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

        return Encoding.UTF8.GetString(utf8);
    }
}
