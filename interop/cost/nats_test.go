//go:build gates

package cost

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/client"
	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/process"
	"github.com/seed31b3bfd0/slimgo/bench/report"
	"github.com/seed31b3bfd0/slimgo/bench/scenario"
)

// TestBesideNATS prints what p2p and fanout cost our node, upstream's, a NATS server and the relay, by turns.
func TestBesideNATS(t *testing.T) {
	server, err := exec.LookPath("nats-server")
	if err != nil {
		t.Fatalf("%v: go install github.com/nats-io/nats-server/v2@latest", err)
	}
	plan := scenario.Plan{Rounds: *rounds}
	for _, n := range []struct {
		name, command string
		dialer        load.Dialer
	}{
		{"slimgo", filepath.Join(scratch, "slim") + " --config {config} --log-level error", client.Dialer{}},
		{"rust", filepath.Join(peers, "slim") + " --config {config}", client.Dialer{}},
		{"nats", server + " -a {host} -p {port}", natsDialer{}},
		{"floor", filepath.Join(scratch, "slim-bench") + " relay --listen {listen}", client.Dialer{Blind: true}},
	} {
		plan.Targets = append(plan.Targets, load.Target{Name: n.name, Command: process.Command{Text: n.command}, Dialer: n.dialer})
	}
	for _, name := range []string{"p2p", "fanout"} {
		s, err := scenario.LoadScenario(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range s.Cases {
			p.Duration, p.Warmup = time.Second, 300*time.Millisecond
			plan.Cases = append(plan.Cases, scenario.Case{Scenario: s, Params: p})
		}
	}
	plan.Progress = func(p scenario.Progress) {
		if p.Done {
			t.Logf("%d/%d %s on %s", p.Step, p.Of, p.Case, p.Node)
		}
	}
	r, err := plan.Run(t.Context())
	if err != nil || !r.Valid {
		t.Errorf("%v; %q", err, r.Reasons())
	}
	for _, c := range r.Cases {
		for k, n := range c.Nodes {
			for _, bad := range []string{"lost", "duplicates", "reordered"} {
				if m, ok := n.Metric(bad); !ok || m.Value != 0 {
					t.Errorf("%s on %s: %s %v, measured %v", c.Label, r.Nodes[k].Name, bad, m.Value, ok)
				}
			}
		}
	}
	if err := report.Forms()[0].Write(os.Stdout, r); err != nil {
		t.Error(err)
	}
}

// natsDialer opens connections to a NATS server, by its text protocol: as light as the client of SLIM, and with the same
// stamps in the same payloads. NATS knows no identities, and a subject reaches all who have subscribed to it.
type natsDialer struct{}

func (natsDialer) Protocol() string { return "nats" }

// natsConn is one connection. Besides its reader and its publisher one goroutine uses it.
type natsConn struct {
	*load.Socket
	sink  load.Sink
	pongs chan struct{} // gets one for each PONG

	writing sync.Mutex

	over context.Context // ends with the connection, by the cause
	end  context.CancelCauseFunc
}

func (natsDialer) Dial(ctx context.Context, addr string, o load.DialOptions) (load.Conn, error) {
	nc, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &natsConn{Socket: load.NewSocket(nc), sink: o.Sink, pongs: make(chan struct{}, 1)}
	c.over, c.end = context.WithCancelCause(context.Background())
	go c.read()
	return c, c.confirmed(ctx, `CONNECT {"verbose":false,"pedantic":false,"name":"slim-bench","lang":"go","version":"1"}`+"\r\n")
}

func (c *natsConn) write(b []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	_, err := c.Write(b)
	return err
}

// confirmed writes lines and waits until the server has worked through them: it confirms nothing by itself, so a PING follows.
func (c *natsConn) confirmed(ctx context.Context, lines string) error {
	if err := c.write([]byte(lines + "PING\r\n")); err != nil {
		return err
	}
	select {
	case <-c.pongs:
		return nil
	case <-c.over.Done():
		return c.Err()
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(patience):
		return errors.New("no PONG")
	}
}

func subject(a load.Address) string {
	return strings.NewReplacer("/", ".", "#", ".").Replace(a.String())
}

func (c *natsConn) Subscribe(ctx context.Context, n, _ int, at func(i int) load.Address) (int, error) {
	lines := ""
	for i := range n {
		lines += fmt.Sprintf("SUB %s %d\r\n", subject(at(i)), i+1)
	}
	return n, c.confirmed(ctx, lines)
}

func (c *natsConn) Unsubscribe(context.Context, int, int, func(int) load.Address) (int, error) {
	return 0, errors.ErrUnsupported
}

func (c *natsConn) Err() error { return context.Cause(c.over) }

func (c *natsConn) Close() error {
	c.end(net.ErrClosed)
	return c.Socket.Close()
}

func (c *natsConn) read() {
	r := bufio.NewReaderSize(c.Socket, 256<<10) // more than the longest message of the cases
	for {
		_, err := r.Peek(1)
		if err == nil {
			err = c.batch(r)
		}
		if err != nil {
			c.end(err)
			_ = c.Socket.Close()
			return
		}
	}
}

// batch works through what one read has brought, and what it takes to complete the last message.
func (c *natsConn) batch(r *bufio.Reader) error {
	if c.sink != nil {
		c.sink.Begin(c.ReadAt)
		defer c.sink.Flush()
	}
	for r.Buffered() > 0 {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		word, _, _ := bytes.Cut(bytes.TrimRight(line, "\r\n"), []byte(" "))
		switch string(word) {
		case "MSG":
			n, err := strconv.Atoi(string(bytes.TrimSpace(line[bytes.LastIndexByte(line, ' ')+1:])))
			if err != nil {
				return fmt.Errorf("nats: odd line %q", line)
			}
			if err := c.message(r, n); err != nil {
				return err
			}
		case "PING":
			err = c.write([]byte("PONG\r\n"))
		case "PONG":
			c.pongs <- struct{}{}
		case "-ERR":
			err = errors.New("nats server: " + string(line))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// message takes one of n bytes. While its rest is awaited, the receiver may be read out.
func (c *natsConn) message(r *bufio.Reader, n int) error {
	late := c.sink != nil && r.Buffered() < n+len("\r\n")
	if late {
		c.sink.Flush()
	}
	msg, err := r.Peek(n + len("\r\n"))
	if late {
		c.sink.Begin(c.ReadAt)
	}
	if err == nil && c.sink != nil {
		c.sink.Deliver(msg[:n])
	}
	_, _ = r.Discard(len(msg)) // it is buffered
	return err
}

// natsPublisher sends copies of one encoded PUB, each with its stamp.
type natsPublisher struct {
	*natsConn
	m        load.Message
	one, out []byte
}

func (c *natsConn) Publisher(m load.Message) (load.Publisher, error) {
	one := fmt.Appendf(nil, "PUB %s %d\r\n%s\r\n", subject(m.To[0]), m.Size, make([]byte, m.Size))
	return &natsPublisher{natsConn: c, m: m, one: one}, nil
}

func (p *natsPublisher) Send(first uint64, n int, at, step int64) error {
	p.out = p.out[:0]
	for i := range n {
		p.out = append(p.out, p.one...)
		load.Stamp{Seq: first + uint64(i), At: at + int64(i)*step, Sender: p.m.Sender}.PutEnd(p.out[:len(p.out)-len("\r\n")], p.m.Size)
	}
	return p.write(p.out)
}
