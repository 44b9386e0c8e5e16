package rpc_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/session/rpc"
	"github.com/seed31b3bfd0/slimgo/session/sessiontest"
)

// setting reads a number from the environment.
func setting(t *testing.T, name string, otherwise uint64) uint64 {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// In networks that lose, double and reorder messages, are cut, and whose servers are killed and started anew:
//
//   - no call takes longer than its deadline says;
//   - no call is served twice;
//   - what a call that has not failed has got is right and whole;
//   - nothing is left of calls, and when the network is whole again all members can be called.
//
// SLIMGO_TEST_NETWORKS is how many there are, and SLIMGO_TEST_SEED the first.
func TestRandomNetworks(t *testing.T) {
	first := setting(t, "SLIMGO_TEST_SEED", 0)
	for seed := first; seed < first+setting(t, "SLIMGO_TEST_NETWORKS", 4); seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { newStorm(t, seed).run() })
		})
	}
}

// storm is what a few servers and their callers go through.
type storm struct {
	t       *testing.T
	net     *sessiontest.Net
	r       *rand.Rand
	servers []string
	caller  *session.App
	clients []*rpc.Client
	group   *rpc.Group
	calls   sync.WaitGroup

	mu      sync.Mutex
	served  map[string]int // guarded by mu: by request and server
	running []*rpc.Server  // guarded by mu: by server
	apps    []*session.App // guarded by mu: by server
	good    int            // guarded by mu: calls that have not failed
}

func newStorm(t *testing.T, seed uint64) *storm {
	w := &storm{
		t: t, r: rand.New(rand.NewPCG(seed, 16)), served: map[string]int{},
		net: sessiontest.New(t, sessiontest.Options{Seed: seed, Loss: 0.05, Duplicate: 0.03, Reorder: 0.1, Jitter: 5 * time.Millisecond}),
	}
	o := rpc.CallOptions{Session: session.SessionOptions{Plain: seed%2 == 0, Interval: 300 * time.Millisecond, Retries: 12}}
	w.caller = w.net.App("org/ns/client")
	var names []session.Name
	for i := range 3 {
		name := fmt.Sprint("org/ns/s", i)
		w.servers = append(w.servers, name)
		w.running, w.apps = append(w.running, nil), append(w.apps, nil)
		w.start(i)
		names = append(names, session.MustName(name))
		w.clients = append(w.clients, rpc.NewClient(w.caller, names[i], o))
	}
	w.group = rpc.NewGroup(w.caller, names, rpc.GroupOptions{CallOptions: o, Retry: time.Second})
	return w
}

// start starts a server of all shapes, which count what they serve.
func (w *storm) start(i int) {
	app := w.net.App(w.servers[i])
	s := rpc.NewServer(app, rpc.ServerOptions{})
	count := func(req string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.served[req+" by "+w.servers[i]]++
	}
	rpc.HandleUnary(s, unary, func(_ context.Context, req *rpc.Raw) (*rpc.Raw, error) {
		count(string(*req))
		return raw("echo:" + string(*req)), nil
	})
	rpc.HandleServerStream(s, down, func(_ context.Context, req *rpc.Raw, out *rpc.Sender[rpc.Raw]) error {
		count(string(*req))
		for n := range 10 {
			if err := out.Send(raw(fmt.Sprint(n))); err != nil {
				return err
			}
		}
		return nil
	})
	rpc.HandleClientStream(s, up, func(_ context.Context, in *rpc.Receiver[rpc.Raw]) (*rpc.Raw, error) {
		n, text := 0, ""
		for req, err := range in.All() {
			if err != nil {
				return nil, err
			}
			text = string(*req)
			n++
		}
		count(text)
		return raw(fmt.Sprint(n)), nil
	})
	w.mu.Lock()
	w.running[i], w.apps[i] = s, app
	w.mu.Unlock()
	go func() { _ = s.Serve(context.Background()) }()
}

func (w *storm) run() {
	for n := range 60 {
		time.Sleep(time.Duration(w.r.IntN(1500)) * time.Millisecond)
		w.call(n)
		if w.r.IntN(8) == 0 {
			w.happen()
		}
	}
	w.calls.Wait()
	w.net.Heal()
	w.net.SetLoss(0, 0, 0)
	time.Sleep(3 * time.Minute)
	for i, c := range w.clients {
		if _, err := call(w.t.Context(), c, unary, fmt.Sprint("last ", i)); err != nil {
			w.t.Errorf("a call of %s when all is well again: %v", w.servers[i], err)
		}
	}
	for r, err := range rpc.Ask[rpc.Raw, rpc.Raw](w.t.Context(), w.group, unary, raw("last")) {
		if err != nil {
			w.t.Errorf("a call of the group when all is well again: %v: %v", r.From.Name, err)
		}
	}
	for what, n := range w.served {
		if n != 1 {
			w.t.Errorf("%q was served %d times", what, n)
		}
	}
	if w.good == 0 {
		w.t.Error("no call has gone well")
	}
	w.end()
}

