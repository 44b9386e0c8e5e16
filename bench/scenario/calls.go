package scenario

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/result"
	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/session/rpc"
)

// calling is what calls call: a request asks for so many replies of such a size, and each reply says of which call it is, and which.
var calling = rpc.Method{Service: "bench.Calls", Name: "Ask", ServerStreams: true}

// question is the beginning of a request, and ordinal of a reply.
type (
	question struct {
		Call          uint64
		Replies, Size uint32
	}
	ordinal struct {
		Call  uint64
		Reply uint32
	}
)

const (
	questionSize = 16
	ordinalSize  = 12
	mostBurst    = 1 << 16 // replies to one call that a server makes
)

// answer serves calls of an app.
func answer(ctx context.Context, app *session.App) {
	s := rpc.NewServer(app, rpc.ServerOptions{})
	rpc.HandleServerStream(s, calling, func(_ context.Context, req *rpc.Raw, out *rpc.Sender[rpc.Raw]) error {
		var a question
		if _, err := binary.Decode(*req, binary.BigEndian, &a); err != nil || a.Size > session.MaxContent || a.Replies > mostBurst {
			return rpc.Errorf(rpc.InvalidArgument, "a request of %d bytes is none", len(*req))
		}
		reply := make(rpc.Raw, max(a.Size, ordinalSize))
		binary.BigEndian.PutUint64(reply, a.Call)
		for n := range a.Replies {
			binary.BigEndian.PutUint32(reply[8:], n)
			if err := out.Send(&reply); err != nil {
				return err
			}
		}
		return nil
	})
	go func() { _ = s.Serve(ctx) }()
}

// calls are calls of the apps of another process, all of them at once if there are several.
type calls struct {
	talk
	client interface {
		rpc.Caller
		Close(ctx context.Context) error
	}
	begun                                        atomic.Uint64
	lost, duplicates, reordered, changed, failed atomic.Uint64
	answered                                     atomic.Int64 // when the last of them was, on the clock of load.Now
}

// callers measures calls with many under way.
func callers(ctx context.Context, g *load.Rig, p result.Params) (ms []result.Metric, err error) {
	p.Members, p.Replies = p.Fanout+1, max(1, p.Replies)
	c := &calls{talk: talk{p: p, rig: g, delays: load.NewLatency(), serving: true}}
	defer func() { err = errors.Join(err, c.close(ctx)) }()
	if err := c.connect(ctx); err != nil {
		return nil, err
	}
	c.dial(nil)
	defer func() { err = errors.Join(err, c.hangUp(ctx)) }()
	if err := c.call(ctx, 0, c.begun.Add(1)); err != nil { // so that there is a session
		return nil, err
	}
	under := p.InFlight
	if under == 0 || under > mostUnder {
		under = mostUnder
	}
	from, to, err := c.run(ctx, under, c.keepCalling)
	ms = append(ms, c.rates(from, to)...)
	ms = append(ms, delays("", c.delays)...)
	g.Histogram = c.delays.Histogram()
	ms = append(ms, c.faults()...)
	if err != nil {
		err = errors.Join(err, g.Broken())
	}
	return ms, err
}

// dial makes the client, through interceptors.
func (c *calls) dial(through []rpc.ClientInterceptor) {
	o := rpc.CallOptions{Session: session.SessionOptions{Plain: true, Retries: repeats}, Timeout: callLimit, Interceptors: through}
	var names []session.Name
	for _, n := range c.names {
		names = append(names, session.MustName(n))
	}
	if len(names) == 1 {
		c.client = rpc.NewClient(c.app, names[0], o)
	} else {
		c.client = rpc.NewGroup(c.app, names, rpc.GroupOptions{CallOptions: o, Invite: c.p.SetupLimit})
	}
}

func (c *calls) hangUp(ctx context.Context) error {
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeLimit)
	defer cancel()
	return c.client.Close(closing)
}

// callLimit is how long a call may take, on a busy machine.
const callLimit = 30 * time.Second

