// Package discovery finds the other replicas of a node: in a list, by DNS, or from Kubernetes.
//
//	Source ──Run──▶ all peers that there are now, again after each change ──▶ who dials them
//
// A Source tells states, not events: whoever is told compares them with what he has, so nothing is lost that comes too
// fast, and what a Source missed while it was cut off is made up for by the next state. A Source that learns nothing for a
// while leaves the last state as it is: links to peers do not depend on the discovery that has found them.
package discovery

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// MaxPeers bounds what a Source tells: 256, with which a node can be linked, and itself. Of more, those that sort first are told.
const MaxPeers = 257

// ErrTooMany is what a Source says when it finds more than MaxPeers.
var ErrTooMany = fmt.Errorf("more than %d replicas are found: a node can be linked with no more, and those that sort last are not reached", MaxPeers)

// Peer is a replica, as a Source knows it; the node that asks may be among them.
type Peer struct {
	Node    string // its node id; "": not known before it is dialled
	Address string // HOST:PORT of its data plane, or what the Source was given in its place
}

// Key tells peers apart: one that has changed its address is the same.
func (p Peer) Key() string {
	if p.Node != "" {
		return p.Node
	}
	return p.Address
}

// Source is a way to find peers.
type Source interface {
	// Run calls told with all peers that there are, sorted by Peer.Key, as soon as it knows them and whenever that changes, one
	// call at a time. It returns when ctx has ended. What it cannot do, it says to failed, once for each reason in a row, and
	// goes on; nil means that it works again, which does not count for ErrTooMany.
	Run(ctx context.Context, told func([]Peer), failed func(error))
}

// Static are peers that are known beforehand.
type Static []Peer

// Run implements Source.
func (s Static) Run(ctx context.Context, told func([]Peer), failed func(error)) {
	r := &reports{told: told, failed: failed}
	r.peers(slices.Clone(s))
	<-ctx.Done()
}

// sorted orders peers and leaves out those with the key of another.
func sorted(all []Peer) []Peer {
	slices.SortStableFunc(all, func(a, b Peer) int { return strings.Compare(a.Key(), b.Key()) })
	return slices.CompactFunc(all, func(a, b Peer) bool { return a.Key() == b.Key() })
}

// reports calls told and failed for a Source, and only when there is something new. Owned by its Run.
type reports struct {
	told   func([]Peer)
	failed func(error)

	last   []Peer
	begun  bool   // told was called
	reason string // of the last failure; "": it works
	many   bool   // there were too many the last time
}

func (r *reports) peers(all []Peer) {
	all = sorted(all)
	many := len(all) > MaxPeers
	if many && !r.many {
		r.failed(ErrTooMany)
	}
	r.many = many
	if all = all[:min(len(all), MaxPeers)]; r.begun && slices.Equal(all, r.last) {
		return
	}
	r.last, r.begun = all, true
	r.told(all)
}

// outcome notes what has come of an attempt.
func (r *reports) outcome(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != r.reason {
		r.reason = text
		r.failed(err)
	}
}

// backoff is the pause after so many failures in a row: it doubles from first to most, less up to a half by chance.
func backoff(failures int, first, most time.Duration, random func() float64) time.Duration {
	d := most
	if failures < 16 {
		d = min(most, first<<max(0, failures-1))
	}
	return d - time.Duration(float64(d)*random()/2)
}

// sleep waits, and reports whether ctx has not ended.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
