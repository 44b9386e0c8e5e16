package auth

import "time"

// Loader is a Verifier, a Source, or a part of one, that stands on what may change while the node runs. Safe for all.
type Loader interface {
	// Loads returns how loading it went.
	Loads() Loads
}

// Loads is how loading went of what may change while a node runs: keys, a policy, what a provider publishes. Its zero: there was
// none.
type Loads struct {
	Loaded   time.Time // when what is in use was; zero: nothing is yet
	Failures uint64    // loads that left in use what was there before
	Fault    error     // why the last one has; nil: it went well
	Failed   time.Time // since when all have failed; zero: the last went well
}

// Succeed notes a load that went well; changed says that something else is in use now.
func (l *Loads) Succeed(now time.Time, changed bool) {
	l.Fault, l.Failed = nil, time.Time{}
	if changed {
		l.Loaded = now
	}
}

// Fail notes one that did not.
func (l *Loads) Fail(now time.Time, err error) {
	if l.Failures++; l.Fault == nil {
		l.Failed = now
	}
	l.Fault = err
}
