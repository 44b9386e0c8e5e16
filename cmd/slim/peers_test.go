package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/discovery"
	"github.com/seed31b3bfd0/slimgo/router"
	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/router/transport"
)

// states is a Source of what the test says.
type states chan []discovery.Peer

func (s states) Run(ctx context.Context, told func([]discovery.Peer), _ func(error)) {
	for {
		select {
		case all := <-s:
			told(all)
		case <-ctx.Done():
			return
		}
	}
}

// replica is a node whose peers the test tells it.
type replica struct {
	*router.Node
	addr  string
	found states
	said  *said
}

// said is a log.
type said struct {
	mu   sync.Mutex
	text strings.Builder
}

func (s *said) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *said) count(text string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Count(s.text.String(), text)
}

func startReplica(t *testing.T, id string) *replica {
	t.Helper()
	n, err := router.Start(t.Context(), router.Options{Listen: []string{"127.0.0.1:0"}, NodeID: id})
	if err != nil {
		t.Fatal(err)
	}
	r := &replica{n, n.Addrs()[0].String(), make(states), new(said)}
	l := &peerLinks{node: dataPlane{n}, self: id, source: r.found, log: slog.New(slog.NewTextHandler(r.said, nil)), open: map[string]*peerLink{},
		look: time.NewTicker(10 * time.Millisecond)}
	l.make = func(p discovery.Peer) (router.Link, error) {
		if p.Address == "refused" {
			return router.Link{}, errors.New("no such place")
		}
		return router.Link{Endpoint: p.Address, Kind: table.Peer, Call: transport.Call{Scheme: "http", Authority: p.Address},
			Connect: func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "tcp", p.Address) }}, nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	l.begin(ctx)
	t.Cleanup(func() {
		cancel()
		l.wait()
		end, stop := context.WithTimeout(context.Background(), hang)
		defer stop()
		if err := n.Shutdown(end); err != nil {
			t.Error(err)
		}
	})
	return r
}

// links are the peers of a replica: DIALS or came, and the node id.
func (r *replica) links() (out []string) {
	for _, p := range r.Peers() {
		out = append(out, fmt.Sprintf("%s %v", p.Node, p.Dials))
	}
	slices.Sort(out)
	return out
}

func (r *replica) wants(t *testing.T, want ...string) {
	t.Helper()
	until(t, fmt.Sprintf("links %q", want), func() bool { return slices.Equal(r.links(), want) })
}

// Of two nodes one dials; a peer that nobody answers for, or that cannot even be dialled, delays no other. Rules: P-disc-2.
func TestPeersAreDialledBesideEachOther(t *testing.T) {
	dead, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = dead.Close() }()
	a, b, c := startReplica(t, "a"), startReplica(t, "b"), startReplica(t, "c")
	all := []discovery.Peer{{Node: "a", Address: a.addr}, {Node: "aa", Address: dead.Addr().String()}, {Node: "ab", Address: "refused"},
		{Node: "b", Address: b.addr}, {Node: "c", Address: c.addr}}
	for _, r := range []*replica{a, b, c} {
		r.found <- all
	}
	a.wants(t, "b true", "c true")
	b.wants(t, "a false", "c true")
	c.wants(t, "a false", "b false")
}

// A peer that comes back under its name at another address is dialled there; one that has left loses its link. Rules: P-disc-2.
func TestPeersThatMoveAreFollowed(t *testing.T) {
	a, b, moved := startReplica(t, "a"), startReplica(t, "b"), startReplica(t, "b")
	a.found <- []discovery.Peer{{Node: "b", Address: b.addr}}
	b.wants(t, "a false")
	a.found <- []discovery.Peer{{Node: "b", Address: moved.addr}}
	moved.wants(t, "a false")
	b.wants(t)
	a.found <- nil
	moved.wants(t)
	a.wants(t)
}

// Where discovery knows no node ids both dial: the link of the node that sorts first stays, nobody is linked with himself, and
// when that link is lost, another takes its place. Rules: P-disc-4.
func TestPeersWithoutNamesAreLinkedOnce(t *testing.T) {
	a, b := startReplica(t, "a"), startReplica(t, "b")
	all := []discovery.Peer{{Address: a.addr}, {Address: b.addr}}
	b.found <- all
	b.wants(t, "a true")
	a.found <- all
	b.wants(t, "a false")
	a.wants(t, "b true")
	for r, want := range map[*replica]int{a: 1, b: 0} { // none is left of those to themselves
		until(t, "links that are not needed end", func() bool { return len(r.Node.Links()) == want })
	}
	a.found <- nil
	b.wants(t, "a true")
}

// A name that is spelled wrong is answered like one that nobody has yet: that is said, and once.
func TestADiscoveryThatFindsNobody(t *testing.T) {
	var log said
	l := &peerLinks{self: "a", log: slog.New(slog.NewTextHandler(&log, nil)), open: map[string]*peerLink{}}
	for i, all := range [][]discovery.Peer{nil, {}, {{Node: "a", Address: "own"}}, nil} {
		l.become(all)
		if got, want := log.count("discovery finds no peer"), []int{1, 1, 1, 2}[i]; got != want {
			t.Errorf("after answer %d it was said %d times, want %d", i, got, want)
		}
	}
}

// At the address of a peer another node may answer, since the peer has moved or the list is wrong: the link is one to that, and the
// peer is missing, which is said once.
func TestAnotherNodeAtTheAddressOfAPeer(t *testing.T) {
	a, c := startReplica(t, "a"), startReplica(t, "c")
	a.found <- []discovery.Peer{{Node: "b", Address: c.addr}}
	a.wants(t, "c true")
	const text = "another node answers at the address of a peer"
	until(t, "it is said", func() bool { return a.said.count(text) == 1 })
	a.found <- []discovery.Peer{{Node: "b", Address: c.addr}, {Node: "c", Address: c.addr}}
	a.wants(t, "c true", "c true")
	if n := a.said.count(text); n != 1 {
		t.Errorf("it is said %d times, want once", n)
	}
}
