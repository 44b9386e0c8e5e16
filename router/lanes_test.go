package router

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/seed31b3bfd0/slimgo/wire"
)

// waiting is a message of the model below.
type waiting struct {
	seq    int // among its kind
	size   int
	before int // senders' messages that must leave before it
}

// Random histories: own messages keep their order, stay behind what they must, and take no more than their share.
func TestLanesKeepTheirPromises(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		var l lanes
		var queued [2][]waiting // by lane; own messages among senders' have seq < 0: -1 is the first
		var put, left [2]int    // of senders' and own messages
		bytes := [2]int{}       // that have left since both waited
		for range 3000 {
			senders := len(queued[laneSenders])
			switch size := 1 + rnd.IntN(20_000); {
			case rnd.IntN(3) == 0:
				put[1]++
				after := rnd.IntN(10) == 0
				w := waiting{seq: -put[1], size: size}
				if after {
					w.before = put[0]
				}
				at := l.place(after, senders)
				queued[at] = append(queued[at], w)
			case rnd.IntN(3) == 0:
				put[0]++
				queued[laneSenders] = append(queued[laneSenders], waiting{seq: put[0], size: size})
			case senders+len(queued[laneOwn]) > 0:
				bound := senders > 0 && queued[laneSenders][0].seq < 0
				if senders == 0 || bound { // nobody is to be spared, or their order goes before the share
					bytes = [2]int{}
				}
				from := l.next(len(queued[laneOwn]), senders, bound)
				w := queued[from][0]
				queued[from] = queued[from][1:]
				kind := 0
				if w.seq < 0 {
					kind = 1
					w.seq = -w.seq
					if from == laneSenders {
						l.bound--
					}
				}
				if left[kind]++; w.seq != left[kind] {
					t.Fatalf("seed %d: message %d of kind %d leaves as number %d", seed, w.seq, kind, left[kind])
				}
				if left[0] < w.before {
					t.Fatalf("seed %d: an own message leaves before %d of senders that it must stay behind", seed, w.before-left[0])
				}
				l.sent(from, w.size, len(queued[laneSenders]))
				bytes[from] += w.size
				if len(queued[laneSenders]) == 0 || bytes[laneSenders] > bytes[laneOwn] {
					bytes = [2]int{}
				}
				if ahead := bytes[laneOwn] - bytes[laneSenders]; ahead > ownShare+20_000 {
					t.Fatalf("seed %d: own messages are %d bytes ahead", seed, ahead)
				}
				if from == laneSenders && len(queued[laneOwn]) > 0 && l.ahead == 0 && bytes[laneOwn] > 0 {
					t.Fatalf("seed %d: an own message waits although none is ahead", seed)
				}
			}
		}
	}
}

// kinds reads what p has received: a for acknowledgements, s for subscriptions, and the numbers of publications.
func (p *peer) kinds() (acks, news, publications []int) {
	for i, b := range p.got {
		var m wire.Message
		if err := wire.Scan(b, &m); err != nil {
			p.r.t.Fatal(err)
		}
		switch m.Kind {
		case wire.KindAck:
			acks = append(acks, i)
		case wire.KindSubscribe, wire.KindUnsubscribe:
			news = append(news, i)
		default:
			publications = append(publications, i)
		}
	}
	return acks, news, publications
}

// busyReceiver is an application that holds a name and does not read, with so many messages of 1,000 bytes in its queue.
func busyReceiver(t *testing.T, window uint32) (r *rig, b *peer) {
	r = newRig(t, 1, Options{SlowConsumer: Block})
	r.window = window
	a := r.dial(0)
	b = r.dial(0)
	b.subscribe(appName(1), 1)
	b.hoard = true
	a.flood(header(appName(2), appName(1), 1, ""), 300, 1000)
	if b.exchange(); b.c.q.n < 100 {
		t.Fatalf("%d messages wait, want more", b.c.q.n)
	}
	b.hoard = false
	return r, b
}

func TestAnAcknowledgementDoesNotWaitBehindAFullQueue(t *testing.T) {
	_, b := busyReceiver(t, 64<<10)
	b.request(appName(3), 3)
	b.relent(1 << 20)
	acks, _, publications := b.kinds()
	if len(acks) != 1 || acks[0] > 2 || len(publications) < 100 {
		t.Errorf("acknowledgements at %v among %d publications, want one at the front", acks, len(publications))
	}
}

