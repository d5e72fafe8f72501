namespace StellaInterop.Samples;

/// <summary>Represents the error of a file that is not UTF-8 text. The message starts with the name of the file.</summary>
internal sealed class TextFileException(string message) : IOException(message);
