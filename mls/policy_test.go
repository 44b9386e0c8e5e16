package mls

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
)

// The application's word counts: for credentials wherever they are presented, and for proposals.
func TestPolicy(t *testing.T) {
	refused := errors.New("the application says no")
	var places []Place
	watch := func(c *Config) {
		c.Credentials = func(p *Presented) error {
			places = append(places, p.Place)
			if p.Time != testTime {
				t.Errorf("judged at %v", p.Time)
			}
			if bytes.HasPrefix(p.Credential.Identity, []byte("bad")) {
				return refused
			}
			if p.Replaces != nil && !p.Replaces.Credential.Equal(p.Credential) {
				return fmt.Errorf("%s follows %s", p.Credential.Identity, p.Replaces.Credential.Identity)
			}
			return nil
		}
		c.Proposals = func(p *Proposed) error {
			for _, c := range p.List {
				if r, ok := c.Proposal.(*Remove); ok && r.Leaf == 0 {
					return refused
				}
			}
			return nil
		}
	}
	c := newCrowd(t, 1, 3, watch)
	for _, want := range []Place{PlaceAdd, PlaceMember} {
		if !bytes.Contains(placesBytes(places), []byte{byte(want)}) {
			t.Errorf("no credential was presented at place %d: %v", want, places)
		}
	}
	g := c.members[1].group
	_, err := g.Commit(CommitOptions{Proposals: []Proposal{&Add{newPerson(t, 1, "bad one").keyPackage()}}})
	if wantRefusal(t, err, Refused, "5.3.1: credential of basic was refused"); !errors.Is(err, refused) {
		t.Errorf("cause is lost: %v", err)
	}
	_, err = g.Commit(CommitOptions{Proposals: []Proposal{&Remove{0}}})
	wantRefusal(t, err, Refused, "12.2: proposals of member 1 were refused")
	other := must[*Change](t)(c.members[2].group.Commit(CommitOptions{Identity: Identity{Credential: BasicCredential([]byte("another"))}}))
	_, err = g.Process(other.Commit)
	wantRefusal(t, err, Refused, "5.3.1: credential of basic was refused")
	c.members[2].cfg.Credentials = AcceptAll
	must[*Received](t)(g.Process(must[[]byte](t)(c.members[2].group.ProposeUpdate(Identity{Credential: BasicCredential([]byte("another"))}, nil))))
	leftOut(t, g)
	c.members[2].group.DropPending()
	c.commit(2, CommitOptions{})
	c.agree()
}

func placesBytes(p []Place) []byte {
	var b []byte
	for _, v := range p {
		b = append(b, byte(v))
	}
	return b
}

func TestConfigurationsThatAreRefused(t *testing.T) {
	ok := newPerson(t, 1, "x").cfg
	for _, c := range []struct {
		name   string
		change func(*Config)
		kind   Kind
		want   string
	}{
		{"no suite", func(c *Config) { c.CipherSuite = 0 }, Unsupported, "5.1: is not supported"},
		{"no key", func(c *Config) { c.Key = nil }, Misuse, ": Config.Key is nil"},
		{"nobody who says whom to believe", func(c *Config) { c.Credentials = nil }, Misuse, "5.3.1: Config.Credentials is nil"},
		{"no clock", func(c *Config) { c.Now = nil }, Misuse, ": Config.Now is nil"},
		{"key of another suite", func(c *Config) { c.CipherSuite = 2 }, Misuse, ": Config.Key is no key of"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := *ok
			c.change(&cfg)
			_, err := Create(&cfg, nil)
			wantRefusal(t, err, c.kind, c.want)
			_, err = cfg.NewKeyPackage()
			wantRefusal(t, err, c.kind, c.want)
			_, err = Join(&cfg, nil, JoinOptions{})
			wantRefusal(t, err, c.kind, c.want)
			_, _, err = JoinExternal(&cfg, nil, ExternalOptions{})
			wantRefusal(t, err, c.kind, c.want)
			_, err = Restore(&cfg, nil)
			wantRefusal(t, err, c.kind, c.want)
			_, err = ProposeFromOutside(&cfg, nil, 0, 0, &Remove{})
			wantRefusal(t, err, c.kind, c.want)
		})
	}
	cfg := *ok
	cfg.KeyPackages = nil
	_, err := cfg.NewKeyPackage()
	wantRefusal(t, err, Misuse, "10: Config.KeyPackages is nil")
	for _, cs := range []CipherSuite{0, 999} {
		_, err = GenerateSigningKey(cs, nil)
		wantRefusal(t, err, Unsupported, "5.1: is not supported")
		_, err = ParseSigningKey(cs, make([]byte, 32))
		wantRefusal(t, err, Unsupported, "5.1: is not supported")
	}
	_, err = ParseSigningKey(1, make([]byte, 31))
	wantRefusal(t, err, Invalid, "5.1.2: private key of 31 bytes")
}

