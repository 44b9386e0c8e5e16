//go:build interop

package interop

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/session/rpc"
)

// The service of slim-peer and of peers/rpc.py and rpc.mjs, which ours has, too.
var (
	rpcUnary = rpc.Method{Service: "judge.Echo", Name: "Unary"}
	rpcEmpty = rpc.Method{Service: "judge.Echo", Name: "Empty"}
	rpcFail  = rpc.Method{Service: "judge.Echo", Name: "Fail"}
	rpcSlow  = rpc.Method{Service: "judge.Echo", Name: "Slow"}
	rpcWho   = rpc.Method{Service: "judge.Echo", Name: "Who"}
	rpcDown  = rpc.Method{Service: "judge.Echo", Name: "Down", ServerStreams: true}
	rpcUp    = rpc.Method{Service: "judge.Echo", Name: "Up", ClientStreams: true}
	rpcBidi  = rpc.Method{Service: "judge.Echo", Name: "Bidi", ClientStreams: true, ServerStreams: true}
)

// rpcPython and rpcNode are the bindings with calls.
var (
	rpcPython = withScript(python, "peers/rpc.py")
	rpcNode   = withScript(javascript, "peers/rpc.mjs")
)

// withScript is a language with another program.
func withScript(l language, script string) language {
	start := l.start
	l.start = func(dir string) (argv, env []string) {
		argv, env = start(dir)
		return append(argv[:len(argv)-1], script), env
	}
	return l
}

func rawOf(text string) *rpc.Raw {
	r := rpc.Raw(text)
	return &r
}

