package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed31b3bfd0/slimgo/bench/client"
	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/process"
	"github.com/seed31b3bfd0/slimgo/bench/result"
	"github.com/seed31b3bfd0/slimgo/internal/cli"
)

// receiveOptions are the flags of receive.
type receiveOptions struct {
	target string
	secure secureOptions
	count  int
	idle   time.Duration
}

func (p *program) receiveCommand() *cobra.Command {
	var o receiveOptions
	c := &cobra.Command{
		Use: "receive NAME",
		Long: `slim-bench receive NAME prints the messages that slim-bench send sends to NAME, a line each. Messages that send has made
are counted instead and judged by their numbers: lost, twice, out of order. Their delay is told where sender and receiver
read one clock, that of one machine; of others it would be a difference of clocks. Start it before send: what nobody
receives, nodes drop. Several receivers of one name share its messages, unless send says --all, and each then misses
what others have got.

Exit codes: 0 all came once and in order; 1 not so; 2 the node cannot be reached or was lost, or the command line is wrong.`,
		Example: `  slim-bench receive org/demo/bob
  slim-bench receive org/demo/bob --count 1000000 --idle 5s --target 10.0.0.1:46357
`,
		RunE: func(c *cobra.Command, args []string) error { return p.receive(c.Context(), &o, args) },
	}
	fs := c.Flags()
	fs.StringVar(&o.target, "target", defaultNode, "`ADDRESS` of the node")
	o.secure.flags(fs)
	fs.IntVar(&o.count, "count", 0, "end after so many messages; 0: at Ctrl-C")
	fs.DurationVar(&o.idle, "idle", 0, "end when nothing has come for so long after the first message; 0s: wait")
	return c
}

// tally is what has come of the messages that one sender has made.
type tally struct {
	clock bool // it reads the same one
	first load.Stamp
	begin int64
	got   *load.Receiver
}

// figures are those of a tally in words, and whether all came once and in order.
func (t *tally) figures() (words string, right bool) {
	got, seen := t.got.Arrivals(), t.got.From(t.first.Sender).Seen()
	add := func(name string, unit result.Unit, v float64) {
		words += ", " + name + " " + result.Format(v, unit)
	}
	add("messages", result.Count, float64(got.Messages)) // with those that came twice
	if seconds := float64(got.Last-t.begin) / 1e9; seconds > 0 {
		add("delivered", result.PerSecond, float64(got.Messages)/seconds)
		add("bytes received", result.BytesPerSecond, float64(got.Bytes)/seconds)
	}
	add("lost", result.Count, float64(seen.Missing)) // numbers that later ones have overtaken
	add("duplicates", result.Count, float64(seen.Duplicates))
	add("reordered", result.Count, float64(seen.Reordered))
	t.got.Settle()
	for _, f := range t.got.Delays(0).Figures() {
		if t.clock {
			add(f.Name, result.Nanoseconds, f.Value)
		}
	}
	return strings.TrimPrefix(words, ", "), seen.Missing+seen.Duplicates+seen.Reordered == 0
}

// inbox takes what comes.
type inbox struct {
	conn  *client.Conn // set, as self is, before anything can come: before the name is subscribed
	self  load.Address
	out   *bufio.Writer
	count int   // of messages; 0: no end
	now   int64 // of the read that goes on

	mu      sync.Mutex // held from Begin to Flush; guards what follows
	order   []*tally
	senders map[uint32]*tally
	changed int // messages that are neither text nor as they were sent
	came    int
	last    int64 // when something came last
}

// Begin implements load.Sink.
func (in *inbox) Begin(now int64) {
	in.mu.Lock()
	in.now = now
}

// Flush implements load.Sink.
func (in *inbox) Flush() { in.mu.Unlock() }

