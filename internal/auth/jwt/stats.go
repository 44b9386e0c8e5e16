package jwt

import "time"

// Stats is what an operator asks of a Verifier. Counts are since it was made.
type Stats struct {
	Verified   uint64             // tokens, by Verify
	Hits       uint64             // that the cache knew
	Denied     [numReasons]uint64 // by Reason, also by Again
	Mismatches uint64             // of subject and key that BindWarn or BindEnforce has seen

	// Entries and Bytes are what the cache holds, within maxEntries and maxCacheBytes.
	Entries, Bytes int

	// Keys is how loads of the key's file, or of issuers' keys, went.
	Keys    Reloads
	Fetches uint64 // of issuers' keys
}

// Stats returns counts of now.
func (v *Verifier) Stats() Stats {
	s := Stats{Verified: v.verified.Load(), Hits: v.hits.Load(), Mismatches: v.mismatches.Load()}
	for r := range s.Denied {
		s.Denied[r] = v.denied[r].Load()
	}
	s.Entries, s.Bytes = v.cache.size()
	if v.key != nil {
		s.Keys = v.key.status()
		return s
	}
	s.Keys, s.Fetches = v.from.status()
	return s
}

// status returns how fetches went. Their fault is that of the issuer which was asked last.
func (r *issuers) status() (Reloads, uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := Reloads{Loaded: r.loaded, Failures: r.failures, Failed: r.failed}
	var last time.Time
	for _, i := range r.known {
		if i.tried.After(last) {
			last, s.Fault = i.tried, i.err
		}
	}
	return s, r.fetches
}
