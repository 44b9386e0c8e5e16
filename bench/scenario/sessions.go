package scenario

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/process"
	"github.com/seed31b3bfd0/slimgo/bench/result"
	"github.com/seed31b3bfd0/slimgo/internal/usage"
	"github.com/seed31b3bfd0/slimgo/session"
)

// talk is sessions of apps of package session: this process opens them and sends, and another process of the same program
// plays all the other members, so that node, sender and receivers are measured apart.
type talk struct {
	p        result.Params
	rig      *load.Rig
	app      *session.App
	others   *troupe
	names    []string // of the other members
	options  session.SessionOptions
	sessions []*session.Session

	serving   bool // the others answer calls
	sent      atomic.Uint64
	made      atomic.Uint64 // calls that were answered whole
	measuring atomic.Bool
	stopped   atomic.Bool // senders end
	mu        sync.Mutex
	delays    *load.Latency // guarded by mu: from publishing to the acknowledgement of all members
}

// sessions measures sessions with many messages, and what they hold when that is over.
func sessions(plain bool) func(context.Context, *load.Rig, result.Params) ([]result.Metric, error) {
	return func(ctx context.Context, g *load.Rig, p result.Params) (ms []result.Metric, err error) {
		p.Sessions = max(1, p.Sessions)
		t := &talk{p: p, rig: g, options: session.SessionOptions{Plain: plain, Retries: repeats}, delays: load.NewLatency()}
		defer func() { err = errors.Join(err, t.close(ctx)) }()
		if err := t.connect(ctx); err != nil {
			return nil, err
		}
		debug.FreeOSMemory()
		empty, err := t.read("")
		if err != nil {
			return nil, err
		}
		if ms, err = t.meet(ctx); err != nil {
			return ms, err
		}
		from, to, err := t.run(ctx, len(t.sessions), t.send)
		ms = append(ms, t.rates(from, to)...)
		ms = append(ms, delays("", t.delays)...)
		g.Histogram = t.delays.Histogram()
		if err != nil {
			return ms, errors.Join(err, g.Broken())
		}
		judged, err := t.judge(ctx)
		if ms = append(ms, judged...); err == nil && p.Sessions > 1 {
			judged, err = t.idle(empty)
			ms = append(ms, judged...)
		}
		return ms, err
	}
}

// veiled says why there can be no sessions by t.
func veiled(t load.Target) string {
	for _, way := range append([]string{t.Command.Transport}, t.Addrs...) {
		if way, _, _ = strings.Cut(way, "://"); slices.Contains([]string{"tls", "mtls", "wss", "https"}, way) {
			return "sessions are measured on nodes without TLS: by gRPC, WebSocket or a unix socket"
		}
	}
	return ""
}

// connect starts the other process, and then the app of this one.
func (t *talk) connect(ctx context.Context) (err error) {
	secret := rand.Text() + rand.Text()
	here := cast{Node: t.rig.Addr(load.Publishing), Secret: secret}
	there := cast{Node: t.rig.Addr(load.Subscribing), Secret: secret, Serving: t.serving}
	switch {
	case t.p.Members < 2:
		return fmt.Errorf("a session of %d has nobody to talk with", t.p.Members)
	}
	for range t.p.Members - 1 {
		there.Names = append(there.Names, t.rig.Name("member", 0).String())
	}
	t.names = there.Names
	ctx, cancel := context.WithTimeout(ctx, t.p.SetupLimit)
	defer cancel()
	if t.others, err = engage(ctx, there); err != nil {
		return err
	}
	t.app, err = here.app(ctx, t.rig.Name("moderator", 0).String())
	return err
}

// close ends the sessions, the app, and the other process.
func (t *talk) close(ctx context.Context) (err error) {
	if t.app != nil {
		closing, cancel := context.WithTimeout(ctx, closeLimit)
		defer cancel()
		_ = t.app.Close(closing) // what was published has been waited for
	}
	if t.others != nil {
		err = t.others.dismiss()
	}
	return err
}

const (
	closeLimit  = 30 * time.Second
	arriveLimit = 30 * time.Second // for what is acknowledged to be read
	mostUnder   = 512              // messages of a session that can be under way
	repeats     = 30               // of a message, one a second: on a busy machine others may stand still
)

// meet opens the sessions, several at a time, and invites the members of each one after the other.
func (t *talk) meet(ctx context.Context) ([]result.Metric, error) {
	ctx, cancel := context.WithTimeout(ctx, t.p.SetupLimit)
	defer cancel()
	t.sessions = make([]*session.Session, t.p.Sessions)
	var last atomic.Int64
	begun := time.Now()
	n, err := together(t.p.Sessions, companions, func(i int) (err error) {
		if t.p.Members == 2 {
			t.sessions[i], err = t.app.Open(ctx, session.MustName(t.names[0]), t.options)
			return err
		}
		if t.sessions[i], err = t.app.OpenGroup(ctx, session.MustName(t.rig.Address(fmt.Sprint("channel", i), 0).String()), t.options); err != nil {
			return err
		}
		for _, name := range t.names {
			begun := time.Now()
			if err := t.sessions[i].Invite(ctx, session.MustName(name)); err != nil {
				return fmt.Errorf("inviting %s: %w", name, err)
			}
			last.Store(int64(time.Since(begun)))
		}
		return nil
	})
	took := time.Since(begun).Seconds()
	ms := []result.Metric{reached("sessions", n), perSecond("joins", float64(n*len(t.names))/took)}
	if last := last.Load(); last > 0 {
		ms = append(ms, nanos("last join", float64(last)))
	}
	return ms, err
}

