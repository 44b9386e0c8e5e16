//go:build interop

package soak

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/session/uplink"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// Kinds of honest traffic.
const (
	pointToPoint = "point to point"
	fanOut       = "group of 4"
	anycast      = "one of 3"
	comeAndGo    = "names that come and go"
	reconnecting = "client that reconnects"
)

// honest is the traffic that must not notice anything.
type honest struct {
	node    string // address
	senders []*sender
	traveller,
	comer, goer *uplink.Conn // who connects again and again; whose names come and go, and who sends to them

	flows atomic.Uint32 // the last id given out

	mu     sync.Mutex
	all    []*tally                 // guarded by mu
	byFlow map[uint32][]*tally      // guarded by mu
	faults []string                 // guarded by mu; the first ones
	waits  map[uint64]chan struct{} // guarded by mu; for messages, by number and flow; closed when it has come
	delays map[string]*delays       // guarded by mu; by kind of traffic
	acks   *delays                  // how long subscriptions took
}

// sender is a connection that publishes one flow at a steady pace.
type sender struct {
	conn   *uplink.Conn
	flow   *flow
	header wire.PublishHeader
	every  time.Duration // between two messages
}

// fault notes what must not be.
func (h *honest) fault(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.faults) < 10 {
		h.faults = append(h.faults, fmt.Sprintf(format, args...))
	}
}

// dial connects with the patience of who finds a full node: it waits to be accepted, and must not be refused.
func (h *honest) dial(ctx context.Context, o uplink.Options) (*uplink.Conn, error) {
	o.Setup = -1
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return uplink.Dial(ctx, h.node, &o)
}

func honestName(what string, id uint64) wire.NameText {
	return wire.Text("soak", "honest", what).WithID(7, id)
}

func publication(source, dest wire.NameText, fanout uint32) wire.PublishHeader {
	return wire.PublishHeader{Source: source, Dest: dest, Identity: "honest", Version: uplink.Version, Fanout: fanout, TTL: 8}
}

// plan is one flow and who gets it.
type plan struct {
	kind      string
	name      string
	receivers int
	fanout    uint32
	perSecond int
	sizes     []int
}

var plans = []plan{
	{pointToPoint, "small", 1, 1, 100, []int{100}},
	{pointToPoint, "medium", 1, 1, 50, []int{1 << 10}},
	{pointToPoint, "mixed", 1, 1, 20, []int{100, 1000, 16 << 10, 64 << 10}},
	{pointToPoint, "large", 1, 1, 10, []int{64 << 10}},
	{fanOut, "group", 4, 256, 20, []int{1 << 10, 200, 16 << 10, 1 << 10}},
	{fanOut, "small group", 4, 256, 40, []int{100}},
	{anycast, "pool", 3, 1, 50, []int{200}},
}

// startHonest connects everybody.
func startHonest(t *testing.T, node string) *honest {
	t.Helper()
	h := &honest{node: node, byFlow: map[uint32][]*tally{}, waits: map[uint64]chan struct{}{}, delays: map[string]*delays{}, acks: newDelays()}
	ctx := t.Context()
	must := func(c *uplink.Conn, err error) *uplink.Conn {
		t.Helper()
		if err != nil {
			t.Fatalf("an honest client: %v", err)
		}
		t.Cleanup(func() {
			c.Abort()
			<-c.Done()
		})
		return c
	}
	for _, p := range plans {
		f := h.newFlow(p.name, p.sizes)
		dest := honestName(p.name, 0)
		if p.receivers > 1 {
			dest = dest.WithID(wire.Null, wire.Null)
		}
		var shared *tally
		if p.kind == anycast {
			shared = h.expect(p.kind, f, p.receivers)
		}
		for i := range p.receivers {
			y := shared
			if y == nil {
				y = h.expect(p.kind, f, 1)
			}
			own := honestName(p.name, uint64(i))
			c := must(h.dial(ctx, uplink.Options{Handle: h.handler(y, i)}))
			header := publication(own, own, 1)
			if _, err := c.Subscribe(ctx, &header); err != nil {
				t.Fatalf("an honest client: %v", err)
			}
		}
		h.senders = append(h.senders, &sender{conn: must(h.dial(ctx, uplink.Options{})), flow: f,
			header: publication(honestName(p.name+" sender", 0), dest, p.fanout), every: time.Second / time.Duration(p.perSecond)})
	}
	h.comer = must(h.dial(ctx, uplink.Options{Handle: h.handle}))
	h.goer = must(h.dial(ctx, uplink.Options{}))
	home := must(h.dial(ctx, uplink.Options{Handle: h.handle}))
	at := publication(travelName, travelName, 1)
	if _, err := home.Subscribe(ctx, &at); err != nil {
		t.Fatalf("an honest client: %v", err)
	}
	var err error
	if h.traveller, err = h.dial(ctx, uplink.Options{}); err != nil {
		t.Fatalf("an honest client: %v", err)
	}
	t.Cleanup(func() { h.traveller.Abort() })
	return h
}

