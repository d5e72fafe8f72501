using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

// All types of the imports are blittable, so no marshalling stub is needed and native AOT runs the same code.
[assembly: DisableRuntimeMarshalling]

// NativeLibraryLoader resolves the library. These paths are for the search of the runtime after it.
[assembly: DefaultDllImportSearchPaths(
    DllImportSearchPath.AssemblyDirectory | DllImportSearchPath.ApplicationDirectory | DllImportSearchPath.SafeDirectories)]
