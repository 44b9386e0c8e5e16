package nats

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/seed31b3bfd0/slimgo/bench/load"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPayloadSizeIsTheLastField(t *testing.T) {
	for _, c := range []struct {
		line string
		want int
		ok   bool
	}{
		{"MSG a.b 1 100\r\n", 100, true},
		{"MSG a.b 1 reply 0\r\n", 0, true},
		{"MSG a.b 12 1048576\r\n", 1048576, true},
		{"MSG a.b 1 \r\n", 0, false},
		{"MSG a.b 1 1x\r\n", 0, false},
		{"MSG a.b 1 99999999999999999999\r\n", 0, false},
		{"\r\n", 0, false},
		{"", 0, false},
	} {
		if got, ok := payloadSize([]byte(c.line)); ok != c.ok || got != c.want && ok {
			t.Errorf("%q: got %d %v, want %d %v", c.line, got, ok, c.want, c.ok)
		}
	}
}

func TestDialGivesUpOnWhatIsNoServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts, and nobody answers
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if _, err := (Dialer{}).Dial(ctx, l.Addr().String(), load.DialOptions{}); err == nil ||
		!strings.Contains(err.Error(), "nats "+l.Addr().String()+": no PONG came back: is this a NATS server") {
		t.Errorf("got %v", err)
	}
}

// server answers as a NATS server does for exact subjects.
type server struct {
	l    net.Listener
	done sync.WaitGroup
	mu   sync.Mutex
	subs map[string][]func(payload []byte)
}

func serve(t *testing.T) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{l: l, subs: map[string][]func([]byte){}}
	s.done.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			s.done.Go(func() { s.handle(nc) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		s.done.Wait()
	})
	return s
}

func (s *server) handle(nc net.Conn) {
	defer nc.Close()
	var mu sync.Mutex
	write := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(nc, format, args...)
	}
	write("INFO {}\r\nPING\r\n")
	r := bufio.NewReader(nc)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		f := strings.Fields(line)
		switch f[0] {
		case "PING":
			write("PONG\r\n")
		case "SUB":
			s.mu.Lock()
			s.subs[f[1]] = append(s.subs[f[1]], func(b []byte) { write("MSG %s %s %d\r\n%s\r\n", f[1], f[2], len(b), b) })
			s.mu.Unlock()
		case "PUB":
			var n int
			fmt.Sscan(f[2], &n)
			b := make([]byte, n+2)
			if _, err := io.ReadFull(r, b); err != nil {
				return
			}
			s.mu.Lock()
			for _, deliver := range s.subs[f[1]] {
				deliver(b[:n])
			}
			s.mu.Unlock()
		case "BOOM":
			write("-ERR 'boom'\r\n")
		}
	}
}

func dial(t *testing.T, s *server, o load.DialOptions) *Conn {
	t.Helper()
	c, err := Dialer{}.Dial(t.Context(), s.l.Addr().String(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Close()
		<-c.(*Conn).over.Done()
	})
	return c.(*Conn)
}

type counted struct {
	*load.Receiver
	want uint64
	all  chan struct{}
}

func (c *counted) Flush() {
	c.Receiver.Flush()
	if n := c.Arrivals().Messages; n == c.want {
		close(c.all)
	}
}

func TestPublishedMessagesArrive(t *testing.T) {
	for _, size := range []int{load.StampSize, 100, 70 << 10, 400 << 10} {
		s := serve(t)
		sink := &counted{Receiver: load.NewReceiver(0, 1, 1), want: 120, all: make(chan struct{})}
		receiver, sender := dial(t, s, load.DialOptions{Sink: sink}), dial(t, s, load.DialOptions{})
		to := load.Address{Parts: [3]string{"a", "b", "c"}, ID: 3}
		if n, err := receiver.Subscribe(t.Context(), 1, 0, func(int) load.Address { return to }); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		pub, err := sender.Publisher(load.Message{To: []load.Address{to}, Size: size})
		if err != nil {
			t.Fatal(err)
		}
		for i := range uint64(12) {
			if err := pub.Send(i*10, 10, load.Now(), 0); err != nil {
				t.Fatal(err)
			}
		}
		select {
		case <-sink.all:
		case <-receiver.over.Done():
			t.Fatal(receiver.Err())
		}
		if got := sink.From(0).Seen(); got.Next != 120 || got.Missing+got.Duplicates+got.Reordered != 0 {
			t.Errorf("%d bytes: seen %+v", size, got)
		}
	}
}

func TestServerErrorEndsTheConnection(t *testing.T) {
	s := serve(t)
	c := dial(t, s, load.DialOptions{})
	if err := c.write([]byte("BOOM\r\n")); err != nil {
		t.Fatal(err)
	}
	<-c.over.Done()
	if err := c.Err(); err == nil || !strings.Contains(err.Error(), "boom") {
		t.Errorf("got %v", err)
	}
}

// silent is a socket that takes everything.
type silent struct{ net.Conn }

func (silent) Write(b []byte) (int, error) { return len(b), nil }
func (silent) Close() error                { return nil }

// longest is a sink that remembers the longest message.
type longest struct{ n int }

func (l *longest) Begin(int64)      {}
func (l *longest) Deliver(b []byte) { l.n = max(l.n, len(b)) }
func (l *longest) Flush()           {}

func FuzzBatch(f *testing.F) {
	for _, s := range []string{
		"INFO {}\r\nPING\r\nPONG\r\n", "MSG a 1 3\r\nabc\r\n", "MSG a 1 2 0\r\n\r\n", "MSG a 1 99\r\nshort\r\n",
		"-ERR 'x'\r\n", "MSG a 1 5000\r\n", "\n\n\n", "+OK\r\n", "MSG \r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		sink := &longest{}
		c := &Conn{nc: load.NewSocket(silent{}), sink: sink, pongs: make(chan struct{}, 1)}
		r := bufio.NewReaderSize(bytes.NewReader(b), 1024)
		for {
			if _, err := r.Peek(1); err != nil {
				break
			}
			if err := c.batch(r); err != nil {
				break
			}
		}
		if sink.n > len(b) {
			t.Errorf("a message of %d bytes out of %d", sink.n, len(b))
		}
	})
}
