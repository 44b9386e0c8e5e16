package jwt

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/auth/fetch"
)

const (
	keysLife   = time.Hour        // of fetched keys, as upstream
	renewAfter = 45 * time.Minute // they are asked for again, so that nobody has to wait, and a provider may be away for a while
	renewEvery = time.Minute      // how often it is looked for whose keys are that old
	fetchLimit = 20 * time.Second // for discovery and keys together
	retryAfter = 10 * time.Second // an issuer whose keys could not be had is not asked again before

	maxIssuers    = 64              // whose keys are kept, or as many as are listed
	strangerBurst = 10              // issuers that nobody listed and that are asked for the first time, at once;
	strangerPace  = 2 * time.Second // then one each
	strangerWaits = 16              // requests that wait for keys of such, before a token of theirs was verified, or of anybody for an unknown kid
)

// issuers has the keys of those who sign (P-jwt-8). Safe for all.
type issuers struct {
	listed  []string // empty: any
	client  *fetch.Client
	ask     func(ctx context.Context, name string) (jwks []byte, from string, err error) // discover, but in tests
	told    func(Notice)
	changed func() // the keys of one are others than before, or are forgotten; may be called with mu

	life   context.Context // of fetches: nobody who waits for one ends it
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	mu        sync.Mutex
	known     map[string]*issuer
	strangers time.Time // when the burst is full again
	waiting   int       // as strangers
	fetches   uint64
	failures  uint64
	loaded    time.Time
}

// issuer is one whose keys were asked for. All is guarded by issuers.mu.
type issuer struct {
	name    string
	keys    *keySet // nil: none yet
	sum     [sha256.Size]byte
	fetched time.Time // keys were
	used    time.Time
	proven  bool // a token of theirs was verified
	awaited bool // somebody is to be told when there are keys for the first time
	tried   time.Time
	err     error         // of the last try
	since   time.Time     // all tries have failed
	flight  chan struct{} // closed when what is going on is over; nil: nothing is
	unknown fetch.Pace    // of tokens whose kid is unknown
}

// askTimeout is how long an issuer may take to answer a request. Tests lengthen it.
var askTimeout = fetch.DefaultTimeout

func newIssuers(listed []string, strict bool, trust *tls.Config, told func(Notice), changed func()) *issuers {
	r := &issuers{listed: listed, told: told, changed: changed, known: map[string]*issuer{},
		client: fetch.New(fetch.Options{Timeout: askTimeout, Plain: !strict, TLS: trust})}
	r.ask = r.discover
	r.life, r.cancel = context.WithCancel(context.Background())
	r.tasks.Go(r.renew)
	return r
}

func (r *issuers) close() {
	r.mu.Lock() // nothing is begun after it
	r.cancel()
	r.mu.Unlock()
	r.client.Close()
	r.tasks.Wait()
}

// keys returns the keys of an issuer, and when they were fetched. It waits for them if there are none, or none that are young
// enough. An error is a *fault.
func (r *issuers) keys(ctx context.Context, name string) (*keySet, time.Time, error) {
	if err := r.askable(name); err != nil {
		return nil, time.Time{}, err
	}
	r.mu.Lock()
	now := time.Now()
	i, err := r.enter(name, now)
	if err != nil {
		r.mu.Unlock()
		return nil, time.Time{}, err
	}
	if i.keys != nil && now.Sub(i.fetched) < keysLife {
		defer r.mu.Unlock()
		return i.keys, i.fetched, nil
	}
	if i.flight == nil && i.err != nil && now.Sub(i.tried) < retryAfter {
		defer r.mu.Unlock()
		return nil, time.Time{}, i.unavailable()
	}
	return r.wait(ctx, i, r.stranger(i))
}

// askable returns why the keys of an issuer are not fetched.
func (r *issuers) askable(name string) error {
	if len(r.listed) > 0 && !slices.Contains(r.listed, name) {
		return &fault{BadIssuer, "the claim iss is of nobody who is listed, and is not asked"}
	}
	if _, err := issuerURL(name); err != nil {
		return &fault{BadIssuer, err.Error()}
	}
	return nil
}

