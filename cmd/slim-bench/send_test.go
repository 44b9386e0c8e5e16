package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/result"
	"github.com/seed31b3bfd0/slimgo/internal/faults"
	"github.com/seed31b3bfd0/slimgo/session/uplink"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// receiver runs receive beside a test until it ends by itself, or until a line of its output is "end".
type receiver struct {
	stdout, stderr shared
	there          chan struct{}
	code           chan int
}

func startReceiver(t *testing.T, args ...string) *receiver {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	r := &receiver{there: make(chan struct{}), code: make(chan int, 1)}
	r.stderr.on = func(all string) {
		if strings.Count(all, "\n") == 1 { // the first that it says
			close(r.there)
		}
	}
	r.stdout.on = func(all string) {
		if strings.Contains(all, "end\n") {
			cancel()
		}
	}
	go func() { r.code <- run(ctx, append([]string{"receive"}, args...), nil, &r.stdout, &r.stderr) }()
	return r
}

// send runs send with that standard input.
func send(t *testing.T, stdin string, args ...string) (code int, stderr string) {
	t.Helper()
	var out, err shared
	code = run(t.Context(), append([]string{"send"}, args...), strings.NewReader(stdin), &out, &err)
	return code, err.b.String()
}

// Text in, text out, once and in order: no more than was asked for, and nothing that steers a terminal.
func TestWhatIsSentIsSeen(t *testing.T) {
	addr := node(t)
	r := startReceiver(t, "org/demo/bob", "--count", "3", "--target", addr)
	if code, stderr := send(t, "hi\nthere \x1b[2J\n\none too many\n", "org/demo/bob", "--target", addr); code != exitOK || stderr != "" {
		t.Fatalf("exit %d, %s", code, stderr)
	}
	if code := <-r.code; code != exitOK || r.stdout.b.String() != "hi\nthere \ufffd[2J\n\n" {
		t.Errorf("exit %d, %q, %s", code, r.stdout.b.String(), &r.stderr.b)
	}
}

func TestSendToAllReachesAll(t *testing.T) {
	addr := node(t)
	both := []*receiver{startReceiver(t, "org/demo/all", "--target", addr), startReceiver(t, "org/demo/all", "--target", addr)}
	for _, r := range both {
		<-r.there // of who is not there yet nobody knows
	}
	if code, stderr := send(t, "end\n", "org/demo/all", "--target", addr, "--all"); code != exitOK {
		t.Fatalf("exit %d, %s", code, stderr)
	}
	for i, r := range both {
		if code := <-r.code; code != exitOK || r.stdout.b.String() != "end\n" {
			t.Errorf("receiver %d: exit %d, %s", i, code, &r.stdout.b)
		}
	}
}

// Every fault of a delivery is found, and counted to the message.
func TestReceiveCountsFaults(t *testing.T) {
	const n = 1000
	for _, c := range []struct {
		name string
		fate faults.Fate
		want func(done float64) map[string]float64
	}{
		{"none", faults.Deliver, func(float64) map[string]float64 { return map[string]float64{"messages": n} }},
		{"lost", faults.Drop, func(done float64) map[string]float64 { return map[string]float64{"messages": n - done, "lost": done} }},
		{"twice", faults.Twice, func(done float64) map[string]float64 {
			return map[string]float64{"messages": n + done, "duplicates": done}
		}},
		{"out of order", faults.Swap, func(done float64) map[string]float64 { return map[string]float64{"messages": n, "reordered": done} }},
		{"changed", faults.Change, func(done float64) map[string]float64 { return map[string]float64{"messages": n - done, "lost": done} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			proxy := &faults.Proxy{Fate: faults.Every(97, c.fate)}
			if err := proxy.Start(); err != nil {
				t.Fatal(err)
			}
			defer proxy.Close()
			r := startReceiver(t, "org/demo/bob", "--target", proxy.Addr())
			<-r.there // nobody has to ask, so that faults meet what is counted only
			if code, stderr := send(t, "", "org/demo/bob", "--wait", "0s", "--count", "1000", "--size", "200", "--target", proxy.Addr()); code != exitOK ||
				!strings.Contains(stderr, "sent 1,000 messages of 200 B") {
				t.Fatalf("exit %d, %s", code, stderr)
			}
			if code, stderr := send(t, "end\n", "org/demo/bob", "--wait", "0s", "--target", proxy.Addr()); code != exitOK {
				t.Fatalf("exit %d, %s", code, stderr)
			}
			code, done := <-r.code, proxy.Done(c.fate)
			_, judgement, _ := strings.Cut(r.stdout.b.String(), "end\n")
			want := c.want(float64(done))
			for _, name := range []string{"messages", "lost", "duplicates", "reordered"} {
				if figure := name + " " + result.Format(want[name], result.Count) + ","; !strings.Contains(judgement, figure) {
					t.Errorf("no %q in %s", figure, judgement)
				}
			}
			if wantCode := map[bool]int{true: exitOK, false: exitFailed}[c.fate == faults.Deliver]; code != wantCode || done < 10 {
				t.Errorf("exit %d after %d faults, want %d: %s", code, done, wantCode, &r.stderr.b)
			}
			if told := fmt.Sprintf(", %d came changed\n", done); strings.Contains(judgement, told) != (c.fate == faults.Change) {
				t.Errorf("%d faults, and %s", done, judgement)
			}
			if !regexp.MustCompile(`p50 \S+ .s, .*, max \S+ .*s, `).MatchString(judgement) {
				t.Errorf("no delays in %s", judgement)
			}
		})
	}
}