// serveCalls starts a server of ours; told, unless it is nil, gets what it knows of each call of Who.
func (n *node) serveCalls(t *testing.T, name string, told chan<- *rpc.Info) *rpc.Server {
	t.Helper()
	s := rpc.NewServer(n.connect(t, name), rpc.ServerOptions{})
	rpc.HandleUnary(s, rpcUnary, func(_ context.Context, req *rpc.Raw) (*rpc.Raw, error) { return rawOf("echo:" + string(*req)), nil })
	rpc.HandleUnary(s, rpcEmpty, func(context.Context, *rpc.Raw) (*rpc.Raw, error) { return new(rpc.Raw), nil })
	rpc.HandleUnary(s, rpcFail, func(_ context.Context, req *rpc.Raw) (*rpc.Raw, error) {
		code, err := strconv.Atoi(string(*req))
		if err != nil {
			code = int(rpc.NotFound)
		}
		return nil, rpc.NewError(rpc.Code(code), "no such thing")
	})
	rpc.HandleUnary(s, rpcSlow, func(ctx context.Context, _ *rpc.Raw) (*rpc.Raw, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	rpc.HandleUnary(s, rpcWho, func(ctx context.Context, _ *rpc.Raw) (*rpc.Raw, error) {
		i := rpc.InfoOf(ctx)
		if told != nil {
			told <- i
		}
		text, err := json.Marshal(map[string]any{"metadata": i.Metadata, "subject": i.Caller.Subject})
		return rawOf(string(text)), err
	})
	rpc.HandleServerStream(s, rpcDown, func(_ context.Context, req *rpc.Raw, out *rpc.Sender[rpc.Raw]) error {
		n, _ := strconv.Atoi(string(*req))
		for i := range n {
			if err := out.Send(rawOf(fmt.Sprint("item ", i))); err != nil {
				return err
			}
		}
		return nil
	})
	rpc.HandleClientStream(s, rpcUp, func(_ context.Context, in *rpc.Receiver[rpc.Raw]) (*rpc.Raw, error) {
		items, size := 0, 0
		for req, err := range in.All() {
			if err != nil {
				return nil, err
			}
			items, size = items+1, size+len(*req)
		}
		return rawOf(fmt.Sprintf("%d items %d bytes", items, size)), nil
	})
	rpc.HandleBidi(s, rpcBidi, func(_ context.Context, b *rpc.BidiStream[rpc.Raw, rpc.Raw]) error {
		for req, err := range b.All() {
			if err != nil {
				return err
			}
			if err := b.Send(rawOf("echo:" + string(*req))); err != nil {
				return err
			}
		}
		return nil
	})
	done := make(chan error, 1)
	go func() { done <- s.Serve(context.Background()) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-done; err != nil {
			t.Errorf("%s: %v", name, err)
		}
	})
	return s
}

// rpcAsk is what a caller is asked to do: one call, or several of the same, by one session.
type rpcAsk struct {
	method   rpc.Method
	requests []string
	size     int      // of the request in place of its text, in bytes; 0: the text counts
	to       []string // one server, or with group a number of them
	group    bool
	calls    int // some at a time; 0: one
	timeout  time.Duration
	giveUp   bool // soon, and then call Unary with "after"
	metadata map[string]string
}

// rpcOutcome is what has come of that.
type rpcOutcome struct {
	texts  []string // of the replies to the last call, in order; in a group after names; with a size: how many bytes
	failed int      // calls
	code   string   // of a call that has failed
}

// rpcCaller makes calls.
type rpcCaller interface {
	call(t *testing.T, a rpcAsk) rpcOutcome
}

// rpcPlaces is how many calls of an rpcAsk go on at a time.
const rpcPlaces = 4

// kind is what scripts and slim-peer call the shape.
func (a *rpcAsk) kind() string {
	switch {
	case a.method.ClientStreams && a.method.ServerStreams:
		return "bidi"
	case a.method.ClientStreams:
		return "client-stream"
	case a.method.ServerStreams:
		return "server-stream"
	}
	return "unary"
}

// goCaller calls by package rpc.
type goCaller struct {
	app   *session.App
	plain bool
}

func (g goCaller) call(t *testing.T, a rpcAsk) rpcOutcome {
	ctx, cancel := context.WithTimeout(t.Context(), 2*limit)
	defer cancel()
	var names []session.Name
	for _, n := range a.to {
		names = append(names, session.MustName(n))
	}
	o := rpc.CallOptions{Session: session.SessionOptions{Plain: g.plain}}
	var c interface {
		rpc.Caller
		Close(ctx context.Context) error
	} = rpc.NewClient(g.app, names[0], o)
	if a.group {
		c = rpc.NewGroup(g.app, names, rpc.GroupOptions{CallOptions: o, Invite: 10 * time.Second})
	}
	defer func() {
		if err := c.Close(ctx); err != nil {
			t.Error(err)
		}
	}()
	var mu sync.Mutex
	var r rpcOutcome
	var all sync.WaitGroup
	places := make(chan struct{}, rpcPlaces)
	for range max(a.calls, 1) {
		places <- struct{}{}
		all.Go(func() {
			texts, err := a.byGo(ctx, c)
			<-places
			mu.Lock()
			defer mu.Unlock()
			if r.texts = texts; err != nil {
				r.failed, r.code = r.failed+1, rpc.CodeOf(err).String()
				if a.calls > 0 {
					t.Logf("%v: %v", a.method, err)
				}
			}
		})
	}
	all.Wait()
	if a.giveUp {
		a.method, a.requests, a.giveUp = rpcUnary, []string{"after"}, false
		texts, err := a.byGo(ctx, c)
		if err != nil {
			t.Errorf("a call after one that was given up: %v", err)
		}
		r.texts = texts
	}
	return r
}

// byGo is one call.
func (a rpcAsk) byGo(ctx context.Context, c rpc.Caller) ([]string, error) {
	if a.size > 0 {
		a.requests = []string{strings.Repeat("x", a.size)}
	}
	ctx, cancel := context.WithTimeout(rpc.WithMetadata(ctx, a.metadata), cmp.Or(a.timeout, 2*limit))
	defer cancel()
	if a.giveUp {
		time.AfterFunc(200*time.Millisecond, cancel)
	}
	texts, err := rpcTexts(ctx, c, a.method, a.requests...)
	for i := range texts {
		if a.size > 0 {
			texts[i] = fmt.Sprint(len(texts[i]), " bytes")
		}
	}
	return texts, err
}

// rpcTexts makes one call of a shape and returns the texts of its replies, in a group after the names of the members, in their order.
func rpcTexts(ctx context.Context, c rpc.Caller, m rpc.Method, requests ...string) (texts []string, err error) {
	s, err := c.NewStream(ctx, m)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	for _, text := range requests {
		if err := s.Send(rawOf(text)); err == io.EOF {
			break
		} else if err != nil {
			return nil, err
		}
	}
	if err := s.CloseSend(); err != nil {
		return nil, err
	}
	_, group := c.(*rpc.Group)
	for {
		var res rpc.Raw
		switch err := s.Receive(&res); {
		case err == io.EOF:
			slices.Sort(texts)
			return texts, nil
		case err != nil:
			return texts, err
		}
		text := string(res)
		if group {
			text = s.Peer().Name.String() + " " + text
		}
		texts = append(texts, text)
	}
}

// rpcScript calls by a program of a language.
type rpcScript struct {
	app    *app
	places int // calls that go on at a time
}

func (s rpcScript) call(t *testing.T, a rpcAsk) rpcOutcome {
	command := event{"call": a.kind(), "to": a.to, "group": a.group, "method": a.method.Name, "payloads": a.requests, "repeat": max(a.calls, 1),
		"parallel": s.places}
	if a.size > 0 {
		command["size"] = a.size
	}
	if a.timeout > 0 {
		command["timeout"] = a.timeout.Seconds()
	}
	if a.giveUp {
		command["cancel"] = 0.2
	}
	if a.metadata != nil {
		command["metadata"] = a.metadata
	}
	r := s.app.try(t, command)
	o := rpcOutcome{failed: r.number("failed"), code: r.text("code")}
	items, _ := r["texts"].([]any)
	for _, x := range items {
		o.texts = append(o.texts, fmt.Sprint(x))
	}
	slices.Sort(o.texts)
	return o
}

// rustCaller calls by slim-peer, a process for each rpcAsk.
type rustCaller struct {
	node *node
	name string
}

func (r rustCaller) call(t *testing.T, a rpcAsk) rpcOutcome {
	if a.giveUp { // no more can be done from outside than to kill it
		p := r.node.opened(t, "rpc-call", r.name, "--to", a.to[0], "--method", a.method.Name, "--payload", a.requests[0])
		p.expect(t, "ready")
		time.Sleep(500 * time.Millisecond) // in which the call has probably begun: nothing says so
		p.kill()
		o := r.call(t, rpcAsk{method: rpcUnary, requests: []string{"after"}, to: a.to})
		o.failed, o.code = o.failed+1, rpc.Canceled.String()
		return o
	}
	places := min(max(a.calls, 1), rpcPlaces)
	args := []string{
		"--kind", a.kind(), "--method", a.method.Name, "--repeat", strconv.Itoa(max(a.calls, 1) / places), "--parallel", strconv.Itoa(places),
	}
	for _, n := range a.to {
		args = append(args, "--to", n)
	}
	if a.group {
		args = append(args, "--group")
	}
	for _, text := range a.requests {
		args = append(args, "--payload", text)
	}
	if len(a.requests) == 0 {
		args = append(args, "--count", "0")
	}
	if a.size > 0 {
		args = append(args, "--size", strconv.Itoa(a.size))
	}
	if a.timeout > 0 {
		args = append(args, "--timeout", fmt.Sprint(a.timeout.Seconds()))
	}
	for k, v := range a.metadata {
		args = append(args, "--meta", k+"="+v)
	}
	p := r.node.opened(t, "rpc-call", r.name, args...)
	summary := p.take(4*limit, isKind("summary"))
	if summary == nil {
		t.Fatalf("%s: no summary", p.label)
	}
	p.exit(t, limit)
	o := rpcOutcome{failed: summary.number("failed")}
	for e := p.take(0, isKind("response")); e != nil; e = p.take(0, isKind("response")) {
		text := e.text("text")
		if a.size > 0 {
			text = fmt.Sprint(e.number("size"), " bytes")
		}
		if a.group {
			text = e.text("from") + " " + text
		}
		o.texts = append(o.texts, text)
	}
	if e := p.take(0, isKind("error")); e != nil {
		o.code = e.text("code")
	}
	slices.Sort(o.texts)
	// Those of all calls, which are alike: of each so many as there are calls.
	var once []string
	for i := 0; i < len(o.texts); i += max(a.calls, 1) {
		once = append(once, o.texts[i])
	}
	if o.failed == 0 && !slices.Equal(slices.Sorted(slices.Values(slices.Repeat(once, max(a.calls, 1)))), o.texts) {
		return o // which says what is wrong
	}
	o.texts = once
	return o
}

func isKind(name string) func(event) bool { return func(e event) bool { return e.kind() == name } }
