package spiretest

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// API is a Workload API on a unix socket. What it says can be replaced while it runs; an API that was told nothing answers that it
// knows no identity, as an agent does. Safe for all.
type API struct {
	workload.UnimplementedSpiffeWorkloadAPIServer

	t    testing.TB
	path string

	mu       sync.Mutex
	server   *grpc.Server                                                      // guarded by mu; nil: stopped
	x509     *workload.X509SVIDResponse                                        // guarded by mu; nil: denied
	bundles  *workload.JWTBundlesResponse                                      // guarded by mu; nil: denied
	token    func(*workload.JWTSVIDRequest) (*workload.JWTSVIDResponse, error) // guarded by mu; nil: denied
	fault    error                                                             // guarded by mu; ends all streams and requests
	silent   bool                                                              // guarded by mu; nothing is said
	changed  chan struct{}                                                     // guarded by mu; closed and replaced
	requests []*workload.JWTSVIDRequest                                        // guarded by mu
}

// New returns an API that is not started.
func New(t testing.TB) *API {
	t.Helper()
	dir, err := os.MkdirTemp("", "spire") //nolint:usetesting // t.TempDir is too long
	if err != nil {
		t.Fatal(err)
	}
	a := &API{t: t, path: filepath.Join(dir, "api.sock"), changed: make(chan struct{})}
	t.Cleanup(func() {
		a.Stop()
		_ = os.RemoveAll(dir)
	})
	return a
}

// Serve returns an API that is started.
func Serve(t testing.TB) *API {
	t.Helper()
	a := New(t)
	a.Start()
	return a
}

// Address is that of the socket, which may be away.
func (a *API) Address() string { return "unix://" + a.path }

// Path is that of the socket.
func (a *API) Path() string { return a.path }

// Start opens the socket.
func (a *API) Start() {
	a.t.Helper()
	ln, err := net.Listen("unix", a.path)
	if err != nil {
		a.t.Fatal(err)
	}
	s := grpc.NewServer(grpc.MaxSendMsgSize(64 << 20))
	workload.RegisterSpiffeWorkloadAPIServer(s, a)
	a.mu.Lock()
	a.server = s
	a.mu.Unlock()
	go func() { _ = s.Serve(ln) }()
}

// Stop cuts all connections and removes the socket. Start opens it again.
func (a *API) Stop() {
	a.mu.Lock()
	s := a.server
	a.server = nil
	a.mu.Unlock()
	if s != nil {
		s.Stop()
	}
}

func (a *API) change(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f()
	close(a.changed)
	a.changed = make(chan struct{})
}

// X509 has all streams say this now, and those that come.
func (a *API) X509(r *workload.X509SVIDResponse) { a.change(func() { a.x509 = r }) }

// Bundles has all streams say this now, and those that come.
func (a *API) Bundles(r *workload.JWTBundlesResponse) { a.change(func() { a.bundles = r }) }

// Silence has it say nothing at all from now on, not even that it knows nobody.
func (a *API) Silence() { a.change(func() { a.silent = true }) }

// Fail ends all streams with an error, and refuses what comes with it; nil: no more.
func (a *API) Fail(err error) { a.change(func() { a.fault = err }) }

// Answer has f make tokens.
func (a *API) Answer(f func(*workload.JWTSVIDRequest) (*workload.JWTSVIDResponse, error)) {
	a.change(func() { a.token = f })
}

// Issue has tokens of d for id made, which live so long.
func (a *API) Issue(d *Domain, id string, life time.Duration) {
	a.Answer(func(r *workload.JWTSVIDRequest) (*workload.JWTSVIDResponse, error) {
		return &workload.JWTSVIDResponse{Svids: []*workload.JWTSVID{{SpiffeId: id, Svid: d.Token(a.t, Claims(id, life, r.Audience...))}}}, nil
	})
}

// Requests are those for tokens so far.
func (a *API) Requests() []*workload.JWTSVIDRequest {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.requests
}

// errUnknown is what an agent says to a process without a registration entry.
var errUnknown = status.Error(codes.PermissionDenied, "no identity issued")

// stream sends what now returns whenever it changes.
func stream[T any](a *API, ctx context.Context, now func() *T, send func(*T) error) error {
	if h, _ := metadata.FromIncomingContext(ctx); len(h.Get("workload.spiffe.io")) == 0 {
		return status.Error(codes.InvalidArgument, "security header missing")
	}
	var last *T
	for {
		a.mu.Lock()
		r, fault, changed, silent := now(), a.fault, a.changed, a.silent
		a.mu.Unlock()
		switch {
		case silent:
		case fault != nil:
			return fault
		case r == nil:
			return errUnknown
		case r != last:
			if err := send(r); err != nil {
				return err
			}
			last = r
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// FetchX509SVID is a method of the API.
func (a *API) FetchX509SVID(_ *workload.X509SVIDRequest, s workload.SpiffeWorkloadAPI_FetchX509SVIDServer) error {
	return stream(a, s.Context(), func() *workload.X509SVIDResponse { return a.x509 }, s.Send)
}

// FetchJWTBundles is a method of the API.
func (a *API) FetchJWTBundles(_ *workload.JWTBundlesRequest, s workload.SpiffeWorkloadAPI_FetchJWTBundlesServer) error {
	return stream(a, s.Context(), func() *workload.JWTBundlesResponse { return a.bundles }, s.Send)
}

// FetchJWTSVID is a method of the API.
func (a *API) FetchJWTSVID(_ context.Context, r *workload.JWTSVIDRequest) (*workload.JWTSVIDResponse, error) {
	a.mu.Lock()
	a.requests = append(a.requests, r)
	answer, fault := a.token, a.fault
	a.mu.Unlock()
	switch {
	case fault != nil:
		return nil, fault
	case answer == nil:
		return nil, errUnknown
	}
	return answer(r)
}
