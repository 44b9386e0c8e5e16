package router

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
)

// auditLog keeps the events that it is told.
type auditLog struct {
	mu  sync.Mutex
	all []auth.Event
}

func (a *auditLog) Note(e *auth.Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all = append(a.all, *e)
}

// events returns those that it was told.
func (a *auditLog) events() []auth.Event {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.all)
}

// count is how many events there are of that act, allowed or not, for the subject.
func (a *auditLog) count(act string, allowed bool, subject string) (n int) {
	for _, e := range a.events() {
		if e.Act == act && e.Allowed == allowed && e.Subject == subject {
			n++
		}
	}
	return n
}

func basic(t *testing.T, name, password string) auth.Source {
	t.Helper()
	s, err := auth.NewBasicSource(name, password)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// wanting is the authentication of both listeners of dialWay.start.
func wanting(v auth.Verifier) []Auth {
	return []Auth{{Verifier: v, Mechanism: auth.Basic}, {Verifier: v, Mechanism: auth.Basic}}
}

// Right credentials open a link, wrong ones and none do not, and the audit log says so. Rules: P-auth-1, P-auth-3, P-auth-8.
func TestCredentialsOfLinks(t *testing.T) {
	inEachWay(t, func(t *testing.T, w *dialWay) {
		t.Parallel()
		log := &auditLog{}
		o := generic("two")
		o.Auth, o.Audit = wanting(auth.NewBasicVerifier("alice", "secret")), log
		one, two := start(t, generic("one")), w.start(t, o)
		for _, tc := range []struct {
			name    string
			source  auth.Source
			subject string
			failure string // "": it comes up
		}{
			{"right", basic(t, "alice", "secret"), "alice", ""},
			{"wrong password", basic(t, "alice", "wrong"), "alice", "401"},
			{"wrong name", basic(t, "bob", "secret"), "bob", "401"},
			{"none", nil, "", "401"},
		} {
			d := w.dial(t, one, w.addr(two), func(l *Link) { l.Auth = tc.source })
			if tc.failure == "" {
				d.await(LinkUp)
			} else {
				until(t, tc.name, func() bool { return strings.Contains(d.Status().Failure, tc.failure) })
			}
			d.Close()
			d.await(LinkOver)
			if log.count(auth.ActConnect, tc.failure == "", tc.subject) == 0 {
				t.Errorf("%s: the audit log does not tell of %q: %+v", tc.name, tc.subject, log.events())
			}
		}
		if s := two.Stats(); s.Refused[ReasonUnauthorized] == 0 || s.Panics != 0 {
			t.Errorf("%+v", s.Refused)
		}
		g := two.Guards()
		if len(g) != 2 || g[1].Outcomes[auth.Allowed] != 1 || g[1].Outcomes[auth.Wrong] == 0 || g[1].Outcomes[auth.Missing] == 0 {
			t.Errorf("%+v", g)
		}
	})
}

// Whoever is judged is answered as by HTTP, on every path, without a word. Rules: P-auth-1, P-auth-2, P-auth-3.
func TestAnswersToRequestsWithoutRightCredentials(t *testing.T) {
	t.Parallel() // it waits
	v := &jury{verdict: func(s *auth.Shown) error {
		switch s.Authorization {
		case "Bearer good":
			return nil
		case "Bearer forbidden":
			return auth.Forbidden("the policy says so")
		case "Bearer broken":
			return errors.New("the issuer does not answer")
		case "":
			return &auth.Denied{Status: 401, Challenge: "Basic", Reason: "none"}
		}
		return auth.Unauthorized("wrong")
	}, query: true}
	o := generic("two")
	o.Listen, o.Auth = []string{"127.0.0.1:0", "ws://127.0.0.1:0/slim"}, wanting(v)
	n := startAt(t, o)
	grpc, web := "http://"+n.Addrs()[0].String(), "http://"+n.Addrs()[1].String()
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	two := &http.Transport{Protocols: protocols}
	defer two.CloseIdleConnections()
	one := &http.Transport{DisableKeepAlives: true}
	upgrade := http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"AAAAAAAAAAAAAAAAAAAAAA=="}}
	const channel = "/dataplane.proto.v1.DataPlaneService/OpenChannel"
	counts := map[int]uint64{}
	for _, tc := range []struct {
		name, url, shown string
		status           int
	}{
		{"no credentials", grpc + channel, "", 401},
		{"another path", grpc + "/other", "", 401},
		{"wrong", grpc + channel, "Bearer wrong", 401},
		{"policy", grpc + channel, "Bearer forbidden", 403},
		{"nobody knows", grpc + channel, "Bearer broken", 503},
		{"right, but another path", grpc + "/other", "Bearer good", 404},
		{"WebSocket: no credentials", web + "/slim", "", 401},
		{"WebSocket: another path", web + "/other", "", 401},
		{"WebSocket: wrong", web + "/slim", "Bearer wrong", 401},
		{"WebSocket: policy", web + "/slim", "Bearer forbidden", 403},
		{"WebSocket: nobody knows", web + "/slim", "Bearer broken", 503},
		{"WebSocket: right, but another path", web + "/other", "Bearer good", 404},
		{"WebSocket: right", web + "/slim", "Bearer good", 101},
		{"WebSocket: token in the query", web + "/slim?a=b&token=g%6fod", "", 101},
		{"WebSocket: the name of the parameter is decoded, too", web + "/slim?%74oken=good", "", 101},
		{"WebSocket: an empty token is none", web + "/slim?token=&token=good", "", 101},
		{"WebSocket: a plus is no space", web + "/slim?token=go+od", "", 401},
		{"WebSocket: another parameter is none", web + "/slim?access_token=good", "", 401},
		{"WebSocket: a header counts, whatever it says", web + "/slim?token=good", "Basic Og==", 401},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), hang)
			defer cancel()
			method, rt := http.MethodPost, http.RoundTripper(two)
			if strings.HasPrefix(tc.url, web) {
				method, rt = http.MethodGet, one
			}
			r, err := http.NewRequestWithContext(ctx, method, tc.url, nil)
			if err != nil {
				t.Fatal(err)
			}
			if rt == one {
				r.Header = upgrade.Clone()
			}
			if tc.shown != "" {
				r.Header.Set("Authorization", tc.shown)
			}
			res, err := rt.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if res.StatusCode != tc.status {
				t.Fatalf("status %d, want %d", res.StatusCode, tc.status)
			}
			counts[tc.status]++
			if tc.status == 404 || tc.status == 101 {
				return
			}
			if n := res.ContentLength; n > 0 || res.Header.Get("Grpc-Status") != "" {
				t.Errorf("an answer of %d bytes, with %v", n, res.Header)
			}
			want := ""
			if shown := v.shown.Load(); tc.status == 401 && *shown == "" {
				want = "Basic"
			}
			if got := res.Header.Get("Www-Authenticate"); got != want {
				t.Errorf("www-authenticate %q, want %q", got, want)
			}
		})
	}
	until(t, "each is counted once", func() bool {
		r := n.Stats().Refused
		return r[ReasonUnauthorized] == counts[401] && r[ReasonForbidden] == counts[403] && r[ReasonUnjudged] == counts[503]
	})
}

