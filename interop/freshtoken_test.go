//go:build interop

package interop

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/session"
)

// Tokens of a shared secret live for an hour. The first of agingTokens was made that much later than an hour ago: half of it is more than a
// moderator wants of an old token when a commit replaces it (freshMargin of session/internal/group).
const (
	tokenLife = time.Hour
	lastLeft  = 90 * time.Second
)

// agingTokens are those of an app: the first is old, and the others are fresh.
type agingTokens struct {
	subject string
	renewed chan struct{} // closed when the second one is judged

	mu   sync.Mutex
	made []string // guarded by mu
}

func newAgingTokens(name string) *agingTokens {
	return &agingTokens{subject: name + "_" + suffix(), renewed: make(chan struct{})}
}

// Token implements session.TokenSource.
func (a *agingTokens) Token(_ context.Context, pub []byte) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	at := time.Now()
	if len(a.made) == 0 {
		at = at.Add(lastLeft - tokenLife)
	}
	a.made = append(a.made, mint(a.subject, pub, at))
	return a.made[len(a.made)-1], nil
}

// Verify implements session.Verifier.
func (a *agingTokens) Verify(_ context.Context, token string) (c session.Claims, err error) {
	if c.Subject, c.PublicKey, err = checkToken(token, time.Now()); err != nil {
		return session.Claims{}, err
	}
	seconds, err := strconv.ParseInt(strings.Split(token, ":")[1], 10, 64)
	c.Issued = time.Unix(seconds, 0)
	c.Expires = c.Issued.Add(tokenLife)
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.made) == 2 && a.made[1] == token {
		time.AfterFunc(time.Second, func() { close(a.renewed) }) // it is taken when it has been judged
	}
	return c, err
}

// Members on upstream's library read nothing of who has a void token in its leaf. A moderator of ours whose token is about to be void brings
// a fresh one with a commit that is due anyway: they take it, and go on reading. In a group without such a commit they fall silent when
// the old one is void.
func TestGoLeadsAGroupForLongerThanItsToken(t *testing.T) {
	t.Parallel()
	n := startNode(t, ours)
	b, c, d := n.member(t, "org/ns/b"), n.member(t, "org/ns/c"), n.member(t, "org/ns/d")
	tokens := newAgingTokens("org/ns/moderator")
	a := n.connect(t, "org/ns/moderator", func(o *session.Options) { o.Secret, o.Tokens, o.Verifier = nil, tokens, tokens })
	lead := func(channel string, members ...*app) *session.Session {
		t.Helper()
		g, err := a.OpenGroup(within(t), session.MustName(channel), session.SessionOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range members {
			if err := g.Invite(within(t), session.MustName(m.name)); err != nil {
				t.Fatal(err)
			}
			m.expect(t, "session")
		}
		return g
	}
	renewed, left := lead("org/ns/renewed", b), lead("org/ns/left", c)
	says(t, renewed, "before")
	b.receives(t, "before")
	select {
	case <-tokens.renewed:
	case <-time.After(lastLeft):
		t.Fatal("there is no second token")
	}
	if err := renewed.Invite(within(t), session.MustName(d.name)); err != nil {
		t.Fatal(err)
	}
	d.expect(t, "session")
	says(t, renewed, "renewed")
	b.receives(t, "renewed")
	d.receives(t, "renewed")
	end := time.Now().Add(lastLeft + limit)
	pace := time.NewTicker(500 * time.Millisecond)
	defer pace.Stop()
	for i := 0; ; i++ {
		<-pace.C
		text := fmt.Sprint("still there ", i)
		if _, err := left.Publish(within(t), session.Text(text)); err != nil {
			t.Fatal(err)
		}
		if c.take(2*time.Second, func(e event) bool { return e.kind() == "message" && e.text("text") == text }) == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("a void token is taken for a good one")
		}
	}
	for i := range 3 {
		text := fmt.Sprint("after the old token ", i)
		says(t, renewed, text)
		b.receives(t, text)
		d.receives(t, text)
	}
	b.do(t, event{"publish": "of b", "count": 3})
	hears(t, renewed, series("of b", 3)...)
	d.receives(t, series("of b", 3)...)
	for _, g := range []*session.Session{renewed, left} {
		if err := g.Close(within(t)); err != nil {
			t.Error(err)
		}
	}
	for _, m := range []*app{b, c, d} {
		m.quit(t)
	}
}