// Deliver implements load.Sink.
func (in *inbox) Deliver(msg []byte) {
	if in.count > 0 && in.came >= in.count {
		return
	}
	if s, ok := load.ReadStamp(msg); ok {
		in.judge(s, msg)
	} else {
		l, err := client.ReadLetter(msg)
		switch {
		case err == nil && string(l.Text) == question:
			// Whoever has no answer asks again.
			_ = in.conn.TrySend(client.Letter{From: in.self, To: l.From, Text: []byte(answer)}.Encode())
			return
		case err != nil || bytes.IndexByte(l.Text, 0) >= 0:
			in.changed++
		default:
			fmt.Fprintln(in.out, cli.Printable(string(l.Text)))
		}
	}
	in.last = in.now
	in.came++
}

// judge takes a message that a sender has made.
func (in *inbox) judge(s load.Stamp, msg []byte) {
	t := in.senders[s.Sender]
	if t == nil {
		l, _ := client.ReadLetter(msg) // of one that does not say who has sent it the clock is not known
		clock := l.From.Parts[1]
		t = &tally{clock: clock == in.self.Parts[1] && clock != noClock, first: s, begin: in.now,
			got: load.NewReceiver(s.Sender, 1, 1)}
		t.got.Phase(0, math.MinInt64)
		in.senders[s.Sender] = t
		in.order = append(in.order, t)
	}
	t.got.Begin(in.now)
	t.got.Deliver(msg)
	t.got.Flush()
}

func (p *program) receive(ctx context.Context, o *receiveOptions, args []string) error {
	name, err := parseName("receive", args)
	if err == nil && (o.count < 0 || o.idle < 0) {
		err = errors.New("--count and --idle: want 0 or more")
	}
	if err != nil {
		return err
	}
	in := &inbox{out: bufio.NewWriter(p.stdout), count: o.count, senders: map[uint32]*tally{}}
	if in.conn, in.self, err = meet(ctx, o.target, &o.secure, "receive", in); err != nil {
		return err
	}
	defer in.conn.Abort()
	if _, err := in.conn.Subscribe(ctx, 1, 0, func(int) load.Address { return name }); err != nil {
		return err
	}
	fmt.Fprintf(p.stderr, "receiving %s at %s\n", name, o.target)
	err = in.wait(ctx, o.idle)
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = in.conn.Conn.Close(end) // nothing was left to send
	in.mu.Lock()
	defer in.mu.Unlock()
	judged := in.tell()
	return cmp.Or(err, in.out.Flush(), judged) // of a node that was lost nothing else is judged
}

// wait returns when enough has come, when nothing has come for the time idle after something had, when ctx or the connection
// ends, or when what came cannot be printed; the last two are errors.
func (in *inbox) wait(ctx context.Context, idle time.Duration) error {
	var lost error
	_ = process.Until(ctx, 10*time.Millisecond, math.MaxInt64, func() bool {
		in.mu.Lock()
		defer in.mu.Unlock()
		lost = cmp.Or(in.conn.Err(), in.out.Flush())
		silent := idle > 0 && in.came > 0 && time.Duration(load.Now()-in.last) >= idle
		return lost != nil || silent || in.count > 0 && in.came == in.count
	})
	return lost
}

// tell prints the judgement, if there is anything to judge.
func (in *inbox) tell() error {
	absent := max(0, in.count-in.came)
	right := in.changed == 0 && absent == 0
	for _, t := range in.order {
		words, fine := t.figures()
		right = right && fine
		fmt.Fprintln(in.out, words)
		if t.first.Seq > 0 {
			fmt.Fprintf(in.out, "number %d came first: those before it may have been sent before this receiver was there\n", t.first.Seq)
		}
		if !t.clock {
			fmt.Fprintln(in.out, "delays are not told, as the sender reads another machine's clock")
		}
	}
	if absent > 0 || in.changed > 0 {
		fmt.Fprintf(in.out, "%d of %d did not come, %d came changed\n", absent, in.count, in.changed)
	}
	if !right {
		return fmt.Errorf("%w: that all come, once and in order", errFailed)
	}
	return nil
}