// jury is a Verifier that a test directs.
type jury struct {
	verdict func(*auth.Shown) error
	query   bool
	issuer  string
	asked   atomic.Int64
	gone    atomic.Int64  // judgements whose context has ended
	wait    chan struct{} // closed: judgements may end; nil: they need not wait
	changes atomic.Pointer[chan struct{}]
	again   atomic.Pointer[error]  // what Again returns; nil: nothing
	judged  atomic.Int64           // how often Again was asked since the last change
	shown   atomic.Pointer[string] // the last
}

func (v *jury) Verify(ctx context.Context, s *auth.Shown) (*auth.Identity, error) {
	v.asked.Add(1)
	v.shown.Store(&s.Authorization)
	if v.wait != nil {
		select {
		case <-v.wait:
		case <-ctx.Done():
			v.gone.Add(1)
			return nil, ctx.Err()
		}
	}
	if v.verdict != nil {
		if err := v.verdict(s); err != nil {
			return nil, err
		}
	}
	return &auth.Identity{Mechanism: auth.JWT, Subject: strings.TrimPrefix(s.Authorization, "Bearer "), Issuer: v.issuer}, nil
}

func (v *jury) Again(context.Context, *auth.Identity) error {
	defer v.judged.Add(1)
	if err := v.again.Load(); err != nil {
		return *err
	}
	return nil
}

func (v *jury) Changed() <-chan struct{} {
	c := make(chan struct{})
	v.changes.Store(&c)
	return c
}