// end closes all, and finds nothing that is left: no calls with what has come for them before that, no sessions and no goroutines after it.
func (w *storm) end() {
	for i, c := range w.clients {
		if n, m := c.Left(), w.running[i].Left(); n+m > 0 {
			w.t.Errorf("%d calls of %s are left at the caller, and %d at the server", n, w.servers[i], m)
		}
	}
	if n := w.group.Left(); n > 0 {
		w.t.Errorf("%d calls of the group are left", n)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	for _, c := range w.clients {
		if err := c.Close(ctx); err != nil {
			w.t.Errorf("Close: %v", err)
		}
	}
	if err := w.group.Close(ctx); err != nil {
		w.t.Errorf("Close of the group: %v", err)
	}
	for _, s := range w.running {
		s.Stop()
	}
	time.Sleep(time.Minute) // for which sessions that are over answer members that have not heard of that
	for _, app := range append([]*session.App{w.caller}, w.apps...) {
		if list := app.Sessions(); len(list) > 0 || app.Stats().Sessions > 0 {
			w.t.Errorf("%v has %d sessions, and %d with those that are over", app.Name(), len(list), app.Stats().Sessions)
		}
	}
	synctest.Wait()
	for _, stack := range bubble() {
		if strings.Contains(stack, "/session/rpc.") {
			w.t.Errorf("a goroutine is left:\n%s", stack)
		}
	}
}

// bubble returns the stacks of all goroutines of the synctest bubble that this one is in, but for its own.
func bubble() (stacks []string) {
	all := make([]byte, 1<<20)
	for n := runtime.Stack(all, true); n == len(all); n = runtime.Stack(all, true) {
		all = make([]byte, 2*len(all))
	}
	list := strings.Split(string(bytes.TrimRight(all, "\x00")), "\n\n") // its own is the first
	head, _, _ := strings.Cut(list[0], "\n")
	_, name, ok := strings.Cut(head, "synctest bubble ")
	if !ok {
		panic("no bubble: " + head)
	}
	number, _, _ := strings.Cut(strings.TrimRight(name, ":]"), ",")
	for _, stack := range list[1:] {
		head, _, _ := strings.Cut(stack, "\n")
		_, name, _ := strings.Cut(head, "synctest bubble ")
		if other, _, _ := strings.Cut(strings.TrimRight(name, ":]"), ","); other == number {
			stacks = append(stacks, stack)
		}
	}
	return stacks
}

// happen has something happen to a server.
func (w *storm) happen() {
	i := w.r.IntN(len(w.servers))
	switch w.r.IntN(3) {
	case 0:
		w.net.Partition(w.servers[i])
		time.AfterFunc(time.Duration(1+w.r.IntN(60))*time.Second, w.net.Heal)
	case 1:
		w.net.Crash(w.servers[i])
		w.start(i)
	case 2:
		w.mu.Lock()
		s := w.running[i]
		w.mu.Unlock()
		s.Stop()
		go func() { _ = s.Serve(context.Background()) }()
	}
}

// call makes a call of one shape, of one server or of all, that has some time.
func (w *storm) call(n int) {
	c, shape, timeout := w.clients[w.r.IntN(3)], w.r.IntN(4), time.Duration(1+w.r.IntN(60))*time.Second
	w.calls.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		began := time.Now()
		err := w.shape(ctx, c, shape, fmt.Sprint("call ", n))
		if took := time.Since(began); took > timeout+time.Millisecond {
			w.t.Errorf("call %d took %v, and had %v", n, took, timeout)
		}
		var e *rpc.Error
		switch {
		case err == nil:
			w.mu.Lock()
			w.good++
			w.mu.Unlock()
		case !errors.As(err, &e):
			w.t.Errorf("call %d: %v", n, err)
		case e.Code != rpc.Unavailable && e.Code != rpc.DeadlineExceeded && e.Code != rpc.Canceled:
			w.t.Errorf("call %d: %v", n, err)
		}
	})
}

func (w *storm) shape(ctx context.Context, c *rpc.Client, shape int, text string) error {
	switch shape {
	case 0:
		got, err := call(ctx, c, unary, text)
		if err == nil && got != "echo:"+text {
			return errors.New("wrong reply: " + got)
		}
		return err
	case 1:
		r, err := rpc.CallServerStream[rpc.Raw, rpc.Raw](ctx, c, down, raw(text))
		if err != nil {
			return err
		}
		for n := 0; ; n++ {
			res, err := r.Receive()
			switch {
			case err == io.EOF && n == 10:
				return nil
			case err == io.EOF:
				return fmt.Errorf("%d replies, and no error", n)
			case err != nil:
				return err
			case string(*res) != fmt.Sprint(n):
				return fmt.Errorf("reply %d: %s", n, *res)
			}
		}
	case 2:
		return upload(ctx, c, text)
	}
	heard := map[string]bool{}
	for r, err := range rpc.Ask[rpc.Raw, rpc.Raw](ctx, w.group, unary, raw("group "+text)) {
		if r.From.Name.IsZero() {
			return err
		}
		if name := r.From.Name.String(); heard[name] {
			return fmt.Errorf("%s has answered twice", name)
		} else {
			heard[name] = true
		}
	}
	if len(heard) != len(w.servers) {
		return fmt.Errorf("%d members were heard of: %v", len(heard), heard)
	}
	return nil
}

func upload(ctx context.Context, c *rpc.Client, text string) error {
	u, err := rpc.CallClientStream[rpc.Raw, rpc.Raw](ctx, c, up)
	if err != nil {
		return err
	}
	defer u.Close()
	for range 5 {
		if err := u.Send(raw(text)); err != nil && err != io.EOF {
			return err
		}
	}
	res, err := u.CloseAndReceive()
	if err == nil && string(*res) != "5" {
		return fmt.Errorf("%s requests have come of 5, and no error", *res)
	}
	return err
}