func (h *honest) newFlow(name string, sizes []int) *flow {
	return &flow{id: h.flows.Add(1), name: name, sizes: sizes}
}

// expect enters a tally for f; receivers is how many share it, who get each message once together.
func (h *honest) expect(kind string, f *flow, receivers int) *tally {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.delays[kind] == nil {
		h.delays[kind] = newDelays()
	}
	y := &tally{flow: f, kind: kind, delays: h.delays[kind]}
	if receivers > 1 {
		y.some = make([]uint64, receivers)
	}
	h.all = append(h.all, y)
	h.byFlow[f.id] = append(h.byFlow[f.id], y)
	return y
}

// handler takes what comes for y alone, at one of those who share it.
func (h *honest) handler(y *tally, receiver int) func([][]byte) {
	return func(msgs [][]byte) {
		now := load.Now()
		for _, msg := range msgs {
			s, ok := load.ReadStamp(msg)
			if !ok || s.Sender != y.flow.id {
				h.stranger(s)
				continue
			}
			y.see(msg, s, now, receiver)
		}
	}
}

// handle takes what comes for any flow that has one receiver.
func (h *honest) handle(msgs [][]byte) {
	now := load.Now()
	for _, msg := range msgs {
		s, ok := load.ReadStamp(msg)
		h.mu.Lock()
		ys := h.byFlow[s.Sender]
		h.mu.Unlock()
		if !ok || len(ys) != 1 {
			h.stranger(s)
			continue
		}
		ys[0].see(msg, s, now, 0)
		h.arrived(s)
	}
}

// arrived wakes who waits for that message.
func (h *honest) arrived(s load.Stamp) {
	h.mu.Lock()
	defer h.mu.Unlock()
	key := waitKey(s.Sender, s.Seq)
	if wait := h.waits[key]; wait != nil {
		delete(h.waits, key)
		close(wait)
	}
}

func waitKey(flow uint32, seq uint64) uint64 { return seq<<32 | uint64(flow) }

func (h *honest) stranger(s load.Stamp) {
	h.fault("a receiver got message %d of flow %d, which nobody sent to it", s.Seq, s.Sender)
}

// publish sends the next message of a flow, due at a time.
func (h *honest) publish(ctx context.Context, c *uplink.Conn, f *flow, header *wire.PublishHeader, due int64) error {
	f.mu.Lock()
	seq := f.sent
	f.sent++ // before it can arrive
	f.mu.Unlock()
	err := c.Publish(ctx, header, session, content(nil, f.size(seq), load.Stamp{Seq: seq, At: due, Sender: f.id}))
	if err != nil {
		f.mu.Lock()
		f.sent--
		f.mu.Unlock()
	}
	return err
}

// run sends for a time, and returns when all that was due has been accepted.
func (h *honest) run(ctx context.Context, d time.Duration) {
	end := load.Now() + int64(d)
	var all sync.WaitGroup
	for _, s := range h.senders {
		all.Go(func() { h.pace(ctx, s, end) })
	}
	all.Go(func() { h.come(ctx, end) })
	all.Go(func() { h.travel(ctx, end) })
	all.Wait()
}

// pace sends a flow at its pace, whatever becomes of the messages before: what is late is sent at once.
func (h *honest) pace(ctx context.Context, s *sender, end int64) {
	for due := load.Now(); due < end && ctx.Err() == nil; due += int64(s.every) {
		load.SleepUntil(due)
		if err := h.publish(ctx, s.conn, s.flow, &s.header, due); err != nil {
			if ctx.Err() == nil {
				h.fault("sender of %q: %v", s.flow.name, err)
			}
			return
		}
	}
}

const (
	comeEvery   = 100 * time.Millisecond
	travelEvery = 50 * time.Millisecond
	travelStay  = 20 // messages of one life
)

var travelName = honestName("home", 0)

