package jwt

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
)

// Upstream forgets no token before it expires: a key that was taken away still lets in who has shown one of it before.
func TestCacheForgetsWhenKeysChange(t *testing.T) {
	for _, r := range replacements {
		t.Run(r.name, func(t *testing.T) {
			path := place(t, strings.Contains(r.name, "link"), secrets["a"])
			var told notices
			v := newVerifier(t, VerifierOptions{Key: Key{Algorithm: "HS256", Format: PEM, File: path}, Watch: quick(&told)})
			a, b := signed(t, "HS256", secrets["a"], SignerOptions{}), signed(t, "HS256", secrets["b"], SignerOptions{})
			for range 2 {
				if got, why := status(t, v, "Bearer "+a); got != http.StatusOK {
					t.Fatal(got, why)
				}
			}
			if s := v.Stats(); s.Hits != 1 || s.Entries != 1 || s.Bytes == 0 {
				t.Errorf("the cache: %+v", s)
			}
			changed := v.Changed()
			r.replace(t, path, secrets["b"])
			<-changed
			if s := v.Stats(); s.Entries != 0 || s.Bytes != 0 {
				t.Errorf("the cache after the key has changed: %+v", s)
			}
			if got, _ := status(t, v, "Bearer "+a); got != http.StatusUnauthorized {
				t.Errorf("a token of the key that is gone: %d", got)
			}
			if got, why := status(t, v, "Bearer "+b); got != http.StatusOK {
				t.Errorf("a token of the new key: %d %s", got, why)
			}
		})
	}
}

// Upstream reads a list of keys once: who is taken from it is trusted until a restart.
func TestListsOfKeysAreReadAnew(t *testing.T) {
	a, b := idpKeys(t)
	path := place(t, false, jwks(t, a))
	var told notices
	v := newVerifier(t, VerifierOptions{Key: Key{Algorithm: "ES256", Format: JWKS, File: path}, Watch: quick(&told)})
	if got, why := status(t, v, "Bearer "+by(t, 0, "a", "i")); got != http.StatusOK {
		t.Fatal(got, why)
	}
	write(t, path, `{"keys":`)
	until(t, "the fault is told", func() bool { return told.some(path, "is no JWKS") })
	if got, why := status(t, v, "Bearer "+by(t, 0, "a", "i")); got != http.StatusOK || v.Stats().Keys.Failures == 0 {
		t.Errorf("with a bad list: %d %s; %+v", got, why, v.Stats().Keys)
	}
	changed := v.Changed()
	write(t, path, jwks(t, b))
	<-changed
	for which, want := range []int{http.StatusUnauthorized, http.StatusOK} {
		if got, why := status(t, v, "Bearer "+by(t, which, []string{"a", "b"}[which], "i")); got != want {
			t.Errorf("key %d after the change: %d %s", which, got, why)
		}
	}
}

// A token that was verified with the old key while the new one came is not remembered.
func TestCacheRemembersNothingOfOldKeys(t *testing.T) {
	var c cache
	round := c.begin()
	c.clear()
	c.put("token", &auth.Identity{}, round, time.Now().Add(time.Hour), 1)
	if who := c.get("token", time.Now()); who != nil {
		t.Error("it is remembered")
	}
	c.put("token", &auth.Identity{}, c.begin(), time.Now().Add(time.Hour), 1)
	if who := c.get("token", time.Now()); who == nil {
		t.Error("it is not remembered with the new key")
	}
}

// A token is remembered until exp and not a moment longer, though it counts a minute more.
func TestCacheEndsWithExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVerifier(t, VerifierOptions{Key: Key{Algorithm: "HS256", Format: PEM, Data: secrets["a"]}})
		token := signed(t, "HS256", secrets["a"], SignerOptions{})
		for i, c := range []struct {
			sleep time.Duration
			hits  uint64
		}{{0, 0}, {Life - time.Nanosecond, 1}, {time.Nanosecond, 1}, {time.Second, 1}} {
			time.Sleep(c.sleep)
			if got, why := status(t, v, "Bearer "+token); got != http.StatusOK || v.Stats().Hits != c.hits {
				t.Errorf("step %d: %d %s, %d hits, want %d", i, got, why, v.Stats().Hits, c.hits)
			}
		}
	})
}

// What is over takes no room any more once it was asked for.
func TestCacheForgetsWhatIsOver(t *testing.T) {
	var c cache
	now := time.Now()
	c.put("token", &auth.Identity{}, c.begin(), now, 100)
	if who := c.get("token", now); who != nil {
		t.Error("it counts at its end")
	}
	if entries, bytes := c.size(); entries != 0 || bytes != 0 {
		t.Errorf("%d entries of %d bytes are left", entries, bytes)
	}
}

// Upstream's cache has no bound: whoever may make tokens fills the memory. Here the last used ones stay.
func TestCacheIsBounded(t *testing.T) {
	var c cache
	end := time.Now().Add(time.Hour)
	for i := range maxEntries + 10 {
		c.put(fmt.Sprint(i), &auth.Identity{}, 0, end, 10)
		c.get("0", time.Now()) // stays in use
	}
	if n, b := c.size(); n != maxEntries || b != 10*maxEntries {
		t.Errorf("%d entries of %d bytes", n, b)
	}
	if c.get("0", time.Now()) == nil || c.get("1", time.Now()) != nil || c.get(fmt.Sprint(maxEntries+9), time.Now()) == nil {
		t.Error("it is not the one that was used longest ago that is forgotten")
	}
	for i := range 10 {
		c.put(fmt.Sprint("large", i), &auth.Identity{}, 0, end, maxCacheBytes/4)
	}
	if n, b := c.size(); n != 4 || b != maxCacheBytes {
		t.Errorf("%d entries of %d bytes", n, b)
	}
	c.put("too large", &auth.Identity{}, 0, end, maxCacheBytes+1)
	if n, _ := c.size(); n != 4 {
		t.Errorf("%d entries after one that is too large", n)
	}
	c.put("large9", &auth.Identity{}, 0, end, 1) // again
	if n, b := c.size(); n != 4 || b != maxCacheBytes/4*3+1 {
		t.Errorf("%d entries of %d bytes after the same again", n, b)
	}
}

// What an entry is said to take is more than what it takes.
func TestCacheCountsWhatClaimsTake(t *testing.T) {
	v := newVerifier(t, VerifierOptions{Key: Key{Algorithm: "HS256", Format: PEM, Data: secrets["a"]}})
	small := v.Stats().Bytes
	payload := fmt.Sprintf(`{"exp":%d,"x":[%s0]}`, time.Now().Unix()+100, strings.Repeat("0,", 4000))
	if _, err := v.VerifyToken(context.Background(), hs256(`{"alg":"HS256"}`, payload, secrets["a"])); err != nil {
		t.Fatal(err)
	}
	if got := v.Stats().Bytes - small; got < 4000*(16+16) { // an interface, and the header of a string, each
		t.Errorf("a list of 4,000 numbers counts as %d bytes", got)
	}
}
