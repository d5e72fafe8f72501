using System.Text.Json;
using StellaInterop.Cluster.Jobs;

namespace StellaInterop.Cli.Clusters;

/// <summary>Writes the state of a cluster as JSON, for <c>stella jobs --json</c> and <c>GET /jobs</c>. Names and values are a contract with readers.</summary>
internal static class StatusJson
{
    /// <summary>Writes the properties of the object.</summary>
    public static void Write(Utf8JsonWriter json, ClusterStatus status)
    {
        json.WriteStartArray("jobs");
        foreach (ListedJob job in status.Jobs)
        {
            json.WriteStartObject();
            Write(json, job, status);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteStartArray("nodes");
        foreach (NodeStatus node in status.Nodes)
        {
            json.WriteStartObject();
            Write(json, node, status);
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    /// <summary>Returns the name of a phase.</summary>
    public static string NameOf(JobPhase phase) => phase switch
    {
        JobPhase.Waiting => "waiting",
        JobPhase.Planning => "planning",
        JobPhase.Running => "running",
        JobPhase.Checking => "checking",
        JobPhase.Paused => "paused",
        JobPhase.Complete => "complete",
        JobPhase.Failed => "failed",
        _ => "cancelled",
    };

    private static void Write(Utf8JsonWriter json, ListedJob job, ClusterStatus status)
    {
        JobStatus state = job.Status;
        json.WriteString("folder", job.Entry.Folder);
        json.WriteString("phase", NameOf(state.Phase));
        json.WriteString("wish", job.Entry.Wish switch
        {
            JobWish.Run => "run",
            JobWish.Pause => "pause",
            _ => "cancel",
        });
        json.WriteString("message", state.Message);
        json.WriteString("submitted", job.Submitted);
        WriteSeconds(json, "silence", job.Silence);
        json.WriteNumber("rows", state.RowCount);
        json.WriteNumber("rows_done", state.DoneRowCount);
        json.WriteNumber("chunks", state.ChunkCount);
        json.WriteNumber("parts_missing", state.MissingPartCount);
        json.WriteNumber("parts_suspect", state.SuspectCount);
        json.WriteNumber("share", Math.Round(state.DoneShare, 6));
        json.WriteNumber("errors", state.ErrorCount);
        json.WriteNumber("rows_per_second", Math.Round(state.RowsPerSecond, 1));
        json.WriteNumber("tokens_per_second", Math.Round(state.TokensPerSecond, 1));
        WriteSeconds(json, "seconds_left", state.TimeLeft);
        json.WriteString("level", state.Level);
        json.WriteStartArray("nodes");
        foreach (NodeWork work in state.Nodes)
        {
            json.WriteStartObject();
            json.WriteString("node", work.Node);
            json.WriteString("address", status.Nodes.FirstOrDefault(node => node.Info.Id == work.Node)?.Info.Address);
            json.WriteNumber("parts", work.Parts);
            json.WriteNumber("leases", work.Leases);
            json.WriteNumber("tokens_per_second", Math.Round(work.TokensPerSecond, 1));
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    private static void Write(Utf8JsonWriter json, NodeStatus node, ClusterStatus status)
    {
        json.WriteString("node", node.Info.Id);
        json.WriteString("address", node.Info.Address);
        json.WriteString("machine", node.Info.Machine);
        json.WriteString("model", node.Info.Model);
        json.WriteString("level", node.Info.Level);
        json.WriteString("version", node.Info.Version);
        WriteSeconds(json, "silence", node.Silence);
        json.WriteStartArray("works_on");
        foreach (ListedJob job in WorksOn(node, status))
        {
            json.WriteStringValue(job.Entry.Folder);
        }

        json.WriteEndArray();
        json.WriteStartObject("refusals");
        foreach ((string folder, string reason) in node.Info.Refusals)
        {
            json.WriteString(folder, reason);
        }

        json.WriteEndObject();
    }

    /// <summary>Returns the jobs of which a node has leases.</summary>
    public static IEnumerable<ListedJob> WorksOn(NodeStatus node, ClusterStatus status) =>
        status.Jobs.Where(job => job.Status.Nodes.Any(work => work.Node == node.Info.Id && work.Leases > 0));

    private static void WriteSeconds(Utf8JsonWriter json, string name, TimeSpan? time)
    {
        if (time is { } value)
        {
            json.WriteNumber(name, Math.Round(value.TotalSeconds, 3));
        }
        else
        {
            json.WriteNull(name);
        }
    }
}
