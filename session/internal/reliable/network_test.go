package reliable

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/simnet"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// network is a group of members and what is under way between them, in a time of its own.
type network struct {
	simnet.Schedule
	t       *testing.T
	r       *rand.Rand
	members []*member
	faults  simnet.Faults
	carried uint64
	cut     func(from, to int) bool
}

// member sends to all others and receives from them.
type member struct {
	n       *network
	i       int
	name    wire.NameText
	send    *Sender[string]
	receive *Receiver[string]
	got     map[string][]string // by source
	lost    int
	to      map[string][]wire.NameText // endpoints when it was published
	results map[string][]wire.NameText // who lacks it
}

func newNetwork(t *testing.T, seed uint64, members int, o Options, fromOne bool) *network {
	n := &network{
		Schedule: simnet.Schedule{Now: time.Unix(1_000_000, 0)}, t: t, r: rand.New(rand.NewPCG(seed, 0)), cut: func(int, int) bool { return false },
		faults: simnet.Faults{Seed: seed, Jitter: 200 * time.Millisecond, Duplicate: 0.05},
	}
	for i := range members {
		n.members = append(n.members, &member{
			n: n, i: i, name: wire.Text("a", "b", fmt.Sprint(i)), send: NewSender[string](o, 0), receive: NewReceiver[string](o, fromOne),
			got: map[string][]string{}, to: map[string][]wire.NameText{}, results: map[string][]wire.NameText{},
		})
	}
	return n
}

// carry has f happen at member to after a while, unless it is lost, and now and then twice.
func (n *network) carry(from, to int, f func(*member)) {
	n.carried++
	if n.cut(from, to) {
		return
	}
	for _, c := range n.faults.Copies("", n.carried) {
		n.After(c.After, func() {
			m := n.members[to]
			f(m)
			m.settle()
		})
	}
}

func (n *network) index(name wire.NameText) int {
	return slices.IndexFunc(n.members, func(m *member) bool { return m.name == name })
}

// settle does what the machines want done.
func (m *member) settle() {
	for len(m.send.Out)+len(m.receive.Out) > 0 {
		out, steps := m.send.Out, m.receive.Out
		m.send.Out, m.receive.Out = nil, nil
		for _, o := range out {
			m.do(o)
		}
		for _, s := range steps {
			m.step(s)
		}
	}
	for _, at := range []time.Time{m.send.Deadline(), m.receive.Deadline()} {
		if !at.IsZero() {
			m.n.After(at.Sub(m.n.Now), func() {
				was := m.send.Deadline()
				m.send.Tick(m.n.Now)
				m.receive.Tick(m.n.Now)
				if len(m.send.Out)+len(m.receive.Out) > 0 || !m.send.Deadline().Equal(was) {
					m.settle()
				}
			})
		}
	}
}

func (m *member) do(o Output[string]) {
	switch {
	case o.Result != nil:
		if _, ok := m.results[o.Result.Handle]; ok {
			m.n.t.Errorf("member %d: %s has two results", m.i, o.Result.Handle)
		}
		m.results[o.Result.Handle] = o.Result.Missing
	case o.Silent != nil:
		m.send.Remove(*o.Silent)
	default:
		to := m.n.members
		if !o.Send.Everyone {
			i := m.n.index(o.Send.To)
			to = m.n.members[i : i+1]
		}
		for _, other := range to {
			if other == m {
				continue
			}
			m.n.carry(m.i, other.i, func(other *member) {
				if o.Send.Payload == nil {
					other.receive.Gone(m.name, o.Send.ID)
					return
				}
				text := string(o.Send.Payload.Blob)
				other.receive.Receive(m.name, o.Send.ID, text, len(text), Start{First: o.Send.First, Hears: true}, m.n.Now)
			})
		}
		if o.Send.Copy != nil {
			m.send.Sent(o.Send.Copy, Departed, m.n.Now)
		}
	}
}

func (m *member) step(s Step[string]) {
	from := m.n.index(s.From)
	switch s.Kind {
	case Deliver:
		key := m.n.members[from].name.String()
		m.got[key] = append(m.got[key], s.Item)
	case Lost:
		m.lost += int(s.Last-s.ID) + 1
	case Ack:
		m.n.carry(m.i, from, func(sender *member) { sender.send.Ack(s.ID, m.name, m.n.Now) })
	case Missed:
		m.n.carry(m.i, from, func(sender *member) { sender.send.Missed(s.ID, m.name, m.n.Now) })
	case Request:
		m.n.carry(m.i, from, func(sender *member) { sender.send.Asked(s.ID, m.name, m.n.Now) })
	}
}

