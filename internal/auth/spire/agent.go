package spire

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
)

// maxUpdate bounds a message of the API, in bytes: all SVIDs, keys and bundles together.
const maxUpdate = 4 << 20

// pace is how long an Agent waits for what.
type pace struct {
	start       time.Duration // of a start, for an API that accepts connections and says nothing
	first, last time.Duration // before a stream that has ended is opened again
}

var usualPace = pace{start: 5 * time.Second, first: 500 * time.Millisecond, last: 5 * time.Second}

// Agent is a connection to a Workload API. Its streams are opened when somebody wants what they give. Safe for all.
type Agent struct {
	address string
	opt     *Options
	client  *workloadapi.Client // nil: offline
	ctx     context.Context     // ends with close
	cancel  context.CancelFunc
	running sync.WaitGroup

	x509     *watched[x509State]
	jwt      *watched[jwtbundle.Set]
	openX509 sync.Once
	openJWT  sync.Once

	mu      sync.Mutex
	closed  bool            // guarded by mu; nothing is opened any more
	failing map[string]bool // guarded by mu; what is asked for and not given
	loads   auth.Loads      // guarded by mu; of all that is asked for
}

// x509State is one update of X.509 material. Immutable.
type x509State struct {
	own     *tls.Certificate
	id      spiffeid.ID
	bundles *x509bundle.Set
}

func newAgent(address string, o *Options) (*Agent, error) {
	a := &Agent{address: address, opt: o, x509: newWatched[x509State](), jwt: newWatched[jwtbundle.Set](), failing: map[string]bool{}}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	if o.Offline {
		err := errors.New("the Workload API is not asked")
		a.x509.report(err)
		a.jwt.report(err)
		return a, nil
	}
	var err error
	a.client, err = workloadapi.New(a.ctx, workloadapi.WithAddr(address), workloadapi.WithBackoffStrategy(o.pace), workloadapi.WithDialOptions(
		grpc.WithNoProxy(), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxUpdate)),
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: o.pace.start,
			Backoff: backoff.Config{BaseDelay: o.pace.first, Multiplier: 2, Jitter: 0.2, MaxDelay: o.pace.last}})))
	if err != nil {
		a.cancel()
		return nil, fmt.Errorf("Workload API at %s: %w", address, err)
	}
	return a, nil
}

func (a *Agent) close() {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.cancel()
	a.running.Wait()
	if a.client != nil {
		_ = a.client.Close()
	}
	a.x509.report(errClosed)
	a.jwt.report(errClosed)
}

// run has do run until the Agent is closed, which do has to see by its context.
func (a *Agent) run(do func(context.Context)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.closed && a.client != nil {
		a.running.Go(func() { do(a.ctx) })
	}
}

// wantX509 opens the stream of SVIDs and bundles, and waits a moment for what it gives first.
func (a *Agent) wantX509() {
	a.openX509.Do(func() {
		a.run(func(ctx context.Context) {
			again(ctx, a.opt.pace.last, func() { _ = a.client.WatchX509Context(ctx, &x509Watcher{a}) })
		})
		ctx, cancel := context.WithTimeout(a.ctx, a.opt.pace.start)
		defer cancel()
		a.x509.await(ctx)
	})
}

// wantJWT opens the stream of bundles that JWT-SVIDs are judged by, and waits a moment for what it gives first.
func (a *Agent) wantJWT() {
	a.openJWT.Do(func() {
		a.run(func(ctx context.Context) {
			again(ctx, a.opt.pace.last, func() { _ = a.client.WatchJWTBundles(ctx, &jwtWatcher{a}) })
		})
		ctx, cancel := context.WithTimeout(a.ctx, a.opt.pace.start)
		defer cancel()
		a.jwt.await(ctx)
	})
}

