using System.Reflection;
using System.Runtime.Loader;

// Argument: the plugin's assembly. The host knows nothing of StellaInterop.
var context = new PluginContext(args[0]);
MethodInfo run = context.LoadFromAssemblyPath(args[0]).GetType("Plugin")!.GetMethod("Run")!;
Array.ForEach((string[])run.Invoke(null, null)!, Console.WriteLine);

/// <summary>Finds a plugin's assemblies, and leaves native libraries to those who need them.</summary>
internal sealed class PluginContext(string plugin) : AssemblyLoadContext(isCollectible: false)
{
    private readonly AssemblyDependencyResolver resolver = new(plugin);

    protected override Assembly? Load(AssemblyName name) =>
        resolver.ResolveAssemblyToPath(name) is { } path ? LoadFromAssemblyPath(path) : null;
}