// latest returns the keys of an issuer that came last, however long ago, and when. It waits for nobody: if there are none they are asked
// for, and changed is called when they have come.
func (r *issuers) latest(name string) (*keySet, time.Time, error) {
	if err := r.askable(name); err != nil {
		return nil, time.Time{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	i, err := r.enter(name, now)
	switch {
	case err != nil:
		return nil, time.Time{}, err
	case i.keys != nil:
		return i.keys, i.fetched, nil
	}
	i.awaited = true
	if i.err == nil || now.Sub(i.tried) >= retryAfter {
		r.start(i)
	}
	return nil, time.Time{}, &fault{Unavailable, "the keys of the issuer are not there yet"}
}

// after returns keys that are newer than those which were seen, or these, if an unknown kid may not have them asked for now.
func (r *issuers) after(ctx context.Context, name string, seen *keySet, at time.Time) (*keySet, time.Time, error) {
	r.mu.Lock()
	i := r.known[name]
	switch {
	case i == nil:
	case i.keys != seen && i.keys != nil:
		defer r.mu.Unlock()
		return i.keys, i.fetched, nil
	case r.waiting >= strangerWaits: // else whoever makes up kids fills, while an issuer is slow, the places of those who have right ones
	case i.flight != nil || i.unknown.Try(time.Now()):
		return r.wait(ctx, i, true)
	}
	r.mu.Unlock()
	return seen, at, nil
}

// wait has the keys fetched, unless that is going on, and waits for it. stranger: the token is of an issuer that nobody listed, or of a kid
// that is unknown. It is called with mu, and unlocks it.
func (r *issuers) wait(ctx context.Context, i *issuer, stranger bool) (*keySet, time.Time, error) {
	if stranger && r.waiting >= strangerWaits {
		r.mu.Unlock()
		return nil, time.Time{}, &fault{Unavailable, "too many requests wait for keys of issuers that nobody listed, or that are unknown"}
	}
	r.start(i)
	flight := i.flight
	if stranger {
		r.waiting++
	}
	r.mu.Unlock()
	var late *fault
	if flight != nil {
		select {
		case <-flight:
		case <-ctx.Done():
			late = &fault{Unavailable, "the keys of the issuer are not there in time"}
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if stranger {
		r.waiting--
	}
	if late != nil {
		return nil, time.Time{}, late
	}
	if i.keys == nil || time.Since(i.fetched) >= keysLife {
		return nil, time.Time{}, i.unavailable()
	}
	return i.keys, i.fetched, nil
}

func (i *issuer) unavailable() *fault {
	if i.err == nil {
		return &fault{Closed, closedText}
	}
	return &fault{Unavailable, fmt.Sprintf("the keys of the issuer cannot be had: %v", i.err)}
}

// enter returns the issuer of a name. With mu.
func (r *issuers) enter(name string, now time.Time) (*issuer, error) {
	if i := r.known[name]; i != nil {
		i.used = now
		return i, nil
	}
	if len(r.listed) == 0 {
		begin := now.Add(-strangerBurst * strangerPace)
		if r.strangers.Before(begin) {
			r.strangers = begin
		}
		if r.strangers = r.strangers.Add(strangerPace); r.strangers.After(now) {
			r.strangers = r.strangers.Add(-strangerPace)
			return nil, &fault{Unavailable, "too many tokens of different issuers that nobody listed: this one is not asked now"}
		}
	}
	if len(r.known) >= max(maxIssuers, len(r.listed)) && !r.evict() { // never of those who are listed
		return nil, &fault{Unavailable, "the keys of too many issuers are being fetched"}
	}
	i := &issuer{name: name, used: now}
	r.known[name] = i
	return i, nil
}

// evict forgets one: of those who have proven nothing, if there are any, the one that was asked for longest ago. With mu.
func (r *issuers) evict() bool {
	var out *issuer
	for _, i := range r.known {
		if i.flight == nil && (out == nil || out.proven && !i.proven || out.proven == i.proven && i.used.Before(out.used)) {
			out = i
		}
	}
	if out == nil {
		return false
	}
	delete(r.known, out.name)
	if out.keys != nil { // nobody hears of their end any more
		r.changed()
	}
	return true
}

// proven notes that a token of an issuer was verified: its keys are renewed from now on.
func (r *issuers) proven(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := r.known[name]; i != nil {
		i.proven = true
	}
}

// stranger reports whether nobody has listed an issuer, and no token of theirs was verified. With mu.
func (r *issuers) stranger(i *issuer) bool { return len(r.listed) == 0 && !i.proven }

// start fetches the keys of an issuer, unless that is going on, or all has ended. With mu.
func (r *issuers) start(i *issuer) {
	if i.flight != nil || r.life.Err() != nil {
		return
	}
	flight := make(chan struct{})
	i.flight = flight
	r.fetches++
	r.tasks.Go(func() {
		ctx, cancel := context.WithTimeout(r.life, fetchLimit)
		defer cancel()
		b, from, err := r.ask(ctx, i.name)
		var keys *keySet
		var warnings []string
		if err == nil {
			if keys, warnings, err = parseSet(b, true, false); err != nil {
				err = fmt.Errorf("%s %w", from, err)
			}
		}
		r.landed(i, b, keys, warnings, err)
		close(flight)
	})
}

// landed takes what was fetched.
func (r *issuers) landed(i *issuer, b []byte, keys *keySet, warnings []string, err error) {
	now := time.Now()
	r.mu.Lock()
	i.flight, i.tried = nil, now
	before := i.err
	i.err = err
	others := false
	if err == nil {
		sum := sha256.Sum256(b)
		if others = i.keys == nil || sum != i.sum; others {
			others = i.keys != nil || i.awaited
			i.keys, i.sum, i.awaited = keys, sum, false
		} else {
			warnings = nil // they were said
		}
		i.fetched, r.loaded = now, now
	} else if r.life.Err() == nil {
		r.failures++
	}
	if err != nil && before == nil {
		i.since = now
	}
	// What strangers can cause is counted, and not said: there is no end of issuers.
	quiet := r.life.Err() != nil || r.stranger(i)
	r.mu.Unlock()
	if others {
		r.changed()
	}
	switch {
	case quiet:
	case err != nil && (before == nil || before.Error() != err.Error()):
		r.told(Notice{From: i.name, Err: err})
	case err == nil && (others || before != nil):
		r.told(Notice{From: i.name, Changed: others})
	}
	for _, w := range warnings {
		if !quiet {
			r.told(Notice{From: i.name, Warning: w})
		}
	}
}

// renew asks again, in time, for the keys of those who have proven something. Upstream waits until somebody needs them.
func (r *issuers) renew() {
	for {
		t := time.NewTimer(renewEvery)
		select {
		case <-r.life.Done():
			t.Stop()
			return
		case now := <-t.C:
			r.mu.Lock()
			for _, i := range r.known {
				if i.proven && now.Sub(i.fetched) >= renewAfter && now.Sub(i.tried) >= renewEvery {
					r.start(i)
				}
			}
			r.mu.Unlock()
		}
	}
}

// reload asks for all keys again.
func (r *issuers) reload() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, i := range r.known {
		r.start(i)
	}
}

// issuerURL parses the claim iss, from which URLs are made.
func issuerURL(name string) (*url.URL, error) {
	u, err := url.Parse(name)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("the claim iss is no URL of the form https://HOST/PATH, whose keys could be fetched")
	}
	if u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.User != nil || strings.ContainsAny(name, "#") {
		return nil, errors.New("the claim iss is a URL with more than scheme, host and path, whose keys are not fetched")
	}
	return u, nil
}

// discover gets the JWKS of an issuer, by its discovery document if it has one (OpenID Connect Discovery 1.0 section 4), and says where
// from.
func (r *issuers) discover(ctx context.Context, name string) (b []byte, from string, err error) {
	base := strings.TrimRight(name, "/")
	at := base + "/.well-known/jwks.json"
	reply, err := r.client.Get(ctx, base+"/.well-known/openid-configuration")
	if err != nil {
		return nil, "", err
	}
	var doc struct {
		Issuer *string `json:"issuer"`
		JWKS   string  `json:"jwks_uri"`
	}
	if reply.Status == http.StatusOK && reply.Decode(&doc) == nil && doc.JWKS != "" {
		if doc.Issuer != nil && strings.TrimRight(*doc.Issuer, "/") != base {
			return nil, "", errors.New("its discovery document is of another issuer")
		}
		own, err := url.Parse(name)
		if err != nil {
			return nil, "", err
		}
		keys, err := url.Parse(doc.JWKS)
		if err != nil || !fetch.SameOrigin(own, keys) {
			return nil, "", errors.New("its discovery document has a jwks_uri of another scheme, host or port")
		}
		at = doc.JWKS
	}
	if reply, err = r.client.Get(ctx, at); err != nil {
		return nil, "", err
	}
	if err := reply.OK(); err != nil {
		return nil, "", err
	}
	return reply.Body, at, nil
}
