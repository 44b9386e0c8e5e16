//go:build interop

package interop

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/session/sqlite"
)

// An application of ours in a process of its own, so that it can be killed: this test program, started anew with these variables.
const (
	goAppName  = "SLIMGO_APP_NAME"
	goAppNode  = "SLIMGO_APP_NODE"
	goAppStore = "SLIMGO_APP_STORE"
)

func init() {
	if name := os.Getenv(goAppName); name != "" {
		if err := runGoApp(name, os.Getenv(goAppNode), os.Getenv(goAppStore)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
}

// goApp starts one, which keeps its sessions in this file. Its commands and events are those of slim-peer.
func (n *node) goApp(t *testing.T, name, file string) *app {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	env := []string{goAppName + "=" + name, goAppNode + "=" + n.url(), goAppStore + "=" + file}
	return ready(t, name, spawn(t, "our "+name+" at "+n.label, env, program))
}

// goAppRun is the application in its process.
type goAppRun struct {
	app *session.App

	mu sync.Mutex
	s  *session.Session
}

func runGoApp(name, node, file string) error {
	ctx := context.Background()
	db, err := sqlite.Open(file, nil)
	if err != nil {
		return err
	}
	defer db.Close()
	r := &goAppRun{}
	r.app, err = session.Connect(ctx, session.Options{
		Name: session.MustName(name), Secret: []byte(slimPeerSecret), Nodes: []string{node}, Binding: session.Enforce,
		Store: db, StoreKey: bytes.Repeat([]byte{1}, session.StoreKeySize),
	})
	if err != nil {
		return err
	}
	l, err := r.app.Listen(session.ListenOptions{})
	if err != nil {
		return err
	}
	r.emit(event{"event": "ready", "id": r.app.Name().ID()})
	for _, s := range r.app.Sessions() {
		if s.IsModerator() {
			r.has(s)
		}
	}
	go func() {
		for s := range l.Sessions(ctx) {
			r.has(s)
		}
	}()
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var command event
		if err := json.Unmarshal(in.Bytes(), &command); err != nil {
			return err
		}
		err := r.do(ctx, command)
		result := event{"event": "result", "tag": command["tag"], "ok": err == nil}
		if err != nil {
			result["error"] = err.Error()
		}
		r.emit(result)
	}
	return in.Err()
}

func (r *goAppRun) emit(e event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = json.NewEncoder(os.Stdout).Encode(e)
}

func (r *goAppRun) has(s *session.Session) {
	r.mu.Lock()
	r.s = s
	r.mu.Unlock()
	r.emit(event{"event": "session", "id": s.ID(), "members": len(s.Participants())})
	go func() {
		for m, err := range s.Messages(context.Background()) {
			if err != nil {
				break
			}
			r.emit(event{"event": "message", "text": string(m.Data)})
		}
		r.emit(event{"event": "left"})
	}()
}

func (r *goAppRun) do(ctx context.Context, c event) error {
	if channel := c.text("group"); channel != "" {
		s, err := r.app.OpenGroup(ctx, session.MustName(channel), session.SessionOptions{Plain: !c.flag("mls")})
		if err == nil {
			r.has(s)
		}
		return err
	}
	r.mu.Lock()
	s := r.s
	r.mu.Unlock()
	switch {
	case s == nil:
		return errors.New("there is no session")
	case c.text("invite") != "":
		return s.Invite(ctx, session.MustName(c.text("invite")))
	case c.text("remove") != "":
		return s.Remove(ctx, session.MustName(c.text("remove")))
	case c.flag("close"):
		return s.Close(ctx)
	}
	var all []*session.Delivery
	for _, text := range series(c.text("publish"), c.number("count")) {
		d, err := s.Publish(ctx, session.Text(text))
		if err != nil {
			return err
		}
		all = append(all, d)
	}
	for _, d := range all {
		if err := d.Wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

// inReliableShapes runs a scenario on both nodes in reliable sessions, encrypted and plain.
func inReliableShapes(t *testing.T, scenario func(t *testing.T, n *node, s shape)) {
	onBoth(t, func(t *testing.T, k kind) {
		n := startNode(t, k)
		for _, s := range shapes[:2] {
			t.Run(s.String(), func(t *testing.T) { scenario(t, n, s) })
		}
	})
}

// An application of ours is killed in a group that one of upstream's leads, and started again. What was said meanwhile comes, and it
// goes on under the same id, without an invitation.
func TestGoIsKilledInAGroup(t *testing.T) {
	t.Parallel()
	inReliableShapes(t, func(t *testing.T, n *node, s shape) {
		file := filepath.Join(t.TempDir(), "app.db")
		x, b := n.member(t, "org/ns/x"), n.goApp(t, "org/ns/b", file)
		m := n.app(t, "moderate", "org/ns/moderator", append([]string{"--channel", channel, "--interval-ms", "5000", "--retries", "12", "--timeout", "90"}, s.flags()...)...)
		m.invite(t, x, b)
		m.do(t, event{"publish": "first", "count": 100, "inflight": 16})
		b.receives(t, series("first", 100)...)
		b.do(t, event{"publish": "of b", "count": 20})
		m.receives(t, series("of b", 20)...)
		b.kill()
		meanwhile := make(chan event, 1)
		go func() { meanwhile <- m.try(t, event{"publish": "meanwhile", "count": 5, "inflight": 5}) }()
		again := n.goApp(t, "org/ns/b", file)
		if again.id != b.id {
			t.Errorf("its id was %s and is %s", b.id, again.id)
		}
		b = again
		if e := b.expect(t, "session"); e.number("members") != 3 {
			t.Errorf("%v", e)
		}
		b.receives(t, series("meanwhile", 5)...)
		if e := <-meanwhile; !e.flag("ok") {
			t.Errorf("%v", e)
		}
		b.do(t, event{"publish": "of b again", "count": 20})
		m.receives(t, series("of b again", 20)...)
		x.receives(t, append(append(append(series("first", 100), series("of b", 20)...), series("meanwhile", 5)...), series("of b again", 20)...)...)
		m.do(t, event{"publish": "last", "count": 20})
		b.receives(t, series("last", 20)...)
		b.receivedNothing(t)
		m.do(t, event{"close": true})
		b.expect(t, "left")
		x.quit(t)
	})
}

// The membership changes while the application is down: it is let in anew when it is back.
func TestGoIsKilledWhileTheGroupChanges(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, k kind) {
		n := startNode(t, k)
		file := filepath.Join(t.TempDir(), "app.db")
		x, y, b := n.member(t, "org/ns/x"), n.member(t, "org/ns/y"), n.goApp(t, "org/ns/b", file)
		m := n.app(t, "moderate", "org/ns/moderator", "--channel", channel, "--mls", "--interval-ms", "2000", "--retries", "4")
		m.invite(t, x, y, b)
		m.do(t, event{"publish": "first", "count": 5})
		b.receives(t, series("first", 5)...)
		b.kill()
		m.try(t, event{"remove": y.name}) // fails at last, since one member does not acknowledge it; the epoch is another one all the same
		b = n.goApp(t, "org/ns/b", file)
		b.expect(t, "session")
		deadline := within(t)
		for i := 0; ; i++ {
			text := fmt.Sprint("try ", i)
			m.do(t, event{"publish": text, "count": 1})
			if e := b.take(limit/10, func(e event) bool { return e.kind() == "message" && unfilled(e.text("text")) == text }); e != nil {
				break
			}
			if deadline.Err() != nil {
				t.Fatal("it is not let in anew")
			}
		}
		b.do(t, event{"publish": "of b", "count": 20})
		m.receives(t, series("of b", 20)...)
		m.do(t, event{"close": true})
		b.expect(t, "left")
		x.quit(t)
	})
}

// An application of ours that leads a group of upstream's is killed and started again: it goes on, and changes the membership.
func TestGoIsKilledAndLeadsAGroup(t *testing.T) {
	inReliableShapes(t, func(t *testing.T, n *node, s shape) {
		file := filepath.Join(t.TempDir(), "app.db")
		b, c, d := n.member(t, "org/ns/b"), n.member(t, "org/ns/c"), n.member(t, "org/ns/d")
		g := n.goApp(t, "org/ns/moderator", file)
		g.do(t, event{"group": channel, "mls": !s.plain})
		for _, m := range []*app{b, c} {
			g.do(t, event{"invite": m.name})
			m.expect(t, "session")
		}
		g.do(t, event{"publish": "first", "count": 20})
		g.kill()
		g = n.goApp(t, "org/ns/moderator", file)
		if e := g.expect(t, "session"); e.number("members") != 3 {
			t.Errorf("%v", e)
		}
		g.do(t, event{"publish": "second", "count": 20})
		for _, m := range []*app{b, c} {
			m.receives(t, append(series("first", 20), series("second", 20)...)...)
		}
		b.do(t, event{"publish": "of b", "count": 20})
		g.receives(t, series("of b", 20)...)
		c.receives(t, series("of b", 20)...)
		g.do(t, event{"remove": c.name})
		c.expect(t, "left")
		g.do(t, event{"invite": d.name})
		d.expect(t, "session")
		g.do(t, event{"publish": "third", "count": 20})
		for _, m := range []*app{b, d} {
			m.receives(t, series("third", 20)...)
			m.receivedNothing(t)
		}
		g.do(t, event{"close": true})
		for _, m := range []*app{b, d} {
			m.expect(t, "left")
			m.quit(t)
		}
	})
}
