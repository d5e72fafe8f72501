using System.Reflection;
using System.Runtime.Loader;

// Argument: the path of the plugin assembly. The host does not reference StellaInterop.
var context = new PluginContext(args[0]);
MethodInfo run = context.LoadFromAssemblyPath(args[0]).GetType("Plugin")!.GetMethod("Run")!;
Array.ForEach((string[])run.Invoke(null, null)!, Console.WriteLine);

/// <summary>Resolves the assemblies of a plugin. It does not resolve native libraries, so StellaInterop must find its own.</summary>
internal sealed class PluginContext(string plugin) : AssemblyLoadContext(isCollectible: false)
{
    private readonly AssemblyDependencyResolver resolver = new(plugin);

    protected override Assembly? Load(AssemblyName name) =>
        resolver.ResolveAssemblyToPath(name) is { } path ? LoadFromAssemblyPath(path) : null;
}