// again has watch run until ctx ends, with pauses: the library gives up at some answers, such as one that an agent gives while it stops.
func again(ctx context.Context, pause time.Duration, watch func()) {
	for ctx.Err() == nil {
		watch()
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// note tells when what is asked for fails or works, if it did otherwise before.
func (a *Agent) note(what string, err error) {
	a.mu.Lock()
	was := len(a.failing) > 0
	if err == nil {
		delete(a.failing, what)
	} else {
		a.failing[what] = true
	}
	is := len(a.failing) > 0
	switch {
	case err != nil:
		a.loads.Fail(time.Now(), err)
	case is: // something else still fails
		a.loads.Loaded = time.Now()
	default:
		a.loads.Succeed(time.Now(), true)
	}
	tell := was != is && !a.closed
	a.mu.Unlock()
	if tell {
		a.opt.Told(a.address, err)
	}
}

// forget drops what nobody asks for any more.
func (a *Agent) forget(what string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if delete(a.failing, what); len(a.failing) == 0 {
		a.loads.Succeed(time.Now(), false)
	}
}

// Words for note, beside those of Sources.
const (
	askedX509 = "X.509-SVID"
	askedJWT  = "JWT bundles"
)

// x509Watcher takes updates of X.509 material.
type x509Watcher struct{ *Agent }

func (w *x509Watcher) OnX509ContextUpdate(c *workloadapi.X509Context) {
	svid := c.DefaultSVID()
	s := &x509State{id: svid.ID, bundles: c.Bundles, own: &tls.Certificate{PrivateKey: svid.PrivateKey, Leaf: svid.Certificates[0]}}
	for _, x := range svid.Certificates {
		s.own.Certificate = append(s.own.Certificate, x.Raw)
	}
	old, _ := w.x509.get()
	if until := s.own.Leaf.NotAfter; w.opt.Now().After(until) {
		// As upstream: it would be refused by all, and what came before may still be good.
		w.fail(fmt.Errorf("it gave a certificate for %s that had expired at %s", s.id, until.UTC().Format(time.RFC3339)))
		return
	}
	if old == nil || !s.same(old) {
		w.x509.set(s)
	}
	w.x509.report(nil)
	w.note(askedX509, nil)
}

func (w *x509Watcher) OnX509ContextWatchError(err error) {
	if w.ctx.Err() == nil {
		w.fail(worded(err))
	}
}

func (w *x509Watcher) fail(err error) {
	w.note(askedX509, err) // before anybody acts on it
	w.x509.report(err)
}

func (s *x509State) same(o *x509State) bool {
	if len(s.own.Certificate) != len(o.own.Certificate) || s.bundles.Len() != o.bundles.Len() {
		return false
	}
	for i := range s.own.Certificate {
		if !bytes.Equal(s.own.Certificate[i], o.own.Certificate[i]) {
			return false
		}
	}
	for _, b := range s.bundles.Bundles() {
		if other, has := o.bundles.Get(b.TrustDomain()); !has || !b.Equal(other) {
			return false
		}
	}
	return true
}

// jwtWatcher takes updates of bundles for JWT-SVIDs.
type jwtWatcher struct{ *Agent }

func (w *jwtWatcher) OnJWTBundlesUpdate(set *jwtbundle.Set) {
	old, _ := w.jwt.get()
	if old == nil || !sameBundles(set, old) {
		w.jwt.set(set)
	}
	w.jwt.report(nil)
	w.note(askedJWT, nil)
}

func (w *jwtWatcher) OnJWTBundlesWatchError(err error) {
	if w.ctx.Err() == nil {
		err = worded(err)
		w.note(askedJWT, err)
		w.jwt.report(err)
	}
}

func sameBundles(s, o *jwtbundle.Set) bool {
	if s.Len() != o.Len() {
		return false
	}
	for _, b := range s.Bundles() {
		if other, has := o.Get(b.TrustDomain()); !has || !b.Equal(other) {
			return false
		}
	}
	return true
}

// fetch asks for a JWT-SVID. what tells those that are asked for apart.
func (a *Agent) fetch(ctx context.Context, what string, p jwtsvid.Params) (*jwtsvid.SVID, error) {
	if a.client == nil {
		_, err := a.jwt.get()
		return nil, err
	}
	svid, err := a.client.FetchJWTSVID(ctx, p)
	if err != nil {
		err = worded(err)
	}
	if !errors.Is(ctx.Err(), context.Canceled) {
		a.note(what, err)
	}
	return svid, err
}

// worded says what an error of the API means for who runs the node.
func worded(err error) error {
	s, isStatus := status.FromError(err)
	if !isStatus {
		return errors.New("its answer makes no sense: " + shortened(err.Error()))
	}
	text := shortened(s.Message())
	switch s.Code() {
	case codes.Unavailable:
		return errors.New("it is away: " + text)
	case codes.PermissionDenied:
		return errors.New("it knows no identity of this process: " + text + " (is there a registration entry whose selectors fit, and has the agent got it?)")
	case codes.ResourceExhausted:
		return fmt.Errorf("it sent more than the %d MiB that are taken: %s", maxUpdate>>20, text)
	}
	return fmt.Errorf("it answered %s: %s", s.Code(), text)
}

// shortened is foreign text as it may be logged.
func shortened(s string) string {
	const most = 300
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	if len(s) > most {
		s = s[:most] + "..."
	}
	return strings.ToValidUTF8(s, "?")
}

// missing says that what an Agent would give has not come yet.
func (a *Agent) missing(what string, fault error) error {
	if fault == nil {
		fault = errors.New("it has not answered")
	}
	return fmt.Errorf("no %s yet from the Workload API at %s: %w", what, a.address, fault)
}

// NewBackoff implements workloadapi.BackoffStrategy: the pause before a stream is opened again is doubled from first to last, and
// shortened at random, so that the processes of a machine do not all come at once to an agent that starts.
func (p pace) NewBackoff() workloadapi.Backoff { return &retry{pace: p} }

type retry struct {
	pace
	failed int
}

func (r *retry) Next() time.Duration {
	pause := min(r.first<<min(r.failed, 8), r.last)
	r.failed++
	return pause/2 + rand.N(pause/2)
}

func (r *retry) Reset() { r.failed = 0 }
