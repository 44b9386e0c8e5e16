package mls

import (
	"bytes"
	"errors"
	"fmt"
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
		c.Proposals = func(s Sender, list []Committed) error {
			for _, c := range list {
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
	if wantKind(t, err, Refused); !errors.Is(err, refused) {
		t.Errorf("cause is lost: %v", err)
	}
	_, err = g.Commit(CommitOptions{Proposals: []Proposal{&Remove{0}}})
	wantKind(t, err, Refused)
	other := must[*Change](t)(c.members[2].group.Commit(CommitOptions{Identity: Identity{Credential: BasicCredential([]byte("another"))}}))
	_, err = g.Process(other.Commit)
	wantKind(t, err, Refused)
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

func TestLimits(t *testing.T) {
	c := newCrowd(t, 1, 3, func(c *Config) { c.Limits = Limits{Members: 4, Message: 100 << 10, Proposals: 2} })
	g := c.members[0].group
	o := CommitOptions{}
	for i := range 2 {
		o.Proposals = append(o.Proposals, &Add{newPerson(t, 1, fmt.Sprint("n", i)).keyPackage()})
	}
	_, err := g.Commit(o)
	wantKind(t, err, Limit)
	_, err = g.Process(make([]byte, 100<<10+1))
	wantKind(t, err, Limit)
	for range 2 {
		c.tell(1, must[[]byte](t)(c.members[1].group.ProposeUpdate(Identity{}, nil)))
	}
	_, err = c.members[1].group.ProposeUpdate(Identity{}, nil)
	wantKind(t, err, Limit)

	// Members of one group need not agree on limits.
	mixed := newCrowd(t, 1, 2)
	joiner := newPerson(t, 1, "strict", func(c *Config) { c.Limits.Members = 3 })
	mixed.add(0, joiner)
	commit := must[*Change](t)(mixed.members[0].group.Commit(CommitOptions{Proposals: o.Proposals[:1]})).Commit
	_, err = joiner.group.Process(commit)
	wantKind(t, err, Limit)
	_, commit, err = JoinExternal(newPerson(t, 1, "outside").cfg, must[[]byte](t)(mixed.members[0].group.GroupInfo(true, true)), ExternalOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = joiner.group.Process(commit)
	wantKind(t, err, Limit)

	big := newCrowd(t, 1, 9)
	p := newPerson(t, 1, "small", func(c *Config) { c.Limits.Members = 4 })
	ch := big.commit(0, CommitOptions{Proposals: []Proposal{&Add{p.keyPackage()}}})
	_, err = Join(p.cfg, ch.Welcomes[0], JoinOptions{})
	wantKind(t, err, Limit)
}

func TestConfigurationsThatAreRefused(t *testing.T) {
	ok := newPerson(t, 1, "x").cfg
	for name, change := range map[string]func(*Config){
		"no suite":             func(c *Config) { c.CipherSuite = 0 },
		"no key":               func(c *Config) { c.Key = nil },
		"no clock":             func(c *Config) { c.Now = nil },
		"key of another suite": func(c *Config) { c.CipherSuite = 2 },
	} {
		cfg := *ok
		change(&cfg)
		if _, err := Create(&cfg, nil); KindOf(err) != Misuse && KindOf(err) != Unsupported {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := cfg.NewKeyPackage(); KindOf(err) != Misuse && KindOf(err) != Unsupported {
			t.Errorf("%s: %v", name, err)
		}
	}
	cfg := *ok
	cfg.KeyPackages = nil
	_, err := cfg.NewKeyPackage()
	wantKind(t, err, Misuse)
}