// change has those judged again who were let in.
func (v *jury) change(t *testing.T, again error) {
	t.Helper()
	until(t, "it is watched", func() bool { return v.changes.Load() != nil })
	v.judged.Store(0)
	v.again.Store(&again)
	close(*v.changes.Swap(nil))
	until(t, "it is judged again", func() bool { return v.judged.Load() > 0 })
	v.again.Store(nil)
}

func (v *jury) QueryToken() bool { return v.query }
func (v *jury) Close() error     { return nil }

// token is a Source of a bearer token.
type token string

func (s token) Authorization(context.Context) (string, error) { return "Bearer " + string(s), nil }
func (s token) Close() error                                  { return nil }

// While a request is judged nothing of it is lost and nothing of it happens; who leaves meanwhile is forgotten. Rules: P-auth-5.
func TestRequestsThatWaitToBeJudged(t *testing.T) {
	v := &jury{wait: make(chan struct{})}
	o := generic("one")
	o.judging = hang
	o.Auth = []Auth{{Verifier: v}}
	n := start(t, o)
	c := knock(t, n, 2<<20) // its negotiation goes out with its request
	until(t, "it is asked", func() bool { return v.asked.Load() == 1 })
	if s := n.Stats(); s.Connections != 0 || s.Negotiated != 0 {
		t.Errorf("before it is judged: %+v", s)
	}
	gone := knock(t, n, 2<<20)
	until(t, "the other is asked", func() bool { return v.asked.Load() == 2 })
	_ = gone.c.Close()
	until(t, "it is given up", func() bool { return v.gone.Load() == 1 })
	close(v.wait)
	c.negotiated()
	until(t, "it counts", func() bool { s := n.Stats(); return s.Negotiated == 1 && s.Unfinished == 0 })
	if conns, err := n.Connections(t.Context(), 0); err != nil || len(conns) != 1 || conns[0].Auth != auth.JWT {
		t.Errorf("%+v, %v", conns, err)
	}
}

// A verdict that began before keys or policies changed does not count, and the request is judged once more. Rules: P-auth-7.
func TestVerdictsOfBeforeAChangeDoNotCount(t *testing.T) {
	inEachWay(t, func(t *testing.T, w *dialWay) {
		t.Parallel()
		slow := make(chan struct{})
		v := &jury{verdict: func(s *auth.Shown) error {
			if s.Authorization == "Bearer slow" {
				<-slow
			}
			return nil
		}}
		o := generic("two")
		o.Auth = wanting(v)
		o.Auth[0] = Auth{} // one guard watches the jury
		one, two := start(t, generic("one")), w.start(t, o)
		w.dial(t, one, w.addr(two), func(l *Link) { l.Auth = token("alice") }).await(LinkUp)
		asked := v.asked.Load()
		d := w.dial(t, one, w.addr(two), func(l *Link) { l.Auth = token("slow") })
		until(t, "it is asked", func() bool { return v.asked.Load() == asked+1 })
		v.change(t, nil)
		close(slow)
		d.await(LinkUp)
		if n := v.asked.Load() - asked; n != 2 {
			t.Errorf("it was judged %d times, want twice", n)
		}
	})
}

