package spiffe

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/auth/spire"
	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/session/identity/internal/claims"
)

// DefaultAudience is whom JWT-SVIDs are for, as upstream's.
const DefaultAudience = "slim"

// Options say whom to ask, and for what. The zero Options are those of upstream's `spire`.
type Options struct {
	// Socket is where the Workload API listens: unix:///PATH, or a path; "": what the environment variable SPIFFE_ENDPOINT_SOCKET says.
	Socket string
	// Subject is the SPIFFE ID that is asked for, where the workload has several; "": the first.
	Subject string
	// Audiences are those that JWT-SVIDs are for, of which one of others has to be for one; nil: DefaultAudience.
	Audiences []string
	// Peers are those whose tokens are believed: SPIFFE IDs, or spiffe://DOMAIN/PATH/* for all below a path; none: all of all trust domains of which
	// the agent has a bundle. An Identity's, not a Link's.
	Peers []string
	// Logger is told when the Workload API fails, and when it works again; nil: nobody is.
	Logger *slog.Logger
}

// agent returns what asks the Workload API.
func (o *Options) agent() (*spire.Agents, *spire.Agent, []string, error) {
	address, err := spire.Address(o.Socket, os.LookupEnv)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("%w: %w", session.ErrConfig, err)
	}
	log := o.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	all := spire.NewAgents(spire.Options{Told: func(address string, err error) {
		if err != nil {
			log.Error("the Workload API fails: what it has given stays in use while it is good", "address", address, "error", err)
		} else {
			log.Info("the Workload API works again", "address", address)
		}
	}})
	a, err := all.At(address)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("%w: %w", session.ErrConfig, err)
	}
	audiences := slices.Clone(o.Audiences)
	if len(audiences) == 0 {
		audiences = []string{DefaultAudience}
	}
	return all, a, audiences, nil
}

// Identity is an app's. It is a session.TokenSource and a session.ChangingVerifier (P-id-10).
type Identity struct {
	agents    *spire.Agents
	agent     *spire.Agent
	verifier  *spire.Verifier
	audiences []string
	subject   string

	mu      sync.Mutex
	closed  bool             // guarded by mu
	sources map[string]*used // guarded by mu; by public key
	turn    uint64           // guarded by mu
}

// used is where the tokens for a public key come from, and when they were asked for last.
type used struct {
	*spire.Source
	turn uint64
}

// mostSources is for how many public keys tokens are renewed. An app has one, whatever becomes of its sessions.
const mostSources = 16

var (
	_ session.TokenSource      = (*Identity)(nil)
	_ session.ChangingVerifier = (*Identity)(nil)
)

// New returns one. An error, a session.ErrConfig, is an option that is wrong: a Workload API that is away is none, and is asked again. Close
// it after the app.
func New(o Options) (*Identity, error) {
	peers, err := spire.ParsePeers(o.Peers)
	if err != nil {
		return nil, fmt.Errorf("%w: Peers: %w", session.ErrConfig, err)
	}
	agents, agent, audiences, err := o.agent()
	if err != nil {
		return nil, err
	}
	v, err := spire.NewVerifier(agent, spire.VerifierOptions{Audiences: audiences, Peers: peers})
	if err != nil {
		agents.Close()
		return nil, fmt.Errorf("%w: %w", session.ErrConfig, err)
	}
	return &Identity{agents: agents, agent: agent, verifier: v, audiences: audiences, subject: o.Subject, sources: map[string]*used{}}, nil
}

var errClosed = errors.New("this identity was closed")

// Token returns a JWT-SVID for the public key, which is in a further audience. It waits for the Workload API, where it has to.
func (i *Identity) Token(ctx context.Context, publicKey []byte) (string, error) {
	s, err := i.source(publicKey)
	if err != nil {
		return "", err
	}
	return s.Token(ctx)
}

// source returns what has tokens for a public key.
func (i *Identity) source(publicKey []byte) (*used, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.closed {
		return nil, errClosed
	}
	i.turn++
	if s := i.sources[string(publicKey)]; s != nil {
		s.turn = i.turn
		return s, nil
	}
	s, err := spire.NewSource(i.agent, spire.SourceOptions{Audiences: i.audiences, Subject: i.subject, PublicKey: publicKey})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", session.ErrConfig, err)
	}
	if len(i.sources) >= mostSources {
		i.forget()
	}
	u := &used{s, i.turn}
	i.sources[string(publicKey)] = u
	return u, nil
}

// forget lets go of the one that was asked for longest ago. mu is held.
func (i *Identity) forget() {
	var key string
	var oldest *used
	for k, s := range i.sources {
		if oldest == nil || s.turn < oldest.turn {
			key, oldest = k, s
		}
	}
	delete(i.sources, key)
	_ = oldest.Close()
}

// Verify implements session.Verifier.
func (i *Identity) Verify(_ context.Context, token string) (session.Claims, error) {
	who, expired, err := i.verifier.Examine(token)
	if err != nil {
		return session.Claims{}, err
	}
	c, err := claims.Of(who, 0)
	if err != nil {
		return session.Claims{}, err
	}
	// When it was issued says nothing of the order of messages: an app may have several at a time.
	c.Issued = time.Time{}
	if expired {
		return c, session.ErrExpired
	}
	return c, nil
}

// Changed implements session.ChangingVerifier: it tells when a bundle changes.
func (i *Identity) Changed() <-chan struct{} { return i.verifier.Changed() }

// Close ends the connection to the Workload API. No token is made or believed after it.
func (i *Identity) Close() error {
	i.mu.Lock()
	i.closed = true
	all := i.sources
	i.sources = nil
	i.mu.Unlock()
	var errs []error
	for _, s := range all {
		errs = append(errs, s.Close())
	}
	errs = append(errs, i.verifier.Close())
	i.agents.Close()
	return errors.Join(errs...)
}

// Link shows JWT-SVIDs to nodes. It is a session.Authorizer.
type Link struct {
	agents *spire.Agents
	source *spire.Source
}

var _ session.Authorizer = (*Link)(nil)

// NewLink returns one. An error is as that of New. Close it after the app.
func NewLink(o Options) (*Link, error) {
	agents, agent, audiences, err := o.agent()
	if err != nil {
		return nil, err
	}
	s, err := spire.NewSource(agent, spire.SourceOptions{Audiences: audiences, Subject: o.Subject})
	if err != nil {
		agents.Close()
		return nil, fmt.Errorf("%w: %w", session.ErrConfig, err)
	}
	return &Link{agents, s}, nil
}

// Authorization returns "Bearer " and a JWT-SVID that has not expired. It waits for the Workload API, where it has to.
func (l *Link) Authorization(ctx context.Context) (string, error) { return l.source.Authorization(ctx) }

// Close ends the connection to the Workload API.
func (l *Link) Close() error {
	err := l.source.Close()
	l.agents.Close()
	return err
}