// keepCalling makes one call after the other: quota, or, if that is 0, until it is stopped.
func (c *calls) keepCalling(ctx context.Context, _ int, quota uint64) error {
	c.answered.Store(load.Now())
	for n := uint64(0); (c.p.Count == 0 || n < quota) && !c.stopped.Load(); n++ {
		began := time.Now()
		err := c.call(ctx, c.p.Size, c.begun.Add(1))
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			if c.failed.Add(1) <= mostTold {
				c.mu.Lock()
				c.rig.Notes = append(c.rig.Notes, "a call failed: "+err.Error())
				c.mu.Unlock()
			}
			if silent := time.Duration(load.Now() - c.answered.Load()); silent > callLimit {
				return fmt.Errorf("no call was answered for %v: %w", silent.Round(time.Second), err)
			}
			continue
		}
		if c.answered.Store(load.Now()); c.measuring.Load() {
			c.mu.Lock()
			c.delays.Record(int64(time.Since(began)))
			c.mu.Unlock()
		}
	}
	return nil
}

// mostTold is of how many failures a note is made.
const mostTold = 3

// call makes one, and judges what each of the others replies. An error is that of the call, or of one of them.
func (c *calls) call(ctx context.Context, size int, number uint64) error {
	a := question{number, uint32(c.p.Replies), uint32(size)}
	req := make(rpc.Raw, 0, max(size, questionSize))
	req, _ = binary.Append(req, binary.BigEndian, &a)
	if c.p.Replies == 1 { // as long as its reply
		req = req[:cap(req)]
	}
	method := calling
	method.ServerStreams = c.p.Replies > 1
	next := make(map[session.Name]*uint32, len(c.names))
	var last session.Name
	var expected *uint32 // of the last one, who is often the next one, too
	var failed error
	heard := 0
	for r, err := range rpc.Ask[rpc.Raw, rpc.Raw](ctx, c.client, method, &req) {
		if err != nil {
			failed = err
			continue
		}
		if from := r.From.Name; expected == nil || from != last {
			if last, expected = from, next[from]; expected == nil {
				expected = new(uint32)
				next[from] = expected
			}
		}
		n, further := c.judge(&a, *r.Message, *expected)
		if further {
			*expected = n
			heard++
		}
	}
	switch want := len(c.names) * c.p.Replies; {
	case failed != nil:
	case heard < want:
		c.lost.Add(uint64(want - heard))
	default:
		c.made.Add(1)
	}
	return failed
}

// judge looks at a reply, where the one with number next was to come. It reports whether it is a further one, and what is to come then.
func (c *calls) judge(a *question, reply []byte, next uint32) (uint32, bool) {
	var t ordinal
	if _, err := binary.Decode(reply, binary.BigEndian, &t); err != nil || t.Call != a.Call || len(reply) != int(max(a.Size, ordinalSize)) {
		c.changed.Add(1)
		return next, false
	}
	switch {
	case t.Reply < next:
		c.duplicates.Add(1)
		return next, false
	case t.Reply > next:
		c.reordered.Add(1)
	}
	return t.Reply + 1, true
}

func (c *calls) faults() []result.Metric {
	return []result.Metric{fault("lost", c.lost.Load()), fault("duplicates", c.duplicates.Load()), fault("reordered", c.reordered.Load()),
		fault("changed", c.changed.Load()), fault("calls failed", c.failed.Load())}
}

// rates are calls that were answered by all, and what each process took for one.
func (c *calls) rates(from, to reading) (ms []result.Metric) {
	seconds, n := to.at.Sub(from.at).Seconds(), float64(to.made-from.made)
	if seconds <= 0 {
		return nil
	}
	if ms = append(ms, perSecond("calls", n/seconds), perSecond("replies", n*float64(len(c.names)*c.p.Replies)/seconds)); n <= 0 {
		return ms
	}
	if from.known && to.known {
		ms = append(ms, nanos("node CPU per call", float64(to.node.CPU-from.node.CPU)/n))
	}
	return append(ms, nanos("caller CPU per call", float64(to.sender.CPU-from.sender.CPU)/n),
		nanos("server CPU per call", float64(to.receiver.CPU-from.receiver.CPU)/n))
}
