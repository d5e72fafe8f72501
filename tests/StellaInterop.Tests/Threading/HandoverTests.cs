using StellaInterop.Tests.Serving;
using StellaInterop.Threading;

namespace StellaInterop.Tests.Threading;

/// <summary>A bounded queue from one writer to one reader.</summary>
internal sealed class HandoverTests
{
    [Test]
    public async Task Items_arrive_in_order_and_do_not_exceed_the_capacity([Values(1, 3)] int capacity)
    {
        const int Count = 2000;
        var handover = new Handover<int>(capacity);
        int written = 0;
        int read = 0;
        int maxUnread = 0;
        Task writer = Task.Run(async () =>
        {
            for (int i = 0; i < Count; i++)
            {
                await handover.WaitForRoomAsync(CancellationToken.None);
                handover.Add(i);
                maxUnread = Math.Max(maxUnread, ++written - Volatile.Read(ref read));
            }

            handover.End(null);
        });
        var items = new List<int>();
        using var timeout = new CancellationTokenSource(Eventually.Timeout);
        await foreach (int item in handover.ReadAllAsync(timeout.Token))
        {
            items.Add(item);
            Volatile.Write(ref read, items.Count);
        }

        await writer;
        Assert.That(items, Is.EqualTo(Enumerable.Range(0, Count)));
        // One more item may be taken and not yet counted as read.
        Assert.That(maxUnread, Is.LessThanOrEqualTo(capacity + 1));
    }

    [Test]
    public async Task The_error_of_the_writer_is_thrown_after_its_items()
    {
        var handover = new Handover<int>(2);
        handover.Add(1);
        handover.Add(2);
        handover.End(new IOException("thrown after the items"));
        var items = new List<int>();
        Assert.That(
            async () =>
            {
                await foreach (int item in handover.ReadAllAsync(CancellationToken.None))
                {
                    items.Add(item);
                }
            },
            Throws.TypeOf<IOException>());
        Assert.That(items, Is.EqualTo([1, 2]));
    }

    [Test]
    public async Task Cancellation_ends_waiting_readers_and_writers_and_removes_no_item()
    {
        using var stop = new CancellationTokenSource();
        var handover = new Handover<int>(1);
        IAsyncEnumerator<int> reader = handover.ReadAllAsync(stop.Token).GetAsyncEnumerator(CancellationToken.None);
        Task<bool> waiting = reader.MoveNextAsync().AsTask();
        var full = new Handover<int>(1);
        full.Add(7);
        Task room = full.WaitForRoomAsync(stop.Token);
        Assert.That((waiting.IsCompleted, room.IsCompleted), Is.EqualTo((false, false)));
        await stop.CancelAsync();
        Assert.That(async () => await waiting.WaitAsync(Eventually.Timeout), Throws.TypeOf<OperationCanceledException>().With.Property("CancellationToken").EqualTo(stop.Token));
        Assert.That(async () => await room.WaitAsync(Eventually.Timeout), Throws.TypeOf<OperationCanceledException>());
        await reader.DisposeAsync();
        Assert.That((full.TryTake(out int item), item, full.TryTake(out _)), Is.EqualTo((true, 7, false)));
    }

    [Test]
    public async Task Taking_an_item_lets_a_waiting_writer_continue()
    {
        var handover = new Handover<int>(1);
        handover.Add(1);
        Task room = handover.WaitForRoomAsync(CancellationToken.None);
        Assert.That(room.IsCompleted, Is.False);
        Assert.That(handover.TryTake(out _), Is.True);
        await room.WaitAsync(Eventually.Timeout);
    }
}
