package scenario

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/result"
	"github.com/seed31b3bfd0/slimgo/internal/usage"
	"github.com/seed31b3bfd0/slimgo/session/rpc"
)

// Calls of one app and of several, of one reply and of many, are all answered, and each process is told of.
func TestCallsAreMeasured(t *testing.T) {
	t.Parallel()
	tg := ownNode(t)
	for _, c := range []struct{ fanout, replies, size int }{{1, 1, 100}, {1, 20, 1024}, {3, 1, 0}, {3, 5, 100}} {
		ms := metrics(t, tg, "rpc", quick(func(p *result.Params) {
			p.Fanout, p.Replies, p.Size, p.Count, p.InFlight = c.fanout, c.replies, c.size, 60, 4
		}))
		for _, name := range []string{"calls", "replies", "caller CPU per call", "server CPU per call", "p50"} {
			if ms[name] <= 0 {
				t.Errorf("%+v: %s: %v", c, name, ms[name])
			}
		}
		if want := float64(c.fanout * c.replies); math.Round(ms["replies"]/ms["calls"]) != want {
			t.Errorf("%+v: %v replies to %v calls, want %v each", c, ms["replies"], ms["calls"], want)
		}
		for _, name := range []string{"lost", "duplicates", "reordered", "changed", "calls failed"} {
			if n, told := ms[name]; n != 0 || !told {
				t.Errorf("%+v: %s: %v", c, name, n)
			}
		}
	}
}

// spoiled are the replies of one call, done something to.
type spoiled struct {
	rpc.ClientStream
	fault   string
	replies []rpc.Raw
	read    bool
	err     error
}

func (s *spoiled) Receive(msg any) error {
	for !s.read {
		var r rpc.Raw
		if s.err = s.ClientStream.Receive(&r); s.err != nil {
			break
		}
		s.replies = append(s.replies, r)
	}
	if !s.read {
		s.read = true
		s.spoil()
	}
	if len(s.replies) == 0 {
		return s.err
	}
	*msg.(*rpc.Raw) = s.replies[0]
	s.replies = s.replies[1:]
	return nil
}

func (s *spoiled) spoil() {
	r := s.replies
	switch s.fault {
	case "lost":
		s.replies = r[:len(r)-1]
	case "duplicates":
		s.replies = append(r, r[len(r)-1])
	case "reordered":
		r[0], r[1] = r[1], r[0]
	case "changed":
		r[0] = r[0][1:]
	case "calls failed":
		s.replies, s.err = r[:1], rpc.NewError(rpc.Aborted, "not now")
	}
}

// What is wrong with one call of ten is found, whatever it is, and what has failed is told of.
func TestCallsFindWhatIsWrong(t *testing.T) {
	t.Parallel()
	for fault, want := range map[string]map[string]float64{
		"nothing": {}, "lost": {"lost": 1}, "duplicates": {"duplicates": 1}, "reordered": {"reordered": 1, "duplicates": 1, "lost": 1},
		"changed": {"changed": 1, "lost": 1, "reordered": 1}, "calls failed": {"calls failed": 1},
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			g, err := load.NewRig(t.Context(), ownNode(t))
			if err != nil {
				t.Fatal(err)
			}
			p := with(func(p *result.Params) { p.Fanout, p.Replies, p.Members, p.Count, p.Warmup = 1, 5, 2, 10, 0 })
			c := &calls{talk: talk{p: p, rig: g, delays: load.NewLatency(), serving: true}}
			defer func() {
				if err := errors.Join(c.hangUp(t.Context()), c.close(t.Context())); err != nil {
					t.Error(err)
				}
			}()
			if err := c.connect(t.Context()); err != nil {
				t.Fatal(err)
			}
			made := 0
			c.dial([]rpc.ClientInterceptor{func(next rpc.Starter) rpc.Starter {
				return func(ctx context.Context, m rpc.Method) (rpc.ClientStream, error) {
					s, err := next(ctx, m)
					if made++; made == 5 {
						s = &spoiled{ClientStream: s, fault: fault}
					}
					return s, err
				}
			}})
			if _, _, err := c.run(t.Context(), 1, c.keepCalling); err != nil {
				t.Fatal(err)
			}
			got := map[string]float64{}
			for _, m := range c.faults() {
				if m.Value != 0 {
					got[m.Name] = m.Value
				}
			}
			whole := uint64(10) // answered
			if want["lost"]+want["calls failed"] > 0 {
				whole = 9
			}
			if len(got) != len(want) || c.made.Load() != whole {
				t.Errorf("found %v, want %v; %d calls were answered, want %d", got, want, c.made.Load(), whole)
			}
			for name, n := range want {
				if got[name] != n {
					t.Errorf("found %v, want %v", got, want)
				}
			}
			if fault == "calls failed" && (len(g.Notes) != 1 || g.Notes[0] != "a call failed: ABORTED: not now") {
				t.Errorf("notes: %q", g.Notes)
			}
		})
	}
}

