package auth

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// throttle says how long the answer to wrong credentials is held back: longer each time for the same ones of the same
// network, and for a network that has tried many. Right ones never ask it. It has a fixed table, in which what has been
// quiet for longest gives way. The zero value is ready. Safe for all. Rules: P-auth-6.
type throttle struct {
	mu   sync.Mutex
	seed maphash.Seed
	sets [][throttleWays]failures // nil before the first failure
}

// failures are those of one credential, or of one network.
type failures struct {
	key  uint64 // 0: the place is free
	n    uint32
	last time.Time
}

const (
	throttleSets = 1024
	throttleWays = 4
	// throttleMemory is how long failures count.
	throttleMemory = 10 * time.Minute
	// throttleStep is how long the second wrong answer for a credential is held back; then twice as long each time.
	throttleStep = 250 * time.Millisecond
	// throttleFree is how many wrong answers a network gets before they are held back whatever was shown.
	throttleFree = 16
)

// wrong notes that a network has shown credentials that are wrong, and returns how long the answer is to be held back.
func (t *throttle) wrong(network netip.Prefix, credential string, now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sets == nil {
		t.sets, t.seed = make([][throttleWays]failures, throttleSets), maphash.MakeSeed()
	}
	var h maphash.Hash
	h.SetSeed(t.seed)
	b, _ := network.MarshalBinary() // never fails
	_ = h.WriteByte(byte(len(b)))
	_, _ = h.Write(b)
	whole := t.count(h.Sum64(), now)
	_, _ = h.WriteString(credential)
	same := t.count(h.Sum64()^1, now)
	return max(growing(same, 1), growing(whole, throttleFree))
}

// count adds a failure to those of a key, and returns how many there are.
func (t *throttle) count(key uint64, now time.Time) uint32 {
	if key == 0 {
		key = 1
	}
	set := &t.sets[key%throttleSets]
	at := 0
	for i := range set {
		if set[i].key == key {
			at = i
			break
		}
		if set[i].last.Before(set[at].last) {
			at = i
		}
	}
	f := &set[at]
	if f.key != key || now.Sub(f.last) > throttleMemory {
		*f = failures{key: key}
	}
	f.n++
	f.last = now
	return f.n
}

// growing is the delay of failure n where so many cost nothing.
func growing(n, free uint32) time.Duration {
	if n <= free {
		return 0
	}
	return throttleStep << min(n-free-1, 16)
}

// networkOf is the network of an address as Shown.Remote has it; the zero value: it has none, as by a unix socket.
func networkOf(remote string) netip.Prefix {
	a, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Prefix{}
	}
	bits := 24
	addr := a.Addr().Unmap().WithZone("")
	if addr.Is6() {
		bits = 64
	}
	p, _ := addr.Prefix(bits) // never fails: the numbers fit
	return p
}
