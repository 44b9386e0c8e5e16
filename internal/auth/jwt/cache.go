package jwt

import (
	"container/list"
	"crypto/sha256"
	"sync"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
)

// Bounds of a Verifier's cache.
const (
	maxEntries    = 4096
	maxCacheBytes = 16 << 20 // about, with what the claims take
)

// cache remembers tokens that were verified (P-jwt-13). Safe for all.
type cache struct {
	mu      sync.Mutex
	round   uint64 // of keys
	entries map[[sha256.Size]byte]*list.Element
	recent  list.List // of *entry, the last used first
	bytes   int
}

type entry struct {
	token [sha256.Size]byte // hash: what is kept anyway need not be kept twice
	who   *auth.Identity
	until time.Time
	bytes int
}

// get returns who a token was, unless that has to be asked anew.
func (c *cache) get(token string, now time.Time) *auth.Identity {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.entries[sha256.Sum256([]byte(token))]
	if at == nil {
		return nil
	}
	e := at.Value.(*entry)
	if !e.until.After(now) {
		c.remove(at)
		return nil
	}
	c.recent.MoveToFront(at)
	return e.who
}

// put remembers a token that was verified with the keys of a round, which may be over.
func (c *cache) put(token string, who *auth.Identity, round uint64, until time.Time, bytes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := &entry{token: sha256.Sum256([]byte(token)), who: who, until: until, bytes: bytes}
	if round != c.round || bytes > maxCacheBytes {
		return
	}
	if c.entries == nil {
		c.entries = map[[sha256.Size]byte]*list.Element{}
	}
	if at := c.entries[e.token]; at != nil { // two have come at once
		c.remove(at)
	}
	c.entries[e.token] = c.recent.PushFront(e)
	for c.bytes += bytes; c.bytes > maxCacheBytes || len(c.entries) > maxEntries; {
		c.remove(c.recent.Back())
	}
}

func (c *cache) remove(at *list.Element) {
	e := c.recent.Remove(at).(*entry)
	delete(c.entries, e.token)
	c.bytes -= e.bytes
}

// begin returns the round of the keys that are about to be chosen.
func (c *cache) begin() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.round
}

// clear forgets all, and what is being verified: keys have changed.
func (c *cache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.round++
	c.entries, c.bytes = nil, 0
	c.recent.Init()
}

func (c *cache) size() (entries, bytes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.entries), c.bytes
}
