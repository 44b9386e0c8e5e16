//go:build interop

package interop

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/session"
)

// goPeer is the environment variable by which this program, when it is started anew, is an application of ours with the commands and
// events of peers/peer.py: a process of its own, which can be killed as those of other languages can.
const goPeer = "SLIMGO_INTEROP_PEER"

// goApp is that application.
type goApp struct {
	app  *session.App
	echo bool

	out sync.Mutex

	mu       sync.Mutex
	sessions []*session.Session // guarded by mu: that go on, the newest last
}

// runGoPeer is the program.
func runGoPeer() int {
	f := flag.NewFlagSet("peer", flag.ExitOnError)
	url, name, secret := f.String("node", "", "URL of a node"), f.String("name", "", "of the app"), f.String("secret", slimPeerSecret, "shared")
	echo := f.Bool("echo", false, "answer messages of sessions between two")
	_ = f.Parse(os.Args[1:])
	ctx := context.Background()
	binding := session.Warn
	if os.Getenv("SLIM_IDENTITY_BINDING") == "enforce" {
		binding = session.Enforce
	}
	own, err := session.ParseName(*name)
	if err != nil {
		return fatal(err)
	}
	app, err := session.Connect(ctx, session.Options{Name: own, Secret: []byte(*secret), Nodes: []string{*url}, Binding: binding})
	if err != nil {
		return fatal(err)
	}
	p := &goApp{app: app, echo: *echo}
	l, err := app.Listen(session.ListenOptions{})
	if err != nil {
		return fatal(err)
	}
	p.emit(event{"event": "ready", "name": *name, "id": app.Name().ID(), "pid": os.Getpid()})
	go func() {
		for s, err := range l.Sessions(ctx) {
			if err == nil {
				p.adopt(s)
			}
		}
	}()
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var c event
		if err := json.Unmarshal(in.Bytes(), &c); err != nil {
			return fatal(err)
		}
		r := event{"event": "result", "tag": c["tag"], "ok": true}
		if s, err := p.run(ctx, c); err != nil {
			r["ok"], r["error"] = false, err.Error()
		} else {
			r["session"] = s.ID()
		}
		p.emit(r)
	}
	return 0
}

// goPeer starts an application of ours as a process of its own.
func (n *node) goPeer(t *testing.T, name string, args ...string) *process {
	t.Helper()
	argv := append([]string{os.Args[0], "--node", n.url(), "--name", name}, args...)
	return spawn(t, fmt.Sprintf("Go %s at %s", name, n.label), []string{goPeer + "=1", "SLIM_IDENTITY_BINDING=" + n.binding}, argv...)
}

func fatal(err error) int {
	fmt.Fprintln(os.Stderr, err)
	return 1
}

func (p *goApp) emit(e event) {
	line, err := json.Marshal(e)
	if err != nil {
		panic(err)
	}
	p.out.Lock()
	defer p.out.Unlock()
	_, _ = os.Stdout.Write(append(line, '\n'))
}

// adopt tells of what happens in a session.
func (p *goApp) adopt(s *session.Session) {
	p.mu.Lock()
	p.sessions = append(p.sessions, s)
	p.mu.Unlock()
	p.emit(event{"event": "session", "session": s.ID(), "kind": s.Kind().String(), "initiator": s.IsModerator(), "mls": s.Encrypted()})
	ctx := context.Background()
	go func() {
		for e := range s.Events(ctx) {
			name := strings.TrimPrefix(fmt.Sprintf("%T", e), "session.")
			p.emit(event{"event": "notice", "session": s.ID(), "what": name, "text": fmt.Sprintf("%+v", e)})
		}
	}()
	go p.read(ctx, s)
}

