package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"time"

	"github.com/spf13/pflag"

	"github.com/seed31b3bfd0/slimgo/bench/client"
	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/process"
	"github.com/seed31b3bfd0/slimgo/bench/result"
	"github.com/seed31b3bfd0/slimgo/internal/cli"
)

// receiveOptions are the flags of receive.
type receiveOptions struct {
	target, output string
	secure         secureOptions
	count          int
	idle           time.Duration
}

func receiveCommand() command {
	return command{
		name: "receive",
		about: `slim-bench receive NAME prints the messages that slim-bench send sends to NAME, a line each. Messages that send has made
are counted instead and judged by their numbers: lost, twice, out of order. Their delay is told where sender and receiver
read one clock, that of one machine; of others it would be a difference of clocks. Start it before send: what nobody
receives, nodes drop. Several receivers of one name share its messages, unless send says --all, and each then misses
what others have got.

Exit codes: 0 all came once and in order; 1 not so; 2 the node cannot be reached or was lost, or the command line is wrong.`,
		examples: `  slim-bench receive org/demo/bob
  slim-bench receive org/demo/bob --count 1000000 --idle 5s --target 10.0.0.1:46357
`,
		flags: func(fs *pflag.FlagSet) any {
			o := new(receiveOptions)
			fs.StringVar(&o.target, "target", defaultNode, "`ADDRESS` of the node")
			o.secure.flags(fs)
			fs.IntVar(&o.count, "count", 0, "end after so many messages; 0: at Ctrl-C")
			fs.DurationVar(&o.idle, "idle", 0, "end when nothing has come for so long after the first message; 0s: wait")
			fs.StringVar(&o.output, "output", "text", "`text|json`: how messages and judgement are printed")
			return o
		},
		run: func(ctx context.Context, p *program, opt any, args []string) error {
			return p.receive(ctx, opt.(*receiveOptions), args)
		},
	}
}

// tally is what has come of the messages that one sender has made.
type tally struct {
	From       string             `json:"from"`
	Messages   uint64             `json:"messages"` // with those that came twice
	Bytes      uint64             `json:"bytes"`    // of whole messages
	Seconds    float64            `json:"seconds"`  // from the first to the last
	Lost       uint64             `json:"lost"`     // numbers that later ones have overtaken
	Twice      uint64             `json:"twice"`
	OutOfOrder uint64             `json:"out_of_order"`
	First      uint64             `json:"first_number"` // of the message that came first; the sender counts from 0
	Delays     map[string]float64 `json:"delay_ns,omitempty"`

	seq         load.Sequence
	delays      *load.Latency // nil: its clock is another
	begin, last int64
}

// inbox takes what comes.
type inbox struct {
	conn  *client.Conn // set, as self is, before anything can come: before the name is subscribed
	self  load.Address
	show  func(client.Letter)
	count int   // of messages; 0: no end
	clock int64 // what has to be added to load.Now to read the clock of all processes of this machine
	now   int64 // of the read that goes on, on that clock

	mu      sync.Mutex
	order   []*tally          // guarded by mu
	senders map[uint32]*tally // guarded by mu
	changed int               // messages that are neither text nor as they were sent; guarded by mu
	came    int               // guarded by mu
	last    int64             // when something came last; guarded by mu
}

// Begin implements load.Sink.
func (in *inbox) Begin(now int64) { in.now = now + in.clock }

// Flush implements load.Sink.
func (in *inbox) Flush() {}

// Deliver implements load.Sink.
func (in *inbox) Deliver(msg []byte) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.count > 0 && in.came >= in.count {
		return
	}
	if s, ok := load.ReadStamp(msg); ok {
		in.judge(s, msg)
	} else {
		l, err := client.ReadLetter(msg)
		switch {
		case err == nil && l.Kind == client.Asking:
			// Whoever has no answer asks again.
			_ = in.conn.TryPost(client.Letter{From: in.self, To: l.From, Kind: client.Here})
			return
		case err != nil || bytes.IndexByte(l.Text, 0) >= 0:
			in.changed++
		default:
			in.show(l)
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
		t = &tally{From: l.From.String(), First: s.Seq, begin: in.now}
		if clock := l.From.Parts[1]; clock == in.self.Parts[1] && clock != noClock {
			t.delays = load.NewLatency()
		}
		in.senders[s.Sender] = t
		in.order = append(in.order, t)
	}
	t.Messages++
	t.Bytes += uint64(len(msg))
	t.last = in.now
	t.seq.See(s.Seq)
	if t.delays != nil {
		t.delays.Record(in.now - s.At)
	}
}