// come subscribes to a name, has a message come to it, withdraws it, and sends another one, which must reach nobody.
func (h *honest) come(ctx context.Context, end int64) {
	f := h.newFlow("come", []int{100, 2000})
	h.expect(comeAndGo, f, 1)
	gone := h.newFlow("gone", []int{100}) // nobody expects it
	for due := load.Now(); due < end && ctx.Err() == nil; due += int64(comeEvery) {
		load.SleepUntil(due)
		if err := h.comeOnce(ctx, f, gone, due); err != nil && ctx.Err() == nil {
			h.fault("names that come and go: %v", err)
			return
		}
	}
}

func (h *honest) comeOnce(ctx context.Context, f, gone *flow, due int64) error {
	name := honestName("come and go", f.sends())
	header := publication(name, name, 1)
	wait, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	begin := load.Now()
	id, err := h.comer.Subscribe(wait, &header)
	if err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	h.acks.record(load.Now() - begin)
	came, key := make(chan struct{}), waitKey(f.id, f.sends())
	h.mu.Lock()
	h.waits[key] = came
	h.mu.Unlock()
	if err := h.publish(ctx, h.goer, f, &header, load.Now()); err != nil {
		return err
	}
	select {
	case <-came:
	case <-wait.Done(): // it is lost, as its verdict will tell
	}
	h.mu.Lock()
	delete(h.waits, key)
	h.mu.Unlock()
	if err := h.comer.Unsubscribe(wait, &header, id); err != nil {
		return fmt.Errorf("unsubscribe: %w", err)
	}
	return h.publish(ctx, h.goer, gone, &header, due)
}

// travel sends some messages, closes the connection in order, and connects anew.
func (h *honest) travel(ctx context.Context, end int64) {
	header := publication(honestName("traveller", 0), travelName, 1)
	for due := load.Now(); due < end; {
		f := h.newFlow("traveller", []int{100, 4 << 10})
		h.expect(reconnecting, f, 1)
		for range travelStay {
			load.SleepUntil(due)
			if err := h.publish(ctx, h.traveller, f, &header, due); err != nil {
				if ctx.Err() == nil {
					h.fault("client that reconnects: %v", err)
				}
				return
			}
			due += int64(travelEvery)
		}
		wait, cancel := context.WithTimeout(ctx, limit)
		err := h.traveller.Close(wait)
		cancel()
		if err == nil {
			h.traveller, err = h.dial(ctx, uplink.Options{})
		}
		if err != nil {
			if ctx.Err() == nil {
				h.fault("client that reconnects: %v", err)
			}
			return
		}
		due = max(due, load.Now()) // nobody wants to send while there is no connection
	}
}

// settle waits until everything that was sent has come, or nothing has for a while.
func (h *honest) settle(patience time.Duration) {
	before, since := uint64(0), time.Now()
	for {
		var sum verdict
		for _, v := range h.verdicts() {
			sum.add(v)
		}
		if sum.Lost == 0 {
			return
		}
		if sum.Received != before {
			before, since = sum.Received, time.Now()
		}
		if time.Since(since) > patience || !pause(context.Background(), look) {
			return
		}
	}
}

// verdicts are what has come of each kind of traffic so far.
func (h *honest) verdicts() map[string]verdict {
	h.mu.Lock()
	all := slices.Clone(h.all)
	h.mu.Unlock()
	sums := map[string]verdict{}
	for _, y := range all {
		v := sums[y.kind]
		v.add(y.verdict())
		sums[y.kind] = v
	}
	return sums
}

// takeDelays returns the delays of the part that has ended, by kind and all together (""), and those of
// acknowledgements.
func (h *honest) takeDelays() (byKind map[string]*load.Latency, acks *load.Latency) {
	h.mu.Lock()
	defer h.mu.Unlock()
	byKind = map[string]*load.Latency{"": load.NewLatency()}
	for kind, d := range h.delays {
		byKind[kind] = d.take()
		byKind[""].Merge(byKind[kind])
	}
	return byKind, h.acks.take()
}

// wrong tells what must not have been, but for what is lost.
func (h *honest) wrong() error {
	var all []error
	for kind, v := range h.verdicts() {
		if text := v.faults(); text != "" {
			all = append(all, fmt.Errorf("%s: %s", kind, text))
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, text := range h.faults {
		all = append(all, errors.New(text))
	}
	return errors.Join(all...)
}

// progress is one line.
func (h *honest) progress() string {
	var sum verdict
	vs := h.verdicts()
	for _, kind := range slices.Sorted(maps.Keys(vs)) {
		sum.add(vs[kind])
	}
	return fmt.Sprintf("honest: sent %d, on their way or lost %d%s", sum.Sent, sum.Lost, strings.TrimRight(" "+sum.faults(), " "))
}