func (p *goApp) read(ctx context.Context, s *session.Session) {
	received := 0
	for m, err := range s.Messages(ctx) {
		if err != nil {
			break
		}
		received++
		p.emit(event{"event": "message", "session": s.ID(), "id": m.ID, "from": m.From.String(), "subject": m.Subject, "size": len(m.Data), "text": string(m.Data)})
		if p.echo && s.Kind() == session.PointToPoint && !s.IsModerator() {
			if _, err := m.Reply(ctx, session.Content{Data: append([]byte("echo:"), m.Data...)}); err != nil {
				p.emit(event{"event": "error", "what": "echo", "error": err.Error()})
			}
		}
	}
	<-s.Done()
	p.mu.Lock()
	for i, other := range p.sessions {
		if other == s {
			p.sessions = append(p.sessions[:i:i], p.sessions[i+1:]...)
		}
	}
	p.mu.Unlock()
	p.emit(event{"event": "left", "session": s.ID(), "reason": fmt.Sprint(s.Err()), "received": received})
}

// session is the one that a command names, or the newest. It may be one that another app has opened.
func (p *goApp) session(c event) (*session.Session, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range slices.Backward(p.sessions) {
		if c["session"] == nil || int(s.ID()) == c.number("session") {
			return s, nil
		}
	}
	return nil, errors.New("no session")
}

// commandTime bounds a command, as a guard against hanging.
const commandTime = 4 * limit

// run executes a command, and returns the session that it was about.
func (p *goApp) run(ctx context.Context, c event) (*session.Session, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	if target := cmp.Or(c.text("open"), c.text("group")); target != "" {
		return p.open(ctx, target, c)
	}
	s, err := p.session(c)
	if err != nil {
		return nil, err
	}
	return s, execute(ctx, s, c)
}

func execute(ctx context.Context, s *session.Session, c event) error {
	switch {
	case c.text("invite") != "":
		return named(c.text("invite"), func(n session.Name) error { return s.Invite(ctx, n) })
	case c.text("remove") != "":
		return named(c.text("remove"), func(n session.Name) error { return s.Remove(ctx, n) })
	case c.text("publish") != "":
		return publishes(ctx, s, c.text("publish"), c.number("count"))
	case c.flag("suspend"):
		return s.Suspend(ctx)
	case c.flag("rejoin"):
		return s.Resume(ctx)
	case c.flag("close"), c.flag("leave"):
		return s.Close(ctx)
	}
	return errors.New("unknown command")
}

func named(text string, f func(session.Name) error) error {
	n, err := session.ParseName(text)
	if err != nil {
		return err
	}
	return f(n)
}

func (p *goApp) open(ctx context.Context, target string, c event) (*session.Session, error) {
	o := session.SessionOptions{
		Plain: !c.flag("mls"), Unreliable: c.flag("unreliable"),
		Interval: time.Duration(c.number("interval_ms")) * time.Millisecond, Retries: c.number("retries"),
	}
	n, err := session.ParseName(target)
	if err != nil {
		return nil, err
	}
	open := p.app.Open
	if c.text("group") != "" {
		open = p.app.OpenGroup
	}
	s, err := open(ctx, n, o)
	if err != nil {
		return nil, err
	}
	p.adopt(s)
	return s, nil
}

// publishes sends text, or as many texts as series makes, and returns when it is known what has become of them.
func publishes(ctx context.Context, s *session.Session, text string, count int) error {
	texts := []string{text}
	if count > 0 {
		texts = series(text, count)
	}
	var under []*session.Delivery
	var failed int
	var first error
	await := func(d *session.Delivery) {
		if err := d.Wait(ctx); err != nil {
			failed++
			first = cmp.Or(first, err)
		}
	}
	for _, t := range texts {
		d, err := s.Publish(ctx, session.Text(t))
		if err != nil {
			return err
		}
		if under = append(under, d); len(under) == inFlight {
			await(under[0])
			under = under[1:]
		}
	}
	for _, d := range under {
		await(d)
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d: %w", failed, len(texts), first)
	}
	return nil
}

// inFlight is how many messages are under way at most. That many do not arrive in an interval on a machine that is busy, as it takes
// some a millisecond to decrypt one, and then all go once more.
const inFlight = 64
