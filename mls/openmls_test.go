//go:build interop && openmls

package mls

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// openmlsProgram is that of testdata/openmls, built into the user's cache folder.
func openmlsProgram(t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(cache, "slimgo-interop", "openmls-peer-0.9.2")
	cargo := exec.CommandContext(t.Context(), "cargo", "build", "--locked", "--manifest-path", "testdata/openmls/Cargo.toml", "--target-dir", target)
	cargo.WaitDelay = time.Minute
	if out, err := cargo.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v: install Rust 1.91 or later\n%s", cargo.Args, err, out)
	}
	return filepath.Join(target, "debug", "openmls-peer")
}

// openmls is a member of openmls at its defaults: its handshakes are private messages, and it takes no others.
type openmls struct{ *typescript }

func (o *openmls) traits() traits {
	return traits{plain: true, noExtensions: true, whole: true, noResumption: true, ownKeyOrder: true, lenient: true}
}

// newOpenMLS makes clients of this package and of openmls. A client that comes back has its old keys in this package
// only.
func newOpenMLS(h *history, p *tsPeer) func(client) member {
	return func(c client) member {
		h.t.Helper()
		c.modern = false
		theirs := h.likely(1, 2)
		if c.keys != nil {
			_, theirs = c.keys.(*openmls)
		}
		if theirs {
			c.keys = nil
			o, err := newTypescript(p, h.suite, c, true)
			h.check(o, err)
			return &openmls{o}
		}
		return h.newOurs(c, func(cfg *Config) {
			cfg.EncryptHandshake, cfg.GREASE = true, h.likely(1, 2)
			if h.likely(1, 2) {
				cfg.Padding = PadStep
			}
		})
	}
}

// Groups of members of this package and of openmls live through random histories, as in TestDifferentialHistories, and
// grow to twenty members in every fifth. MLS_HISTORIES is how many, MLS_SEED where to begin.
func TestHistoriesWithOpenMLS(t *testing.T) {
	program := openmlsProgram(t)
	first, count := number(t, "MLS_SEED", 1), number(t, "MLS_HISTORIES", 50)
	for seed := first; seed < first+count; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			p := startPeer(t, exec.Command(program))
			h := &history{t: t, rng: rand.New(rand.NewPCG(uint64(seed), 7)), suite: CipherSuite(1 + seed%3), harmless: required()}
			h.client = newOpenMLS(h, p)
			h.most = 2 + h.rng.IntN(9)
			if seed%5 == 0 {
				h.most = 20
			}
			creator := h.person()
			var err error
			switch m := creator.(type) {
			case *ours:
				m.group, err = Create(m.cfg, nil)
			case *openmls:
				err = m.create([]byte("the group"))
			}
			h.begin(creator)
			h.check(creator, err)
			for range 15 + h.rng.IntN(15) {
				h.step()
			}
			t.Logf("%v, at most %d members: %d epochs; openmls: %v", h.suite, h.most, h.epoch(), p.calls)
		})
	}
}