// A call that the others refuse is an error that says why.
func TestCallsThatAreRefused(t *testing.T) {
	t.Parallel()
	g, err := load.NewRig(t.Context(), ownNode(t))
	if err != nil {
		t.Fatal(err)
	}
	p := with(func(p *result.Params) { p.Fanout, p.Replies, p.Members = 1, mostBurst+1, 2 })
	c := &calls{talk: talk{p: p, rig: g, delays: load.NewLatency(), serving: true}}
	if err := c.connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.dial(nil)
	if err := c.call(t.Context(), 100, 1); !errors.Is(err, rpc.InvalidArgument) {
		t.Errorf("a request for too many replies: %v", err)
	}
	if err := errors.Join(c.hangUp(t.Context()), c.close(t.Context())); err != nil {
		t.Error(err)
	}
}

// refusing answers no call, each after some time.
type refusing struct{ took time.Duration }

func (r refusing) NewStream(context.Context, rpc.Method) (rpc.ClientStream, error) {
	time.Sleep(r.took)
	return nil, rpc.NewError(rpc.Unavailable, "asleep")
}

func (r refusing) Close(context.Context) error { return nil }

// Calls of a fixed number end when nobody answers any more, however many are left.
func TestCallsEndWhenNobodyAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &calls{talk: talk{p: with(func(p *result.Params) { p.Count, p.Replies = 1000, 1 }), rig: new(load.Rig), names: []string{"a/b/c"}}, client: refusing{9 * time.Second}}
		begun := time.Now()
		err := c.keepCalling(t.Context(), 0, 1000)
		if err == nil || !strings.Contains(err.Error(), "no call was answered for 36s") || !errors.Is(err, rpc.Unavailable) || time.Since(begun) > time.Minute {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
	})
}

// A reply that is another call's, or of another length, is none of this one.
func TestRepliesOfOtherCalls(t *testing.T) {
	reply := func(call uint64, number uint32, size int) []byte {
		b := make([]byte, size)
		binary.BigEndian.PutUint64(b, call)
		binary.BigEndian.PutUint32(b[8:], number)
		return b
	}
	c, asked := new(calls), question{Call: 7, Replies: 3, Size: 20}
	if next, further := c.judge(&asked, reply(7, 1, 20), 1); next != 2 || !further || c.changed.Load() != 0 {
		t.Errorf("the reply that is due: %d, %v", next, further)
	}
	for i, b := range [][]byte{reply(8, 1, 20), reply(7, 1, 21), reply(7, 1, 19), reply(7, 1, 20)[:5]} {
		if next, further := c.judge(&asked, b, 1); next != 1 || further || c.changed.Load() != uint64(i+1) {
			t.Errorf("%x: %d, %v; %d are changed", b, next, further, c.changed.Load())
		}
	}
}

// What each process takes for a call is its own.
func TestRatesOfCalls(t *testing.T) {
	begin := time.Now()
	at := func(after, node, sender, receiver time.Duration, made uint64) reading {
		return reading{at: begin.Add(after), known: true, made: made,
			node: usage.Usage{CPU: node}, sender: usage.Usage{CPU: sender}, receiver: usage.Usage{CPU: receiver}}
	}
	c := &calls{talk: talk{names: []string{"a", "b"}, p: result.Params{Replies: 5}}}
	ms := c.rates(at(0, 100, 200, 300, 10), at(4*time.Second, 1100, 4200, 6300, 110))
	for name, want := range map[string]float64{"calls": 25, "replies": 250, "node CPU per call": 10, "caller CPU per call": 40, "server CPU per call": 60} {
		if got := value(ms, name); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}