// What is being judged when a listener gets other authentication is judged by that. Rules: P-auth-7.
func TestRequestsThatWaitAreJudgedByWhatComes(t *testing.T) {
	v := &jury{wait: make(chan struct{})}
	defer close(v.wait)
	o := generic("one")
	o.judging = hang
	o.Auth = []Auth{{Verifier: v, Mechanism: auth.JWT}}
	n := start(t, o)
	c := knock(t, n, 2<<20)
	until(t, "it is asked", func() bool { return v.asked.Load() == 1 })
	s, next := n.opt.setup(), &jury{}
	s.Endpoints[0].Auth = Auth{next, auth.JWT}
	change, err := n.Prepare(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	change.Commit()
	c.negotiated()
	if next.asked.Load() == 0 {
		t.Error("the new verifier was not asked")
	}
}

// While a request is judged no more waits than a first message may have. Rules: P-auth-5.
func TestMessagesThatWaitToBeJudgedAreBounded(t *testing.T) {
	v := &jury{wait: make(chan struct{})}
	defer close(v.wait)
	o := generic("one")
	o.judging = hang
	o.Auth = []Auth{{Verifier: v}}
	n := start(t, o)
	c := knock(t, n, 2<<20)
	until(t, "it is asked", func() bool { return v.asked.Load() == 1 })
	c.send(make([]byte, 16<<10)) // as long as the first may be, which has come
	until(t, "it is given up", func() bool { return v.gone.Load() == 1 && n.Stats().Refused[ReasonTooLarge] == 1 })
}

// A token in the query counts only where the mechanism takes it. Rules: P-auth-2.
func TestTokensOfQueriesCountForSomeMechanisms(t *testing.T) {
	for _, query := range []bool{false, true} {
		v := &jury{query: query}
		o := generic("one")
		o.Listen, o.Auth = []string{"ws://127.0.0.1:0/"}, []Auth{{Verifier: v}}
		n := startAt(t, o)
		c, err := net.Dial("tcp", n.Addrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = fmt.Fprint(c, "GET /?token=good HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
		until(t, "it is asked", func() bool { return v.shown.Load() != nil })
		want := map[bool]string{true: "Bearer good"}[query]
		if got := *v.shown.Load(); got != want {
			t.Errorf("shown is %q, want %q", got, want)
		}
		_ = c.Close()
	}
}

// Those who are not allowed any more are ended with the reason, others not. Rules: P-auth-7.
func TestConnectionsAreJudgedAgain(t *testing.T) {
	t.Parallel() // beside those that wait
	inEachWay(t, func(t *testing.T, w *dialWay) {
		t.Parallel()
		v, log := &jury{}, &auditLog{}
		o := generic("two")
		o.Auth, o.Audit = wanting(v), log
		o.Auth[0] = Auth{}
		one, two := start(t, generic("one")), w.start(t, o)
		free := call(t, two) // by a listener that asks nobody
		d := w.dial(t, one, w.addr(two), func(l *Link) { l.Auth = token("alice") })
		d.await(LinkUp)

		v.change(t, nil)
		if d.Status().Losses != 0 {
			t.Error("one that is allowed was ended")
		}
		v.change(t, auth.Unavailable("the issuer is away"))
		if d.Status().Losses != 0 {
			t.Error("one that could not be judged was ended")
		}
		v.change(t, auth.Unauthorized("the key is gone"))
		until(t, "the link was lost", func() bool { return d.Status().Losses == 1 })
		if s := d.Status().Failure; !strings.Contains(s, "credentials of this connection are not accepted any more") {
			t.Errorf("the other end was told %q", s)
		}
		until(t, "it is counted", func() bool { return two.Stats().Refused[ReasonRevoked] == 1 })
		if log.count(auth.ActClose, false, "alice") != 1 {
			t.Errorf("%+v", log.events())
		}
		until(t, "it is up with credentials that are good again", func() bool { return d.Status().State == LinkUp })
		v.change(t, auth.Forbidden("the policy has changed"))
		d.await(LinkOver)
		free.subscribe(bob)
	})
}

// The log says who has come, and who vouches for that if anybody does. Rules: P-auth-4.
func TestLogSaysWhoHasCome(t *testing.T) {
	for issuer, want := range map[string]string{"": ` auth=jwt identity=""$`, "https://i.example": ` auth=jwt identity="" identity_issuer=https://i\.example$`} {
		j := newJournal(slog.LevelInfo)
		o := generic("one")
		o.Log, o.Auth = j.log(), []Auth{{Verifier: &jury{issuer: issuer}}}
		call(t, start(t, o))
		matches(t, j.wait(t, "connection opened"), want)
	}
}

// Who is judged again, and found right or wrong, is done with; of whom nothing can be said is warned, and is judged again. Rules: P-auth-7.
func TestSweepsTellWhatIsUndecided(t *testing.T) {
	v, j := &jury{}, newJournal(slog.LevelWarn)
	o := generic("one")
	o.Log, o.Auth = j.log(), []Auth{{Verifier: v}}
	n := start(t, o)
	call(t, n)
	l := n.listening.list()[0]
	const warning = "connections cannot be judged by what has changed"
	for _, tc := range []struct {
		name      string
		again     error
		undecided bool
	}{
		{"right", nil, false},
		{"the issuer is away", auth.Unavailable("the issuer is away"), true},
		{"a defect", errors.New("a defect"), true},
		{"wrong", auth.Unauthorized("the key is gone"), false},
	} {
		before, judged := len(j.all(warning)), v.judged.Load()
		v.again.Store(&tc.again)
		undecided := n.sweep(l, l.guard.Load())
		if v.judged.Load() != judged+1 {
			t.Fatalf("%s: it is judged %d times", tc.name, v.judged.Load()-judged)
		}
		if undecided != tc.undecided {
			t.Errorf("%s: undecided is %v", tc.name, undecided)
		}
		lines := j.all(warning)[before:]
		if (len(lines) == 1) != tc.undecided || tc.undecided && !strings.Contains(lines[0], "connections=1 ") {
			t.Errorf("%s: %q", tc.name, lines)
		}
	}
	until(t, "who is wrong is ended", func() bool { return n.Stats().Refused[ReasonRevoked] == 1 })
}

// Who has been let in and has negotiated nothing yet is judged again, too, and is said to be of no kind. Rules: P-auth-7.
func TestWhoHasNotNegotiatedIsJudgedAgain(t *testing.T) {
	v, log := &jury{}, &auditLog{}
	o := generic("one")
	o.Auth, o.Audit = []Auth{{Verifier: v}}, log
	n := start(t, o)
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	rt := &http.Transport{Protocols: protocols}
	defer rt.CloseIdleConnections()
	body, end := io.Pipe()
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+n.Addrs()[0].String()+"/dataplane.proto.v1.DataPlaneService/OpenChannel", body)
	r.Header = http.Header{"Authorization": {"Bearer alice"}, "Content-Type": {"application/grpc"}, "Te": {"trailers"}}
	var asking sync.WaitGroup
	defer asking.Wait()
	defer end.Close()
	asking.Go(func() {
		if res, err := rt.RoundTrip(r); err == nil {
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
		}
	})
	until(t, "it is let in", func() bool { return n.Stats().Connections == 1 })
	v.change(t, auth.Unauthorized("the key is gone"))
	until(t, "it is ended", func() bool { return log.count(auth.ActClose, false, "alice") == 1 })
	for _, e := range log.events() {
		if e.Kind != "" {
			t.Errorf("%+v has a kind", e)
		}
	}
}

// A listener that asks for other credentials from now on ends those that have not shown them, and no others. Rules: P-auth-7.
func TestListenersChangeWhoTheyLetIn(t *testing.T) {
	inEachWay(t, func(t *testing.T, w *dialWay) {
		t.Parallel()
		one, two := start(t, generic("one")), w.start(t, generic("two"))
		free, alice := w.dial(t, one, w.addr(two), nil), w.dial(t, one, w.addr(two), func(l *Link) { l.Auth = basic(t, "alice", "secret") })
		free.await(LinkUp)
		alice.await(LinkUp)
		become := func(v auth.Verifier) {
			t.Helper()
			s := two.opt.setup()
			s.Endpoints[1].Auth = Auth{v, auth.Basic}
			c, err := two.Prepare(t.Context(), s)
			if err != nil {
				t.Fatal(err)
			}
			c.Commit()
		}
		secret := auth.NewBasicVerifier("alice", "secret")
		become(secret)
		until(t, "nobody is left who has shown nothing", func() bool { return free.Status().Losses == 1 && strings.Contains(free.Status().Failure, "401") })
		free.Close()
		until(t, "the other has shown something now", func() bool { return alice.Status().Losses == 1 && alice.Status().State == LinkUp })
		become(auth.NewBasicVerifier("alice", "secret"))
		become(secret) // it is closed by nobody: it serves again
		if s := alice.Status(); s.Losses != 1 || s.State != LinkUp {
			t.Errorf("one that shows the same as before: %+v", s)
		}
		become(auth.NewBasicVerifier("alice", "another"))
		until(t, "it is ended", func() bool { return alice.Status().Losses == 2 && strings.Contains(alice.Status().Failure, "401") })
		become(nil)
		alice.await(LinkUp)
	})
}

// A socket whose request was denied has been answered: it may try again for a while, and its end is no timeout. Rules: P-auth-3.
func TestSocketsThatWereDeniedEndWithoutFault(t *testing.T) {
	r := newRig(t, 1, Options{})
	g := auth.NewGuard(auth.NewBasicVerifier("alice", "secret"), auth.GuardOptions{Timeout: hang})
	defer g.Close()
	gate := r.n.loops[0].group.NewGate("x")
	gate.SetGuard(g)
	p := r.connectBy(0, r.n.loops[0].group.GRPC(nil, gate).Accept())
	p.open()
	until(t, "it is denied", func() bool {
		r.settle()
		p.exchange()
		return p.end != nil
	})
	r.seconds(30)
	if s := r.stats(); !p.shut() || s.Refused[ReasonUnauthorized] != 1 || s.Refused[ReasonTimeout] != 0 {
		t.Errorf("closed is %v, refused %v", p.shut(), s.Refused)
	}
}

// One socket has so many requests judged at once, and the rest come to nothing, which their client may try again. Rules: P-auth-5.
func TestRequestsOfOneSocketThatWaitAreBounded(t *testing.T) {
	v := &jury{wait: make(chan struct{})}
	defer close(v.wait)
	o := generic("one")
	o.judging = hang
	o.Auth = []Auth{{Verifier: v}}
	n := start(t, o)
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	rt := &http.Transport{Protocols: protocols, MaxConnsPerHost: 1}
	defer rt.CloseIdleConnections()
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	for i := range 40 {
		all.Go(func() {
			r, _ := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+n.Addrs()[0].String()+"/", nil)
			if res, err := rt.RoundTrip(r); err == nil {
				_ = res.Body.Close()
			}
		})
		if i == 0 { // the others take its socket
			until(t, "the first is asked", func() bool { return v.asked.Load() == 1 })
		}
	}
	until(t, "some are refused", func() bool { return n.Stats().Refused[ReasonUnjudged] >= 24 && v.asked.Load() >= 16 })
	if asked := v.asked.Load(); asked != 16 {
		t.Errorf("%d were judged at once", asked)
	}
}

// A link without credentials is not opened, and tried again. Rules: P-auth-8.
func TestLinksWithoutCredentialsAreNotOpened(t *testing.T) {
	inEachWay(t, func(t *testing.T, w *dialWay) {
		t.Parallel()
		one, two := start(t, generic("one")), w.start(t, generic("two"))
		for _, tc := range []struct {
			source auth.Source
			want   string
		}{
			{&failing{err: errors.New("the issuer is away")}, "no credentials for the link: the issuer is away"},
			{token("with\na line break"), "no credentials for the link: they contain a line break"},
			{token(strings.Repeat("x", auth.MaxAuthorization)), fmt.Sprintf("they have %d bytes", auth.MaxAuthorization+len("Bearer "))},
		} {
			d := w.dial(t, one, w.addr(two), func(l *Link) { l.Auth = tc.source })
			until(t, "it was tried twice", func() bool { return d.Status().Unarmed > 1 })
			if s := d.Status(); !strings.Contains(s.Failure, tc.want) || s.Unarmed > s.Attempts {
				t.Errorf("%+v, want %q", s, tc.want)
			}
			d.Close()
			d.await(LinkOver)
		}
		if s := two.Stats(); s.Negotiated != 0 || s.Sockets != 0 {
			t.Errorf("something was opened: %+v", s)
		}
		f := &failing{err: errors.New("not yet")}
		d := w.dial(t, one, w.addr(two), func(l *Link) { l.Auth = f })
		until(t, "it was tried", func() bool { return d.Status().Unarmed > 0 })
		f.fine.Store(true)
		d.await(LinkUp)
	})
}

// failing is a Source that fails until it is fine.
type failing struct {
	err  error
	fine atomic.Bool
}

func (s *failing) Authorization(context.Context) (string, error) {
	if s.fine.Load() {
		return "Bearer x", nil
	}
	return "", s.err
}
func (s *failing) Close() error { return nil }

// The answer to wrong credentials comes later and later, and valid ones never wait for that. Rules: P-auth-6.
func TestWrongCredentialsAreAnsweredLater(t *testing.T) {
	t.Parallel() // it waits
	o := generic("one")
	o.Listen, o.Auth = []string{"ws://127.0.0.1:0/"}, []Auth{{Verifier: auth.NewBasicVerifier("alice", "secret")}}
	n := startAt(t, o)
	ask := func(name string) func() int {
		c, err := net.Dial("tcp", n.Addrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		s, _ := basic(t, name, "secret").Authorization(t.Context())
		_, _ = fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
			"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nAuthorization: %s\r\n\r\n", s)
		return func() int {
			defer c.Close()
			res, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Error(err)
				return 0
			}
			return res.StatusCode
		}
	}
	if got := ask("bob")(); got != 401 {
		t.Fatalf("status %d", got)
	}
	slow := ask("bob")
	until(t, "it is held back", func() bool { return n.Guards()[0].Slowed == 1 })
	if got := ask("alice")(); got != 101 {
		t.Errorf("status %d", got)
	}
	if n.Guards()[0].Waiting == 0 {
		t.Log("the machine is slow: it was answered already")
	}
	if got := slow(); got != 401 {
		t.Errorf("status %d", got)
	}
}