func (m *member) publish(text string) {
	for name := range m.send.peers {
		m.to[text] = append(m.to[text], name)
	}
	if _, err := m.send.Publish(Payload{Blob: []byte(text)}, text, m.n.Now); err != nil {
		m.n.t.Errorf("%s: %v", text, err)
	}
	m.settle()
}

// long asks for what is tried in many cases in full, as CI does.
var long = os.Getenv("SLIMGO_TEST_LONG") != ""

// seeds is how many random networks are tried.
func seeds() uint64 {
	if long {
		return 40
	}
	return 20
}

// Members of a lossy network get what each of the others sent, once and in order; what its sender reports as delivered
// everybody has got.
func TestLossyNetworks(t *testing.T) {
	for seed := range seeds() {
		members := 2 + int(seed%5)
		n := newNetwork(t, seed, members, Options{Interval: time.Second, Retries: 30}, seed%2 == 0)
		n.faults.Loss = float64(seed%4) * 0.1
		sent := map[int][]string{}
		for _, m := range n.members {
			for _, other := range n.members {
				if other != m {
					m.send.Add(other.name, n.Now)
				}
			}
			at := time.Duration(0)
			for k := range 60 {
				text := fmt.Sprintf("%d from %d", k, m.i)
				sent[m.i] = append(sent[m.i], text)
				at += time.Duration(n.r.IntN(100)) * time.Millisecond
				n.After(at, func() { m.publish(text) })
			}
		}
		n.Finish()
		for _, m := range n.members {
			if len(m.results) != 60 || m.lost > 0 {
				t.Fatalf("seed %d: member %d has %d results, and lost %d", seed, m.i, len(m.results), m.lost)
			}
			for text, missing := range m.results {
				if len(missing) > 0 {
					t.Fatalf("seed %d: %s is not delivered to %v", seed, text, missing)
				}
			}
			for _, other := range n.members {
				if got := other.got[m.name.String()]; other != m && !slices.Equal(got, sent[m.i]) {
					t.Fatalf("seed %d: member %d got of %d\n%v", seed, other.i, m.i, got)
				}
			}
		}
	}
}

// While the network is cut in two, messages are given up; those that are reported as delivered are.
func TestCutNetworks(t *testing.T) {
	for seed := range seeds() {
		n := newNetwork(t, seed, 4, Options{Interval: 500 * time.Millisecond, Retries: 4}, false)
		n.faults.Loss = 0.05
		begin := n.Now
		n.cut = func(from, to int) bool {
			at := n.Now.Sub(begin)
			return at > 3*time.Second && at < 8*time.Second && from%2 != to%2
		}
		for _, m := range n.members {
			for _, other := range n.members {
				if other != m {
					m.send.Add(other.name, n.Now)
				}
			}
			for k := range 60 {
				text := fmt.Sprintf("%03d from %d", k, m.i)
				n.After(time.Duration(k*200+n.r.IntN(100))*time.Millisecond, func() { m.publish(text) })
			}
		}
		n.After(9*time.Second, func() { // everybody has been heard again
			for _, m := range n.members {
				for _, other := range n.members {
					if other != m {
						m.send.Add(other.name, n.Now)
					}
				}
			}
		})
		n.Finish()
		delivered, given := 0, 0
		for _, m := range n.members {
			if len(m.results) != 60 {
				t.Fatalf("seed %d: member %d has %d results", seed, m.i, len(m.results))
			}
			for _, other := range n.members {
				got := other.got[m.name.String()]
				if other == m {
					continue
				}
				if !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) {
					t.Fatalf("seed %d: member %d got of %d\n%v", seed, other.i, m.i, got)
				}
				for text, missing := range m.results {
					if slices.Contains(missing, other.name) {
						given++
						continue
					}
					delivered++
					if _, ok := slices.BinarySearch(got, text); !ok && slices.Contains(m.to[text], other.name) {
						t.Fatalf("seed %d: %s is reported as delivered to %d, who got\n%v", seed, text, other.i, got)
					}
				}
			}
		}
		if delivered == 0 || given == 0 {
			t.Fatalf("seed %d: %d delivered, %d given up: the test is of nothing", seed, delivered, given)
		}
	}
}