// After the acknowledgement of an Unsubscribe nothing of the name comes that was queued before, and nothing of the node's own
// overtakes that acknowledgement.
func TestTheEndOfASubscriptionStaysBehindItsMessages(t *testing.T) {
	_, b := busyReceiver(t, 64<<10)
	b.unsubscribe(appName(1), 1)
	b.request(appName(1), 1) // again, with the same id
	b.relent(1 << 20)
	acks, _, publications := b.kinds()
	if len(acks) != 2 || acks[0] < publications[len(publications)-1] {
		t.Errorf("acknowledgements at %v, the last of %d publications at %d", acks, len(publications), publications[len(publications)-1])
	}
	if b.c.q.order.bound != 0 || b.c.q.len() != 0 {
		t.Errorf("%d own messages are counted among senders', %d wait", b.c.q.order.bound, b.c.q.len())
	}
}

// However far the node's own messages are ahead, they keep their order.
func TestOwnMessagesKeepTheirOrderAcrossLanes(t *testing.T) {
	_, b := busyReceiver(t, 64<<10)
	b.c.q.order.ahead = 100 * ownShare
	b.request(appName(3), 3)
	b.unsubscribe(appName(1), 1)
	b.request(appName(4), 4)
	for range 20 {
		b.relent(32 << 10)
	}
	acks, _, _ := b.kinds()
	var ids []uint64
	for _, i := range acks {
		var m wire.Message
		if err := wire.Scan(b.got[i], &m); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, m.SubID)
	}
	if !slices.Equal(ids, []uint64{3, 1, 4}) {
		t.Errorf("acknowledged %v, want 3, 1 and 4", ids)
	}
}

// News of very many names leave a peer's other messages half of what it takes.
func TestNewsLeaveOthersTheirShare(t *testing.T) {
	t.Parallel() // beside those that wait
	const names = 4000
	r := newRig(t, 1, Options{RelayPeerPublishes: true, SlowConsumer: Block})
	a, b, p := r.dial(0), r.dial(0), r.dialAs(0, wire.LinkPeer, "n1")
	p.subscribe(appName(0), 5)
	p.hoard = true
	h := header(appName(1), appName(0), 1, "")
	for range 2 {
		b.flood(h, 5000, 1000)
		p.exchange()
		b.exchange()
	}
	for i := range names {
		a.request(appName(10+i), 0)
	}
	p.hoard = false
	for range 20 {
		p.relent(32 << 10)
	}
	_, news, publications := p.kinds()
	if len(news)*150 < ownShare || len(publications) < 100 {
		t.Fatalf("%d pieces of news and %d publications came, want many of both", len(news), len(publications))
	}
	// From then on they take turns.
	first := publications[0]
	if first*160 < ownShare-16<<10 || first*140 > ownShare+16<<10 {
		t.Errorf("the first publication is number %d", first)
	}
}

// A message of the node's own that is half out when the queue is thinned out is completed.
func TestAnOwnMessageThatIsHalfOutIsCompleted(t *testing.T) {
	r := newRig(t, 1, Options{SlowConsumer: Block})
	a := r.dial(0)
	r.window = 400
	b := r.dial(0)
	b.subscribe(appName(1), 1)
	b.paused = true // gives no window back
	for i := 0; b.c.q.sent == 0 || b.c.q.turn != laneOwn; i++ {
		if b.request(appName(2), uint64(1)<<(7*(i%9))); b.c.q.len() > 100 {
			t.Fatal("no message is half out")
		}
	}
	a.publish(header(appName(2), appName(1), 1, ""), 1, 10)
	if b.c.q.n != 1 {
		t.Fatalf("%d messages of senders wait, want 1", b.c.q.n)
	}
	r.n.loops[0].post(func() { b.c.end(statusOK, "") })
	r.settle()
	b.paused = false
	b.exchange()
	acks, _, publications := b.kinds()
	if b.end == nil || b.end.GRPCStatus != statusOK || len(acks) == 0 || len(publications) != 0 {
		t.Errorf("%d acknowledgements, %d publications, end %+v; want the stream to end well after the acknowledgements",
			len(acks), len(publications), b.end)
	}
	if d := r.stats().Dropped[ReasonGone]; d != 1 {
		t.Errorf("%d messages died with the connection, want 1", d)
	}
}