// What did not come of a number that was asked for is told, as is what the first messages' absence may mean.
func TestReceiveTellsWhatIsAbsent(t *testing.T) {
	var b strings.Builder
	in := &inbox{out: bufio.NewWriter(&b), count: 10, senders: map[uint32]*tally{}}
	in.self.Parts[1] = "this machine's clock"
	in.Begin(1000)
	for _, s := range []load.Stamp{{Seq: 3, Sender: 7}, {Seq: 4, Sender: 7}} {
		in.Deliver(stamped(t, "another's clock", s))
	}
	in.Deliver(stamped(t, "this machine's clock", load.Stamp{Sender: 8, At: 400}))
	err := in.tell()
	_ = in.out.Flush()
	for _, want := range []string{"lost 3, duplicates 0", "number 3 came first", "as the sender reads another machine's clock", "7 of 10 did not come", "max 600 ns"} {
		if err == nil || !strings.Contains(b.String(), want) {
			t.Errorf("%v: no %q in\n%s", err, want, &b)
		}
	}
}

// stamped is a message that a sender made who reads that clock.
func stamped(t *testing.T, clock string, s load.Stamp) []byte {
	t.Helper()
	payload := make([]byte, 64)
	s.Put(payload)
	h := wire.PublishHeader{Source: wire.Text("slim-bench", clock, "send"), Dest: wire.Text("a", "b", "c"), Fanout: 1}
	app := append([]byte{2<<3 | 2, byte(len(payload))}, payload...)
	return wire.AppendPublish(nil, &h, nil, append([]byte{1<<3 | 2, byte(len(app))}, app...))
}

func TestSendSaysWhyNothingWouldCome(t *testing.T) {
	addr := node(t)
	code, stderr := send(t, "hi\n", "org/demo/bob", "--target", addr, "--wait", "50ms")
	if code != exitInvalid || !strings.Contains(stderr, "org/demo/bob at "+addr+": nobody receives") {
		t.Errorf("exit %d, %s", code, stderr)
	}
	if code, stderr := send(t, "hi\n", "org/demo/bob", "--target", addr, "--wait", "0s"); code != exitOK {
		t.Errorf("without asking: exit %d, %s", code, stderr)
	}
}

func TestPairRefusesMistakes(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"send", "send what?"}, {"receive a/b/c d/e/f", "receive what?"}, {"send org/demo", "want three components"}, {"receive org//x", "want three components"},
		{"send a/b/c --size 5", "a message needs 24 bytes"}, {"send a/b/c --rate -1", "want 0 or more"}, {"send a/b/c --target nats://h:1", `no scheme "nats"`},
		{"receive a/b/c --target 127.0.0.1:1", "nobody listens there"}, {"receive a/b/c --count -1", "want 0 or more"}, {"receive a/b/c --idle -1s", "want 0 or more"},
	} {
		if code, _, stderr := slimBench(t, strings.Fields(c.args)...); code != exitInvalid || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: exit %d, %s", c.args, code, stderr)
		}
	}
}

