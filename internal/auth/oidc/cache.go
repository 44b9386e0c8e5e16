package oidc

import (
	"crypto/sha256"
	"sync"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
)

// cache remembers who has shown a token, by its hash. It is bounded in number and bytes; upstream's is not. Its zero is empty.
// Safe for all.
type cache struct {
	mu    sync.Mutex
	known map[[sha256.Size]byte]remembered
	bytes int
}

type remembered struct {
	who   *auth.Identity
	bytes int
	until time.Time
}

// get returns what is remembered and neither too old nor expired.
func (c *cache) get(id [sha256.Size]byte, now time.Time) *auth.Identity {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, ok := c.known[id]
	if !ok {
		return nil
	}
	if !now.Before(r.until) {
		c.drop(id, r)
		return nil
	}
	return r.who
}

// put remembers, until a time or the end of the token, whichever is first.
func (c *cache) put(id [sha256.Size]byte, who *auth.Identity, bytes int, until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil {
		c.known = map[[sha256.Size]byte]remembered{}
	}
	if old, ok := c.known[id]; ok {
		c.drop(id, old)
	}
	for other, r := range c.known { // in no order: whoever is dropped is asked for once more
		if len(c.known) < maxCached && c.bytes+bytes <= maxCacheBytes {
			break
		}
		c.drop(other, r)
	}
	if who.Expires.Before(until) {
		until = who.Expires
	}
	c.known[id] = remembered{who, bytes, until}
	c.bytes += bytes
}

func (c *cache) drop(id [sha256.Size]byte, r remembered) {
	delete(c.known, id)
	c.bytes -= r.bytes
}
