using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

// Everything that crosses is blittable: no marshalling stub, and the same code under native AOT.
[assembly: DisableRuntimeMarshalling]

// The loader in this folder resolves the one library by itself; this is for the runtime's own probing after it.
[assembly: DefaultDllImportSearchPaths(
    DllImportSearchPath.AssemblyDirectory | DllImportSearchPath.ApplicationDirectory | DllImportSearchPath.SafeDirectories)]