// reading is what all meters show.
type reading struct {
	at                     time.Time
	heard                  tally
	sender, receiver, node usage.Usage
	known                  bool // node is
	goroutines             int  // of the sender
	made                   uint64
}

// read reads the meters after the other process has done as it is told.
func (t *talk) read(word string) (r reading, err error) {
	if r.heard, err = t.others.tell(word); err != nil {
		return r, err
	}
	r.at, r.goroutines, r.made = time.Now(), runtime.NumGoroutine(), t.made.Load()
	var err2 error
	r.sender, err = usage.Own()
	r.receiver, err2 = t.others.usage()
	r.node, r.known = t.rig.Usage()
	return r, errors.Join(err, err2)
}

// run lets n senders go, each with its share of the count, and returns what the meters showed before and after what is measured. All that
// was published is acknowledged when it returns without an error.
func (t *talk) run(ctx context.Context, n int, send func(ctx context.Context, i int, quota uint64) error) (from, to reading, err error) {
	sending, over := errgroup.WithContext(ctx)
	start := sync.OnceFunc(func() {
		for i := range n {
			quota := uint64(t.p.Count*(i+1)/n - t.p.Count*i/n)
			sending.Go(func() error { return send(over, i, quota) })
		}
	})
	if t.p.Count == 0 { // a count is measured from its first message on
		start()
		_ = load.Sleep(over, t.p.Warmup)
	}
	from, err = t.read("")
	t.measuring.Store(true)
	start()
	if t.p.Count > 0 {
		err = errors.Join(err, sending.Wait())
	} else {
		_ = load.Sleep(over, t.p.Duration)
	}
	to, err2 := t.read("")
	t.measuring.Store(false)
	t.stopped.Store(true)
	return from, to, errors.Join(err, err2, sending.Wait())
}

// send publishes as many as may be under way, and one more for each that is acknowledged: quota in all, or, if that is 0,
// until it is stopped.
func (t *talk) send(ctx context.Context, i int, quota uint64) error {
	type published struct {
		d  *session.Delivery
		at time.Time
	}
	window := t.p.InFlight
	if window == 0 || window > mostUnder {
		window = mostUnder
	}
	under, data := make([]published, window), make([]byte, t.p.Size)
	acknowledged := func(m *published) error {
		if m.d == nil {
			return nil
		}
		err := m.d.Wait(ctx)
		if err == nil && t.measuring.Load() {
			t.mu.Lock()
			t.delays.Record(int64(time.Since(m.at)))
			t.mu.Unlock()
		}
		m.d = nil
		return err
	}
	for n := uint64(0); (t.p.Count == 0 || n < quota) && !t.stopped.Load(); n++ {
		m := &under[n%uint64(window)]
		if err := acknowledged(m); err != nil {
			return err
		}
		binary.BigEndian.PutUint64(data, n)
		m.at = time.Now()
		var err error
		if m.d, err = t.sessions[i].Publish(ctx, session.Content{Data: data}); err != nil {
			return err
		}
		t.sent.Add(1)
	}
	for i := range under {
		if err := acknowledged(&under[i]); err != nil {
			return err
		}
	}
	return nil
}

// rates are what came meanwhile, and what each process took for it.
func (t *talk) rates(from, to reading) (ms []result.Metric) {
	seconds, n := to.at.Sub(from.at).Seconds(), float64(to.heard.Received-from.heard.Received)
	if seconds <= 0 {
		return nil
	}
	if ms = append(ms, perSecond("messages delivered", n/seconds)); n <= 0 {
		return ms
	}
	if from.known && to.known {
		ms = append(ms, nanos(result.CostMetric, float64(to.node.CPU-from.node.CPU)/n))
	}
	return append(ms, nanos("sender CPU per delivered", float64(to.sender.CPU-from.sender.CPU)/n),
		nanos("receiver CPU per delivered", float64(to.receiver.CPU-from.receiver.CPU)/n))
}

// judge counts what did not come as it was sent, and waits a moment for what is acknowledged and was not read yet.
func (t *talk) judge(ctx context.Context) ([]result.Metric, error) {
	want := t.sent.Load() * uint64(len(t.names))
	var now tally
	var err error
	_ = process.Until(ctx, 5*time.Millisecond, arriveLimit, func() bool {
		now, err = t.others.tell("")
		return err != nil || now.Received-now.Duplicates >= want
	})
	came := now.Received - now.Duplicates
	return []result.Metric{fault("lost", max(want, came)-came), fault("duplicates", now.Duplicates), fault("reordered", now.Reordered)}, err
}

// idle is what sessions hold that do nothing, with what they had to do before that.
func (t *talk) idle(empty reading) ([]result.Metric, error) {
	debug.FreeOSMemory()
	now, err := t.read(rest)
	if err != nil {
		return nil, err
	}
	each := func(now, then usage.Usage) float64 { return float64(now.RSS-then.RSS) / float64(len(t.sessions)) }
	return []result.Metric{bytes("sender RSS per idle session", each(now.sender, empty.sender)),
		bytes("receiver RSS per idle session", each(now.receiver, empty.receiver)),
		fault("goroutines gained", max(0, now.goroutines-empty.goroutines)+max(0, now.heard.Goroutines-empty.heard.Goroutines))}, nil
}
