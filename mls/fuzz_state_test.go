package mls

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"testing"
)

// savedMember is a member with a little of all that is saved: three public parts, a secret part and message parts, a
// past epoch, proposals, an update and a commit on its way. commit is what another member commits next.
func savedMember(t testing.TB, seed string) (p *person, commit []byte) {
	t.Helper()
	n := 0
	c := newCrowd(t, 1, 6, kept, func(c *Config) {
		n++
		c.Rand = stream(fmt.Sprint(seed, n))
		c.Credential, c.Capabilities.CipherSuites, c.PastEpochs, c.PSKEpochs = BasicCredential(nil), []CipherSuite{1}, 1, 1
	})
	p = c.members[0]
	save := func() {
		if err := p.shelf.save(p.group); err != nil {
			t.Fatal(err)
		}
	}
	save()
	c.commit(1, CommitOptions{})
	save()
	c.commit(1, CommitOptions{})
	must[*Change](t)(p.group.Commit(CommitOptions{Proposals: []Proposal{&Add{newPerson(t, 1, "").keyPackage()}}}))
	save()
	must[*Received](t)(p.group.Process(must[[]byte](t)(c.members[1].group.Protect(nil, []byte("x"), nil))))
	must[[]byte](t)(p.group.Protect(nil, []byte("y"), nil))
	save()
	c.tell(1, must[[]byte](t)(c.members[1].group.Propose(&Remove{0}, nil)))
	must[[]byte](t)(p.group.ProposeUpdate(Identity{}, nil))
	save()
	return p, must[*Change](t)(c.members[1].group.Commit(CommitOptions{SkipPending: true})).Commit
}

// What parts hold is the caller's own; what is damaged is refused all the same, and what is not can be used.
func FuzzState(f *testing.F) {
	runtime.GOMAXPROCS(1)
	p, commit := savedMember(f, "a")
	parts := must[[]openedPart](f)(openParts(stateKey, p.shelf.all()))
	h := must[snapshot](f)(findSnapshot(parts))
	f.Add(h.publics[0].text, h.publics[1].text, h.secret.text, slices.Concat(h.messages[0].text, h.messages[1].text))
	group := parts[0].group
	cfg := *p.cfg
	f.Fuzz(func(t *testing.T, whole, public, secret, message []byte) {
		cfg.Rand = stream("the same")
		part := func(b []byte) *openedPart { return &openedPart{partHead: partHead{group: group}, text: bytes.Clone(b)} }
		h := snapshot{[]*openedPart{part(whole)}, part(secret), []*openedPart{part(message)}}
		if len(public) > 0 {
			h.publics = append(h.publics, part(public))
		}
		g := &Group{cfg: &cfg, suite: suiteOf(t, 1), limits: fuzzLimits.filled()}
		if err := g.read(h); err != nil {
			if KindOf(err) == 0 {
				t.Fatalf("error without a kind: %v", err)
			}
			return
		}
		g.describeUnapplied()
		must[*Saved](t)(g.Save())
		_, _ = g.Protect(nil, []byte("x"), nil)
		_, _ = g.Process(commit)
		for _, c := range g.Outstanding() {
			_ = c.Apply()
		}
		if ch, err := g.Commit(CommitOptions{}); err == nil {
			_ = ch.Apply()
		}
		must[*Saved](t)(g.SaveAll())
		g.Wipe()
	})
}

// One part of a store is replaced by other bytes, or these are there as well: it is refused with a kind. Only the parts
// that were written are taken.
func FuzzParts(f *testing.F) {
	runtime.GOMAXPROCS(1)
	p, _ := savedMember(f, "a")
	good := p.shelf.all()
	for i, b := range good {
		f.Add(uint8(i), b)
		f.Add(uint8(i), b[:len(b)-1])
	}
	cfg := *p.cfg
	f.Fuzz(func(t *testing.T, at uint8, b []byte) {
		parts := slices.Clone(good)
		if int(at) < len(parts) {
			parts[at] = b
		} else {
			parts = append(parts, b)
		}
		_, err := Restore(&cfg, parts)
		written := slices.ContainsFunc(good, func(g []byte) bool { return bytes.Equal(b, g) })
		if err != nil && KindOf(err) == 0 || err == nil && !written {
			t.Fatalf("written %v, got %v", written, err)
		}
	})
}
