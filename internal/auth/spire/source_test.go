package spire

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/internal/auth/spire/spiretest"
)

func newSource(t *testing.T, a *Agent, o SourceOptions) *Source {
	t.Helper()
	if o.Audiences == nil {
		o.Audiences = []string{"slim"}
	}
	s, err := NewSource(a, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// What is asked for, and what a listener makes of it. Rules: P-spiffe-2, P-spiffe-3.
func TestSource(t *testing.T) {
	t.Parallel()
	d, api := spiretest.NewDomain(t, "a.org"), spiretest.Serve(t)
	api.Bundles(spiretest.Bundles(t, d))
	api.Issue(d, "spiffe://a.org/app", time.Hour)
	agent, _ := agentOf(t, api)
	node := newSource(t, agent, SourceOptions{Audiences: []string{"slim", "more"}})
	shown, err := node.Authorization(soon(t))
	if err != nil || !strings.HasPrefix(shown, "Bearer ") {
		t.Fatal(err)
	}
	if again, _ := node.Authorization(soon(t)); again != shown {
		t.Error("a token that is good is replaced")
	}
	who, err := newVerifier(t, agent).Verify(soon(t), &auth.Shown{Authorization: shown})
	if err != nil || who.Subject != "spiffe://a.org/app" || who.Claims["custom_claims"] != nil {
		t.Errorf("%+v, %v", who, err)
	}
	app := newSource(t, agent, SourceOptions{PublicKey: []byte{1, 2, 3}, Subject: "spiffe://a.org/app"})
	text, err := app.Token(soon(t))
	if err != nil {
		t.Fatal(err)
	}
	if who, err = newVerifier(t, agent).VerifyToken(text); err != nil || who.Claims["custom_claims"].(map[string]any)["pubkey"] != "AQID" {
		t.Errorf("%+v, %v", who, err)
	}
	if id, err := app.ID(soon(t)); id != "spiffe://a.org/app" || err != nil {
		t.Errorf("%q, %v", id, err)
	}
	asked := slices.CompactFunc(slices.Clone(api.Requests()), func(a, b *workload.JWTSVIDRequest) bool { return slices.Equal(a.Audience, b.Audience) })
	if len(asked) != 2 || !slices.Equal(asked[0].Audience, []string{"slim", "more"}) || asked[0].SpiffeId != "" ||
		asked[1].SpiffeId != "spiffe://a.org/app" || len(asked[1].Audience) != 2 || asked[1].Audience[1] != "slim-claims:eyJwdWJrZXkiOiJBUUlEIn0=" {
		t.Errorf("asked for %v", asked)
	}
}

// A token is renewed by itself, and one that has expired is shown to nobody.
func TestSourceRenews(t *testing.T) {
	t.Parallel()
	d, api := spiretest.NewDomain(t, "a.org"), spiretest.Serve(t)
	end := time.Now().Truncate(time.Second).Add(time.Hour)
	var now atomic.Pointer[time.Time]
	clock := func(at time.Time) { now.Store(&at) }
	clock(end.Add(-shortestRenew)) // so that it is renewed after that
	asked := make(chan struct{}, 64)
	issue := func(end time.Time) {
		api.Answer(func(r *workload.JWTSVIDRequest) (*workload.JWTSVIDResponse, error) {
			asked <- struct{}{}
			c := map[string]any{"sub": "spiffe://a.org/app", "aud": r.Audience, "exp": end.Unix()}
			return &workload.JWTSVIDResponse{Svids: []*workload.JWTSVID{{Svid: d.Token(t, c)}}}, nil
		})
	}
	issue(end)
	all := NewAgents(Options{Now: func() time.Time { return *now.Load() }, pace: quick})
	t.Cleanup(all.Close)
	agent, err := all.At(api.Address())
	if err != nil {
		t.Fatal(err)
	}
	s := newSource(t, agent, SourceOptions{})
	first, err := s.Token(soon(t))
	if err != nil {
		t.Fatal(err)
	}
	<-asked
	<-asked // by itself
	until(t, "the second", func() <-chan struct{} { return ticks(t) }, func() bool {
		second, err := s.Token(soon(t))
		return err == nil && second != first
	})
	api.Fail(status.Error(codes.Unavailable, "gone"))
	clock(end.Add(-1))
	if _, err := s.Token(soon(t)); err != nil {
		t.Errorf("just before its end: %v", err)
	}
	clock(end)
	if _, err := s.Token(soon(t)); err == nil || !strings.Contains(err.Error(), "no JWT-SVID yet") || !strings.Contains(err.Error(), "gone") {
		t.Errorf("after its end: %v", err)
	}
	api.Fail(nil)
	issue(end.Add(time.Hour))
	if third, err := s.Token(soon(t)); err != nil || third == first {
		t.Errorf("once it is back: %v", err)
	}
}

// What an API may answer, and what whoever connects is told then.
func TestSourceOfHostileAPI(t *testing.T) {
	t.Parallel()
	d, api := spiretest.NewDomain(t, "a.org"), spiretest.Serve(t)
	agent, _ := agentOf(t, api)
	claims := func(life time.Duration, aud ...string) map[string]any {
		return spiretest.Claims("spiffe://a.org/x", life, aud...)
	}
	for name, c := range map[string]struct{ token, says string }{
		"none":             {"", "no JWT-SVID yet"},
		"garbage":          {"x.y.z", "makes no sense"},
		"a header's end":   {"a.b.c\r\nx: y", "makes no sense"},
		"another audience": {d.Token(t, claims(time.Hour, "else")), "makes no sense"},
		"expired":          {d.Token(t, claims(-time.Minute, "slim")), "no JWT-SVID yet"},
		"no identity":      {d.Token(t, map[string]any{"sub": "x", "aud": "slim", "exp": time.Now().Unix() + 60}), "makes no sense"},
		"too long":         {d.Token(t, claims(time.Hour, "slim", strings.Repeat("x", auth.MaxAuthorization))), "more than a listener takes"},
	} {
		api.Answer(func(*workload.JWTSVIDRequest) (*workload.JWTSVIDResponse, error) {
			if c.token == "" {
				return &workload.JWTSVIDResponse{}, nil
			}
			return &workload.JWTSVIDResponse{Svids: []*workload.JWTSVID{{Svid: c.token}}}, nil
		})
		s := newSource(t, agent, SourceOptions{})
		if _, err := s.Authorization(soon(t)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if _, err := s.Authorization(soon(t)); err == nil {
			t.Errorf("%s: after its end there is something to show", name)
		}
	}
	api.Answer(nil)
	if _, err := newSource(t, agent, SourceOptions{}).Token(soon(t)); err == nil || !strings.Contains(err.Error(), "registration entry") {
		t.Errorf("denied: %v", err)
	}
}

// Who asks waits no longer than its context.
func TestSourceOfSilentAPI(t *testing.T) {
	api := spiretest.Serve(t)
	release := make(chan struct{})
	api.Answer(func(*workload.JWTSVIDRequest) (*workload.JWTSVIDResponse, error) {
		<-release
		return nil, status.Error(codes.Internal, "too late")
	})
	t.Cleanup(func() { close(release) })
	agent, _ := agentOf(t, api)
	s := newSource(t, agent, SourceOptions{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := s.Token(ctx); err == nil || !strings.Contains(err.Error(), "it has not answered") {
		t.Errorf("%v", err)
	}
}

// When a token is renewed, and when a request that failed is made again. Rules: P-spiffe-2.
func TestPauses(t *testing.T) {
	for left, want := range map[time.Duration]time.Duration{
		90 * time.Second: time.Minute, time.Hour: 40 * time.Minute, time.Second / 2: shortestRenew, -time.Hour: shortestRenew,
	} {
		if got := renewal(left); got != want {
			t.Errorf("with %v left: renewed after %v, want %v", left, got, want)
		}
	}
	for _, c := range []struct {
		failed int
		left   time.Duration
		want   time.Duration
	}{
		{0, 0, time.Second}, {1, 0, 2 * time.Second}, {4, -time.Hour, 16 * time.Second}, {5, 0, lastPause}, {1000, time.Hour, lastPause},
		{5, 10 * time.Second, 9 * time.Second}, {5, time.Millisecond, shortestRenew},
	} {
		for range 100 {
			if got := retryPause(c.failed, c.left); got > c.want || got < c.want*8/10 {
				t.Fatalf("after %d failures with %v left: %v, want up to %v", c.failed, c.left, got, c.want)
			}
		}
	}
	for failed, want := range []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second, 5 * time.Second, 5 * time.Second} {
		for range 100 {
			r := retry{usualPace, failed}
			if got := r.Next(); got < want/2 || got >= want {
				t.Fatalf("a stream that has ended %d times: %v, want from %v to %v", failed, got, want/2, want)
			}
		}
	}
}
