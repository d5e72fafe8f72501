using StellaInterop.Tests.Serving;
using StellaInterop.Threading;

namespace StellaInterop.Tests.Threading;

/// <summary>What one writer hands to one reader: in order, a few at a time, and nothing gets lost.</summary>
internal sealed class HandoverTests
{
    [Test]
    public async Task Items_arrive_in_order_and_do_not_exceed_the_capacity([Values(1, 3)] int capacity)
    {
        const int Count = 2000;
        var handover = new Handover<int>(capacity);
        int written = 0;
        int read = 0;
        int most = 0;
        Task writer = Task.Run(async () =>
        {
            for (int i = 0; i < Count; i++)
            {
                await handover.WaitForRoomAsync(CancellationToken.None);
                handover.Add(i);
                most = Math.Max(most, ++written - Volatile.Read(ref read));
            }

            handover.End(null);
        });
        var items = new List<int>();
        using var late = new CancellationTokenSource(Wait.Limit);
        await foreach (int item in handover.ReadAllAsync(late.Token))
        {
            items.Add(item);
            Volatile.Write(ref read, items.Count);
        }

        await writer;
        Assert.That(items, Is.EqualTo(Enumerable.Range(0, Count)));
        // One more may be taken and not yet counted.
        Assert.That(most, Is.LessThanOrEqualTo(capacity + 1));
    }

    [Test]
    public async Task The_error_of_the_writer_is_thrown_after_its_items()
    {
        var handover = new Handover<int>(2);
        handover.Add(1);
        handover.Add(2);
        handover.End(new IOException("after them"));
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
        Assert.That(async () => await waiting.WaitAsync(Wait.Limit), Throws.TypeOf<OperationCanceledException>().With.Property("CancellationToken").EqualTo(stop.Token));
        Assert.That(async () => await room.WaitAsync(Wait.Limit), Throws.TypeOf<OperationCanceledException>());
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
        await room.WaitAsync(Wait.Limit);
    }
}
