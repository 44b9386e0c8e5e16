package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed31b3bfd0/slimgo/bench/client"
	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/result"
	"github.com/seed31b3bfd0/slimgo/session/uplink"
)

// sendOptions are the flags of send.
type sendOptions struct {
	target, size string
	secure       secureOptions
	count, rate  int
	all          bool
	wait         time.Duration
	made         func() bool // messages are made here, not read
}

func (p *program) sendCommand() *cobra.Command {
	var o sendOptions
	c := &cobra.Command{
		Use: "send NAME",
		Long: `slim-bench send NAME sends each line of its standard input as a message to NAME, which slim-bench receive shows, here or on
another machine. With --count, --rate or --size it makes messages itself, numbered and stamped, which receive judges.
It asks first whether somebody receives, as nodes drop what is for nobody. Applications of SLIM do not take such messages:
they talk in sessions.

Exit codes: 0 all was handed to the node; 2 nobody receives, the node cannot be reached, or the command line is wrong.`,
		Example: `  echo hello | slim-bench send org/demo/bob
  slim-bench send org/demo/bob --target 10.0.0.1:46357 --count 1000000 --size 1K
  slim-bench send org/demo/all --all --rate 1000 --count 60000     to everybody who holds the name
`,
		RunE: func(c *cobra.Command, args []string) error { return p.send(c.Context(), &o, args) },
	}
	fs := c.Flags()
	fs.StringVar(&o.target, "target", defaultNode, "`ADDRESS` of the node")
	o.secure.flags(fs)
	fs.IntVar(&o.count, "count", 0, "messages to make; 0: until Ctrl-C")
	fs.IntVar(&o.rate, "rate", 0, "messages a second; 0: as fast as the node takes them")
	fs.StringVar(&o.size, "size", "100", "payload `BYTES` of messages made here, e.g. 100, 1K, 16K")
	fs.BoolVar(&o.all, "all", false, "to all who hold NAME, not to one of them")
	fs.DurationVar(&o.wait, "wait", 10*time.Second, "time in which somebody has to receive; 0s: do not ask")
	o.made = func() bool { return slices.ContainsFunc([]string{"count", "rate", "size"}, fs.Changed) }
	return c
}

const (
	defaultNode = "127.0.0.1:46357"      // where applications of SLIM look for a node
	noClock     = "none"                 // for the clock of a machine on which processes do not share one
	askEvery    = 100 * time.Millisecond // who is there: a question is dropped like everything that is for nobody
)

// parseName reads the one argument of send and receive.
func parseName(command string, args []string) (load.Address, error) {
	if len(args) != 1 {
		return load.Address{}, fmt.Errorf("%s what? slim-bench %s NAME, such as org/demo/bob", command, command)
	}
	parts := strings.Split(args[0], "/")
	if len(parts) != 3 || slices.Contains(parts, "") {
		return load.Address{}, fmt.Errorf("name %q: want three components, organization/namespace/app, such as org/demo/bob", args[0])
	}
	return load.Address{Parts: [3]string(parts)}, nil
}

// meet connects to the node of send and receive, under a name of its own that says which clock this process reads.
func meet(ctx context.Context, target string, secure *secureOptions, role string, sink load.Sink) (*client.Conn, load.Address, error) {
	self := load.Address{Parts: [3]string{"slim-bench", cmp.Or(load.ClockName(), noClock), role}, ID: rand.Uint64()>>1 + 1}
	t, err := parseAddresses([]string{target}, 0, secure)
	if err != nil {
		return nil, self, err
	}
	c, err := t.Dialer.Dial(ctx, t.Addrs[0], load.DialOptions{Sink: sink})
	if err != nil {
		return nil, self, err
	}
	return c.(*client.Conn), self, nil
}

// What send and receive say to each other, which is no text of people.
const (
	question = "\x00who is there?"
	answer   = "\x00it is me"
)

// answers is a sink that waits for whoever receives.
type answers chan struct{}

func (answers) Begin(int64) {}
func (answers) Flush()      {}
func (a answers) Deliver(msg []byte) {
	if l, err := client.ReadLetter(msg); err == nil && string(l.Text) == answer {
		select {
		case a <- struct{}{}:
		default: // one is enough
		}
	}
}