// Those who may propose from outside are judged where they come into the group, by everybody who lets them in or joins;
// not again where they stay (section 5.3.1).
func TestExternalSendersAreJudged(t *testing.T) {
	service, second := newPerson(t, 1, "service"), newPerson(t, 1, "second")
	senders := func(people ...*person) *GroupContextExtensions {
		var list []ExternalSender
		for _, p := range people {
			list = append(list, ExternalSender{p.cfg.Key.Public(), p.cfg.Credential})
		}
		return &GroupContextExtensions{Extensions{ExternalSenders(list...)}}
	}
	const want = "5.3.1: external_senders: credential of basic was refused"
	var asked []string
	refuse := func(c *Config) {
		c.Credentials = func(p *Presented) error {
			if p.Place != PlaceProposer {
				return nil
			}
			asked = append(asked, string(p.Credential.Identity))
			return errors.New("unknown")
		}
	}
	c := newCrowd(t, 1, 2)
	strict := newPerson(t, 1, "strict", refuse)
	c.add(0, strict)
	honest := must[*Change](t)(c.members[0].group.Commit(CommitOptions{Proposals: []Proposal{senders(service)}}))
	_, err := strict.group.Process(honest.Commit)
	wantRefusal(t, err, Refused, want)
	_, err = strict.group.Commit(CommitOptions{Proposals: []Proposal{senders(service)}})
	wantRefusal(t, err, Refused, want)
	must[*Received](t)(strict.group.Process(must[[]byte](t)(c.members[1].group.Propose(senders(service), nil))))
	leftOut(t, strict.group)
	c.members[1].group.DropPending()
	if len(asked) != 3 {
		t.Errorf("asked for %q", asked)
	}
	strict.cfg.Credentials = AcceptAll
	c.commit(0, CommitOptions{Proposals: []Proposal{senders(service)}})
	refuse(strict.cfg)
	asked = nil
	c.commit(0, CommitOptions{Proposals: []Proposal{senders(service), &Add{newPerson(t, 1, "x").keyPackage()}}}) // it stays
	c.commit(0, CommitOptions{})
	_, err = strict.group.Commit(CommitOptions{Proposals: []Proposal{senders(service, second)}})
	if wantRefusal(t, err, Refused, want); !slices.Equal(asked, []string{"second"}) {
		t.Errorf("asked for %q", asked)
	}

	// Who only writes the index of one into a message makes nobody ask.
	asked = nil
	group := strict.group
	_, err = group.Process(must[[]byte](t)(ProposeFromOutside(second.cfg, group.ID(), group.Epoch(), 0, &Remove{1})))
	if wantRefusal(t, err, BadSignature, "6.1: from external sender 0 does not verify"); len(asked) > 0 {
		t.Errorf("asked for %q before the signature was verified", asked)
	}
	_, err = group.Process(must[[]byte](t)(ProposeFromOutside(service.cfg, group.ID(), group.Epoch(), 0, &Remove{1})))
	if wantRefusal(t, err, Refused, "5.3.1: credential of basic was refused"); !slices.Equal(asked, []string{"service"}) {
		t.Errorf("asked for %q", asked)
	}

	joiner := newPerson(t, 1, "joiner", refuse)
	ch := must[*Change](t)(c.members[0].group.Commit(CommitOptions{Proposals: []Proposal{&Add{joiner.keyPackage()}}}))
	_, err = Join(joiner.cfg, ch.Welcomes[0], JoinOptions{})
	wantRefusal(t, err, Refused, want)
	_, _, err = JoinExternal(joiner.cfg, must[[]byte](t)(c.members[0].group.GroupInfo(true, true)), ExternalOptions{})
	wantRefusal(t, err, Refused, want)
}

// Padding hides lengths, and is at most a request: it shortens nothing (section 15.1).
func TestPadding(t *testing.T) {
	for n, want := range map[int]int{0: 32, 31: 32, 32: 64, 255: 256, 256: 320, 1000: 1024, 1024: 1280} {
		if got := PadStep(n); got != want {
			t.Errorf("%d bytes are padded to %d, want %d", n, got, want)
		}
	}
	c := newCrowd(t, 1, 2, func(c *Config) { c.Padding = PadStep })
	g := c.members[0].group
	protect := func(n int) int { return len(must[[]byte](t)(g.Protect(nil, make([]byte, n), nil))) }
	if a, b := protect(0), protect(20); a != b {
		t.Errorf("messages of 0 and 20 bytes take %d and %d", a, b)
	}
	g.cfg.Padding = nil
	plain := protect(100)
	g.cfg.Padding = func(int) int { return 0 }
	if n := protect(100); n != plain {
		t.Errorf("a message takes %d bytes, without padding %d", n, plain)
	}
	c.agree()
}