// What is no line of text is refused by its number, before a receiver takes it for a message that came changed.
func TestSendNamesTheLineItCannotSend(t *testing.T) {
	addr := node(t)
	for text, want := range map[string]string{
		"fine\na\x00b\n": "line 2 holds a NUL byte",
		"fine\n\n" + strings.Repeat("x", uplink.MaxMessage+1) + "\n": "line 3: ",
	} {
		code, stderr := send(t, text, "org/demo/bob", "--target", addr, "--wait", "0s")
		if code != exitInvalid || !strings.Contains(stderr, want) {
			t.Errorf("want %s: exit %d, %s", want, code, stderr)
		}
	}
}

// full is an output on which there is no room.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no room") }

// Messages that cannot be printed are not received.
func TestReceiveTellsThatItsOutputIsLost(t *testing.T) {
	addr := node(t)
	code := make(chan int, 1)
	var stderr shared
	go func() {
		code <- run(t.Context(), []string{"receive", "org/demo/bob", "--count", "1", "--target", addr}, nil, full{}, &stderr)
	}()
	if code, stderr := send(t, "hello\n", "org/demo/bob", "--target", addr); code != exitOK {
		t.Fatalf("send: exit %d, %s", code, stderr)
	}
	if code := <-code; code != exitInvalid || !strings.Contains(stderr.b.String(), "no room") {
		t.Errorf("receive: exit %d, %s", code, &stderr.b)
	}
}

// A sender at a rate goes on until it is interrupted, and that is no failure.
func TestSendAtARateUntilInterrupted(t *testing.T) {
	addr := node(t)
	r := startReceiver(t, "org/demo/bob", "--count", "50", "--target", addr)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out, stderr shared
	sent := make(chan int, 1)
	go func() {
		sent <- run(ctx, []string{"send", "org/demo/bob", "--rate", "500", "--target", addr}, nil, &out, &stderr)
	}()
	if code := <-r.code; code != exitOK || !strings.Contains(r.stdout.b.String(), "messages 50, delivered ") {
		t.Errorf("receive: exit %d, %s%s", code, &r.stdout.b, &r.stderr.b)
	}
	cancel()
	if code := <-sent; code != exitOK || !strings.Contains(stderr.b.String(), " late (p99)\n") {
		t.Errorf("send: exit %d, %s", code, &stderr.b)
	}
}

// Ctrl-C ends a sender that its node keeps waiting, which does not look at anything else.
func TestSendThatWaitsForItsNodeIsInterrupted(t *testing.T) {
	t.Parallel()                                         // it waits for most of its time
	proxy := &faults.Proxy{Deaf: true, Window: 64 << 10} // when that is full, the first message is still being written
	if err := proxy.Start(); err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out, stderr shared
	sent := make(chan int, 1)
	go func() {
		sent <- run(ctx, []string{"send", "org/demo/bob", "--size", "1M", "--wait", "0s", "--target", proxy.Addr()}, nil, &out, &stderr)
	}()
	proxy.AwaitFull()
	cancel()
	select {
	case <-sent:
	case <-time.After(time.Minute):
		t.Error("it waits for ever")
	}
}

// A receiver whose sender falls silent ends by itself, and tells what did not come.
func TestReceiveEndsWhenNothingComes(t *testing.T) {
	addr := node(t)
	r := startReceiver(t, "org/demo/bob", "--count", "5", "--idle", "100ms", "--target", addr)
	if code, stderr := send(t, "one\ntwo\n", "org/demo/bob", "--target", addr); code != exitOK {
		t.Fatalf("exit %d, %s", code, stderr)
	}
	if code := <-r.code; code != exitFailed || !strings.Contains(r.stdout.b.String(), "of 5 did not come, 0 came changed\n") {
		t.Errorf("exit %d, %s%s", code, &r.stdout.b, &r.stderr.b)
	}
}

// A node that goes is no fault of the deliveries: what is missing then says nothing.
func TestReceiverWhoseNodeGoesJudgesNothing(t *testing.T) {
	proxy := &faults.Proxy{}
	if err := proxy.Start(); err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	r := startReceiver(t, "org/demo/bob", "--count", "5", "--target", proxy.Addr())
	<-r.there
	if code, stderr := send(t, "one\n", "org/demo/bob", "--target", proxy.Addr()); code != exitOK {
		t.Fatalf("exit %d, %s", code, stderr)
	}
	proxy.Close()
	if code := <-r.code; code != exitInvalid || !strings.Contains(r.stdout.b.String(), "of 5 did not come") {
		t.Errorf("exit %d, %s%s", code, &r.stdout.b, &r.stderr.b)
	}
}
