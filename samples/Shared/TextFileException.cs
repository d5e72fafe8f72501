namespace StellaInterop.Samples;

/// <summary>A file that is not UTF-8 text. The message is a sentence that begins with the name of the file.</summary>
internal sealed class TextFileException(string message) : IOException(message);