// judged are the tallies of all senders, in the order in which they came.
func (in *inbox) judged() []*tally {
	for _, t := range in.order {
		t.seq.Publish()
		seen := t.seq.Seen()
		t.Lost, t.Twice, t.OutOfOrder, t.Seconds = seen.Missing, seen.Duplicates, seen.Reordered, float64(t.last-t.begin)/1e9
		if t.delays != nil {
			t.Delays = map[string]float64{}
			for _, f := range t.delays.Figures() {
				t.Delays[f.Name] = f.Value
			}
		}
	}
	return in.order
}

func (p *program) receive(ctx context.Context, o *receiveOptions, args []string) error {
	name, err := parseName("receive", args)
	if err != nil {
		return err
	}
	if o.output != "text" && o.output != "json" {
		return fmt.Errorf("--output %s: want text or json", o.output)
	}
	in := &inbox{count: o.count, clock: sharedClock(), senders: map[uint32]*tally{}}
	out := json.NewEncoder(p.stdout)
	in.show = func(l client.Letter) { fmt.Fprintln(p.stdout, cli.Printable(string(l.Text))) }
	if o.output == "json" {
		in.show = func(l client.Letter) {
			_ = out.Encode(map[string]string{"text": string(l.Text), "from": l.From.String()})
		}
	}
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
	_ = in.conn.Finish(end) // nothing was left to send
	in.mu.Lock()
	defer in.mu.Unlock()
	return errors.Join(err, in.tell(p.stdout, out, o))
}

// wait returns when enough has come, when nothing has come for the time idle after something had, or when ctx or the
// connection ends; the last of these is an error.
func (in *inbox) wait(ctx context.Context, idle time.Duration) error {
	var lost error
	_ = process.Until(ctx, 10*time.Millisecond, math.MaxInt64, func() bool {
		lost = in.conn.Err()
		in.mu.Lock()
		defer in.mu.Unlock()
		silent := idle > 0 && in.came > 0 && time.Duration(load.Now()+in.clock-in.last) >= idle
		return lost != nil || silent || in.count > 0 && in.came == in.count
	})
	return lost
}

// tell prints the judgement, if there is anything to judge.
func (in *inbox) tell(w io.Writer, out *json.Encoder, o *receiveOptions) error {
	all := in.judged()
	absent := max(0, o.count-in.came)
	wrong := in.changed > 0 || absent > 0
	for _, t := range all {
		wrong = wrong || t.Lost+t.Twice+t.OutOfOrder > 0
	}
	if o.output == "json" {
		sum := map[string]any{"messages": in.came, "absent": absent, "changed": in.changed, "senders": all}
		if err := out.Encode(sum); err != nil {
			return err
		}
	} else {
		for _, t := range all {
			t.print(w)
		}
		if absent > 0 || in.changed > 0 {
			fmt.Fprintf(w, "%d of %d did not come, %d came changed\n", absent, o.count, in.changed)
		}
	}
	if wrong {
		return fmt.Errorf("%w: that all come, once and in order", errFailed)
	}
	return nil
}

func (t *tally) print(w io.Writer) {
	count := func(n uint64) string { return result.Format(float64(n), result.Count) }
	fmt.Fprintf(w, "%s messages", count(t.Messages))
	if t.Seconds > 0 {
		fmt.Fprintf(w, " in %s: %s, %s", result.Format(t.Seconds*1e9, result.Nanoseconds),
			result.Format(float64(t.Messages)/t.Seconds, result.PerSecond),
			result.Format(float64(t.Bytes)/t.Seconds, result.BytesPerSecond))
	}
	fmt.Fprintf(w, "\nlost %s, twice %s, out of order %s\n", count(t.Lost), count(t.Twice), count(t.OutOfOrder))
	if t.First > 0 {
		fmt.Fprintf(w, "number %s came first: those before it may have been sent before this receiver was there\n", count(t.First))
	}
	if t.delays == nil {
		fmt.Fprintln(w, "delay: not told, as the sender reads another machine's clock")
		return
	}
	fmt.Fprint(w, "delay:")
	for _, f := range t.delays.Figures() {
		fmt.Fprint(w, " ", f.Name, " ", result.Format(f.Value, result.Nanoseconds))
	}
	fmt.Fprintln(w)
}
