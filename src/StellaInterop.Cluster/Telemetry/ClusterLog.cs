using Microsoft.Extensions.Logging;

namespace StellaInterop.Cluster.Telemetry;

/// <summary>The log records of a cluster. An event id keeps its meaning in every version.</summary>
internal static partial class ClusterLog
{
    [LoggerMessage(1, LogLevel.Warning, "The job in {Folder} cannot go on now: {Reason}")]
    public static partial void FolderFailed(ILogger logger, string folder, string reason);

    [LoggerMessage(2, LogLevel.Warning, "The list of jobs does not answer: {Reason}")]
    public static partial void ListAway(ILogger logger, string reason);

    [LoggerMessage(3, LogLevel.Warning, "The coordinator of the job in {Folder} does not answer: {Reason}")]
    public static partial void CoordinatorAway(ILogger logger, string folder, string reason);

    [LoggerMessage(4, LogLevel.Warning, "The coordinator of the job in {Folder} moves, because its machine cannot use the folder.")]
    public static partial void CoordinatorMoves(ILogger logger, string folder);

    [LoggerMessage(10, LogLevel.Warning, "This node takes nothing of the job in {Folder}: {Reason}")]
    public static partial void Refused(ILogger logger, string folder, string reason);

    [LoggerMessage(11, LogLevel.Error, "The model failed.")]
    public static partial void ModelFailed(ILogger logger, Exception error);
}
