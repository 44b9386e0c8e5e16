package jwt

import (
	"fmt"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
)

// Stats is what an operator asks of a Verifier. Counts are since it was made.
type Stats struct {
	Verified   uint64             // tokens, by Verify
	Hits       uint64             // that the cache knew
	Denied     [numReasons]uint64 // by Reason, also by Again
	Mismatches uint64             // of subject and key that BindWarn or BindEnforce has seen

	// Entries and Bytes are what the cache holds, within maxEntries and maxCacheBytes.
	Entries, Bytes int

	// Keys is how loads of the key's file, or of issuers' keys, went.
	Keys    auth.Loads
	Fetches uint64 // of issuers' keys
}

// Stats returns counts of now.
func (v *Verifier) Stats() Stats {
	s := Stats{Verified: v.verified.Load(), Hits: v.hits.Load(), Mismatches: v.mismatches.Load()}
	for r := range s.Denied {
		s.Denied[r] = v.denied[r].Load()
	}
	s.Entries, s.Bytes = v.cache.size()
	s.Keys = v.Loads()
	if v.from != nil {
		s.Fetches = v.from.fetched()
	}
	return s
}

// Loads returns how loads of the key's file, or of issuers' keys, went. It is an auth.Loader.
func (v *Verifier) Loads() auth.Loads {
	if v.key != nil {
		return v.key.status()
	}
	return v.from.status()
}

// status returns how fetches went. Their fault is that of the issuer whose keys cannot be had for longest; strangers, of whom there
// is no end, do not count.
func (r *issuers) status() auth.Loads {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := auth.Loads{Loaded: r.loaded, Failures: r.failures}
	for _, i := range r.known {
		if i.err != nil && !r.stranger(i) && (s.Fault == nil || i.since.Before(s.Failed)) {
			s.Fault, s.Failed = fmt.Errorf("%s: %w", i.name, i.err), i.since
		}
	}
	return s
}

func (r *issuers) fetched() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.fetches
}
