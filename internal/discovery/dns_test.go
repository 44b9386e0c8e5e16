package discovery

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// zone is a Resolver of names that the test changes.
type zone struct {
	mu    sync.Mutex
	hosts map[string][]string
	srv   []*net.SRV
	err   error
}

func (z *zone) set(f func()) {
	z.mu.Lock()
	defer z.mu.Unlock()
	f()
}

func (z *zone) LookupNetIP(_ context.Context, _, host string) (out []netip.Addr, err error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.err != nil {
		return nil, z.err
	}
	if len(z.hosts[host]) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	for _, a := range z.hosts[host] {
		out = append(out, netip.MustParseAddr(a))
	}
	return out, nil
}

func (z *zone) LookupSRV(_ context.Context, _, _, name string) (string, []*net.SRV, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	return name, z.srv, z.err
}

// The addresses of a name come and go. An answer that there are none is one; no answer is none. Rules: P-disc-4.
func TestDNSIsAskedAgain(t *testing.T) {
	z := &zone{hosts: map[string][]string{"slim.example": {"10.0.0.2", "10.0.0.1", "fd00::1", "::ffff:10.0.0.1"}}}
	f := follow(t, &DNS{Name: "slim.example", Port: 46357, Interval: time.Millisecond, Resolver: z})
	f.wants("=10.0.0.1:46357", "=10.0.0.2:46357", "=[fd00::1]:46357")
	z.set(func() { z.hosts["slim.example"] = []string{"10.0.0.2"} })
	f.wants("=10.0.0.2:46357")
	z.set(func() { z.hosts = nil })
	f.wants()
	z.set(func() { z.hosts = map[string][]string{"slim.example": {"10.0.0.3"}} })
	f.wants("=10.0.0.3:46357")
	z.set(func() { z.err = errors.New("server misbehaving") })
	f.fails("addresses of slim.example: server misbehaving")
	z.set(func() { z.err = nil })
	f.fails("")
	if len(f.states) > 0 {
		t.Errorf("without an answer there is another state: %v", <-f.states)
	}
}

func TestServiceRecordsHavePorts(t *testing.T) {
	z := &zone{hosts: map[string][]string{"a.example.": {"10.0.0.1"}, "b.example.": {"10.0.0.2"}},
		srv: []*net.SRV{{Target: "b.example.", Port: 2}, {Target: "a.example.", Port: 1}, {Target: "c.example.", Port: 3}}}
	f := follow(t, &DNS{Name: "_slim._tcp.example", Interval: time.Hour, Resolver: z})
	f.wants("=10.0.0.1:1", "=10.0.0.2:2")
}

func TestBackoffGrowsToItsBound(t *testing.T) {
	none, all := func() float64 { return 0 }, func() float64 { return 1 }
	for i, want := range []float64{1, 1, 2, 4, 8, 10, 10} {
		if got := backoff(i, time.Second, 10*time.Second, none).Seconds(); got != want {
			t.Errorf("pause %d is %v s, want %v s", i, got, want)
		}
	}
	if got := backoff(100, time.Second, 10*time.Second, all); got != 5*time.Second {
		t.Errorf("with the most luck the longest pause is %v, want 5s", got)
	}
}

func TestStaticTellsOnce(t *testing.T) {
	f := follow(t, Static{{Node: "b", Address: "y"}, {Node: "a", Address: "x"}, {Node: "b", Address: "z"}})
	f.wants("a=x", "b=y")
}

// Of more replicas than a node can be linked with those that sort first are told, and that there are others is said once. Rules: P-disc-1.
func TestTooManyReplicas(t *testing.T) {
	var all []string
	for i := range MaxPeers + 40 {
		all = append(all, netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}).String())
	}
	z := &zone{hosts: map[string][]string{"slim.example": all[:MaxPeers]}}
	f := follow(t, &DNS{Name: "slim.example", Port: 1, Interval: time.Millisecond, Resolver: z})
	if got := <-f.states; len(got) != MaxPeers {
		t.Fatalf("%d peers are told, want %d", len(got), MaxPeers)
	}
	z.set(func() { z.hosts["slim.example"] = all })
	f.fails(ErrTooMany.Error())
	z.set(func() { z.hosts["slim.example"] = all[:2] })
	f.wants("=10.0.0.0:1", "=10.0.0.1:1")
	z.set(func() { z.hosts["slim.example"] = all[:MaxPeers+1] })
	f.fails(ErrTooMany.Error())
	if len(f.faults) > 0 {
		t.Errorf("it is said again: %q", <-f.faults)
	}
	var list Static
	for _, a := range all {
		list = append(list, Peer{Node: a, Address: a})
	}
	follow(t, list).fails(ErrTooMany.Error())
}