func (p *program) send(ctx context.Context, o *sendOptions, args []string) error {
	to, err := parseName("send", args)
	if err != nil {
		return err
	}
	m := load.Message{To: []load.Address{to}, All: o.all, Sender: rand.Uint32(), IdentitySize: 172}
	if err := load.ParsePayload(&m.Size, o.size); err != nil {
		return fmt.Errorf("--size %w", err)
	}
	if o.count < 0 || o.rate < 0 || o.rate > 1e7 {
		return errors.New("--count and --rate: want 0 or more, and at most ten million a second")
	}
	somebody := make(answers, 1)
	c, self, err := meet(ctx, o.target, &o.secure, "send", somebody)
	if err != nil {
		return err
	}
	defer c.Abort()
	if o.wait > 0 {
		if err := ask(ctx, c, client.Letter{From: self, To: to, All: o.all, Text: []byte(question)}, somebody, o.wait); err != nil {
			return fmt.Errorf("%s at %s: %w", to, o.target, err)
		}
	}
	m.From = self
	if o.made() {
		err = p.makeMessages(ctx, c, m, o)
	} else {
		err = p.sendLines(ctx, c, client.Letter{From: self, To: to, All: o.all})
	}
	if err != nil {
		return err
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return c.Conn.Close(end)
}

// ask returns when somebody has answered.
func ask(ctx context.Context, c *client.Conn, who client.Letter, somebody answers, limit time.Duration) error {
	if _, err := c.Subscribe(ctx, 1, 0, func(int) load.Address { return who.From }); err != nil {
		return err
	}
	late := time.NewTimer(limit)
	defer late.Stop()
	again := time.NewTicker(askEvery)
	defer again.Stop()
	for {
		if err := c.Send(ctx, who.Encode()); err != nil {
			return err
		}
		select {
		case <-somebody:
			return nil
		case <-again.C:
		case <-late.C:
			return fmt.Errorf("nobody receives, after %v: start slim-bench receive %s there first (applications of SLIM do not answer: they "+
				"talk in sessions)", limit, who.To)
		case <-ctx.Done():
			return ctx.Err()
		case <-c.Done():
			return c.Err()
		}
	}
}

// sendLines sends what stands on standard input until that or ctx ends.
func (p *program) sendLines(ctx context.Context, c *client.Conn, l client.Letter) error {
	if in, ok := p.stdin.(io.Closer); ok {
		defer context.AfterFunc(ctx, func() { _ = in.Close() })() // ends a read from a pipe; of a terminal a line ends it
	}
	in := bufio.NewScanner(p.stdin)
	in.Buffer(nil, uplink.MaxMessage) // of a line that is hardly shorter, Send says so
	line := 1
	for ; in.Scan() && ctx.Err() == nil; line++ {
		if l.Text = in.Bytes(); bytes.IndexByte(l.Text, 0) >= 0 {
			return fmt.Errorf("line %d holds a NUL byte: only text is sent", line)
		}
		if err := c.Send(ctx, l.Encode()); err != nil {
			return fmt.Errorf("line %d: %w", line, err)
		}
	}
	if ctx.Err() != nil || in.Err() == nil {
		return nil
	}
	return fmt.Errorf("line %d: %w (a message holds at most %d bytes)", line, in.Err(), uplink.MaxMessage)
}

// makeMessages sends messages made here until they are enough or ctx ends.
func (p *program) makeMessages(ctx context.Context, c *client.Conn, m load.Message, o *sendOptions) error {
	pub, err := c.Publisher(m)
	if err != nil {
		return err
	}
	s := load.NewSender(pub, m.Size)
	if o.count > 0 {
		s.Last(uint64(o.count))
	}
	ended := make(chan struct{})
	defer close(ended)
	defer context.AfterFunc(ctx, func() {
		select {
		case <-ended:
		case <-time.After(time.Second): // it waits for the node, and does not look at ctx
			c.Abort()
		}
	})()
	begun := load.Now()
	if err := s.Run(ctx, load.Case{Rate: o.rate}, 0, 1); err != nil {
		return err
	}
	sent, seconds := float64(s.Sent()), float64(load.Now()-begun)/1e9
	fmt.Fprintf(p.stderr, "sent %s messages of %s in %.3gs: %s", result.Format(sent, result.Count), load.SizeText(m.Size), seconds,
		result.Format(sent/seconds, result.PerSecond))
	if o.rate > 0 {
		fmt.Fprintf(p.stderr, ", %s late (p99)", result.Format(float64(s.Lag().Quantile(99)), result.Nanoseconds))
	}
	_, err = io.WriteString(p.stderr, "\n")
	return err
}
