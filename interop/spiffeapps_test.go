//go:build interop

package interop

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/session/identity/spiffe"
)

// workload is an identity of this user in a realm, beside that of all its processes.
type workload struct {
	r  *realm
	id string
}

// workload returns when the agent, which runs, has tokens for it: it hears of an entry some seconds after the server, and of one of two
// at times before the other.
func (r *realm) workload(name string, jwt time.Duration) *workload {
	r.t.Helper()
	w := &workload{r, "spiffe://example.org/apps/" + name}
	r.ask("entry", "create", "-parentID", "spiffe://example.org/agent", "-spiffeID", w.id,
		"-selector", fmt.Sprintf("unix:uid:%d", os.Getuid()), "-jwtSVIDTTL", fmt.Sprint(int(jwt.Seconds())))
	await(r.t, "a token of "+w.id, func() bool {
		return exec.Command(spireProgram(r.t, "spire-agent"), "api", "fetch", "jwt", "-audience", "slim", "-spiffeID", w.id, "-socketPath", r.socket()).Run() == nil
	})
	return w
}

// options are those of an application of ours that is w; peers as in spiffe.Options.
func (w *workload) options(t *testing.T, peers ...string) func(*session.Options) {
	t.Helper()
	i, err := spiffe.New(spiffe.Options{Socket: w.r.socket(), Subject: w.id, Peers: peers})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := i.Close(); err != nil {
			t.Error(err)
		}
	})
	// The agent hears of an entry after a moment.
	await(t, "an SVID of "+w.id, func() bool {
		_, err := i.Token(within(t), make([]byte, 65))
		return err == nil
	})
	return func(o *session.Options) { o.Secret, o.Tokens, o.Verifier = nil, i, i }
}

// flags are those of a slim-peer that is w.
func (w *workload) flags(t *testing.T) []string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "identity.json")
	socket := "unix://" + w.r.socket()
	keep(t, file, asJSON(t, map[string]any{
		"provider": map[string]any{"type": "spire", "socket_path": socket, "target_spiffe_id": w.id, "jwt_audiences": []string{"slim"}},
		"verifier": map[string]any{"type": "spire", "socket_path": socket, "jwt_audiences": []string{"slim"}},
	}))
	return []string{"--identity-config", file}
}

// Applications whose identities a real SPIRE gives talk to each other, ours and upstream's, in sessions of two and in groups that either leads.
func TestSPIFFEApps(t *testing.T) {
	t.Parallel()
	r := startRealm(t, time.Hour, time.Hour)
	r.start()
	r.ready()
	us, them, third := r.workload("us", time.Hour), r.workload("them", time.Hour), r.workload("third", time.Hour)
	inBothShapes(t, func(t *testing.T, n *node, shape shape) {
		t.Run("two", func(t *testing.T) { twoTalk(t, n, shape, us.options(t), them.flags(t), us.id, them.id) })
		t.Run("group", func(t *testing.T) {
			b, a := n.member(t, "org/ns/b", them.flags(t)...), n.connect(t, alice, us.options(t))
			g, err := a.OpenGroup(within(t), session.MustName(channel), shape.options())
			if err != nil {
				t.Fatal(err)
			}
			if err := g.Invite(within(t), session.MustName(b.name)); err != nil {
				t.Fatal(err)
			}
			b.expect(t, "session")
			says(t, g, "of us")
			b.receives(t, "of us")
			b.do(t, event{"publish": "of b"})
			hears(t, g, "of b")
			if err := g.Close(within(t)); err != nil {
				t.Error(err)
			}
			b.expect(t, "left")
			l := listen(t, a)
			m := n.app(t, "moderate", "org/ns/moderator", append(third.flags(t), append(shape.flags(), "--channel", channel)...)...)
			m.invite(t, b)
			m.do(t, event{"invite": alice})
			s := accept(t, l)
			members(t, s, 3)
			m.do(t, event{"publish": "of them"})
			hears(t, s, "of them")
			says(t, s, "of us")
			m.receives(t, "of us")
			b.receives(t, "of them", "of us")
			m.do(t, event{"close": true})
			<-s.Done()
		})
	})
	t.Run("who is not listed", func(t *testing.T) {
		n := startNode(t, ours)
		a := n.connect(t, alice, us.options(t, us.id, third.id))
		listen(t, a)
		args := append([]string{"--to", alice, "--mls", "--retries", "2", "--interval-ms", "200", "--timeout", "10"}, them.flags(t)...)
		if code := n.ends(t, "send", bob, args...); code != 1 {
			t.Errorf("status %d", code)
		}
		await(t, "it is counted", func() bool { return a.Stats().Unbelieved > 0 })
	})
}

// shownTokens knows the tokens that an application has shown.
type shownTokens struct {
	session.TokenSource
	mu   sync.Mutex
	seen map[string]bool // guarded by mu
}

// Token implements session.TokenSource.
func (s *shownTokens) Token(ctx context.Context, publicKey []byte) (string, error) {
	token, err := s.TokenSource.Token(ctx, publicKey)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.seen[token] = true
	}
	return token, err
}

func (s *shownTokens) different() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.seen)
}

// SVIDs that live for seconds are renewed, and no message is lost.
func TestSPIFFEAppsWhoseTokensAreRenewed(t *testing.T) {
	t.Parallel()
	r := startRealm(t, time.Hour, time.Hour)
	r.start()
	r.ready()
	us, them := r.workload("us", 16*time.Second), r.workload("them", 16*time.Second)
	n := startNode(t, ours)
	shown := &shownTokens{seen: map[string]bool{}}
	a, b := n.connect(t, alice, us.options(t), func(o *session.Options) { shown.TokenSource, o.Tokens = o.Tokens, shown }), n.connect(t, bob, them.options(t))
	l := listen(t, b)
	s, err := a.Open(within(t), session.MustName(bob), session.SessionOptions{})
	if err != nil {
		t.Fatal(err)
	}
	heard := accept(t, l)
	begin := time.Now()
	for i := 0; shown.different() < 4; i++ {
		if time.Since(begin) > 4*limit {
			t.Fatalf("after %v there are %d tokens", time.Since(begin), shown.different())
		}
		text := fmt.Sprint(i)
		says(t, s, text)
		hears(t, heard, text)
	}
	if s := b.Stats(); s.Refused+s.Unbelieved > 0 {
		t.Errorf("%+v", s)
	}
	if err := s.Close(within(t)); err != nil && !errors.Is(err, session.ErrClosed) {
		t.Error(err)
	}
}
