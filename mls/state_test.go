package mls

import (
	"bytes"
	"testing"
)

var stateKey = bytes.Repeat([]byte{7}, StateKeySize)

// restart replaces a member's group by one from its state.
func (p *person) restart() {
	p.t.Helper()
	state := must[[]byte](p.t)(p.group.MarshalState(stateKey))
	p.group = must[*Group](p.t)(Restore(p.cfg, stateKey, state))
}

// A group whose members restart at every step lives as one whose members do not.
func TestLifeWithRestarts(t *testing.T) {
	for _, cs := range []CipherSuite{1, 2, 7, 65100} {
		t.Run(cs.String(), func(t *testing.T) {
			t.Parallel()
			c := newCrowd(t, cs, 4)
			restart := func() {
				for _, p := range c.members {
					p.restart()
				}
			}
			restart()
			c.agree()
			id := Identity{Credential: BasicCredential([]byte("new")), Key: must[*SigningKey](t)(GenerateSigningKey(cs, stream("new key")))}
			c.tell(1, must[[]byte](t)(c.members[1].group.ProposeUpdate(id, nil)))
			c.propose(2, &Remove{3})
			restart()
			c.commit(0, CommitOptions{})
			restart()
			c.agree()
			c.commit(1, CommitOptions{})
			restart()
			c.agree()

			// Late and out of order, across restarts.
			a, b := c.members[0], c.members[1]
			var messages [][]byte
			for i := range 5 {
				messages = append(messages, must[[]byte](t)(a.group.Protect(nil, []byte{byte(i)}, nil)))
				a.restart()
			}
			c.commit(2, CommitOptions{})
			for _, i := range []int{3, 1, 4, 0, 2} {
				b.restart()
				r := must[*Received](t)(b.group.Process(messages[i]))
				if r.Application[0] != byte(i) {
					t.Errorf("message %d reads %x", i, r.Application)
				}
				_, err := b.group.Process(messages[i])
				wantKind(t, err, Replayed)
				b.restart()
				_, err = b.group.Process(messages[i])
				wantKind(t, err, Replayed)
			}

			c.commit(0, CommitOptions{Proposals: []Proposal{&ReInit{GroupID: []byte("next"), Version: MLS10, CipherSuite: cs, Extensions: Extensions{{0xf000, []byte("x")}}}}})
			restart()
			if r := b.group.ReInit(); r == nil || string(r.GroupID) != "next" || len(r.Extensions) != 1 {
				t.Errorf("reinit %+v", r)
			}
			b.group.Wipe()
			b.restart()
			if b.group.Active() {
				t.Error("a wiped group is active")
			}
		})
	}
}

func TestStatesThatAreRefused(t *testing.T) {
	p := newCrowd(t, 1, 2).members[0]
	state := must[[]byte](t)(p.group.MarshalState(stateKey))
	flip := func(i int) []byte { b := bytes.Clone(state); b[i] ^= 1; return b }
	for _, c := range []struct {
		name  string
		cfg   *Config
		key   []byte
		state []byte
		want  Kind
	}{
		{"another key", p.cfg, bytes.Repeat([]byte{8}, StateKeySize), state, BadSignature},
		{"a short key", p.cfg, stateKey[1:], state, Misuse},
		{"damaged at the end", p.cfg, stateKey, flip(len(state) - 1), BadSignature},
		{"damaged in the midst", p.cfg, stateKey, flip(len(state) / 2), BadSignature},
		{"another version", p.cfg, stateKey, flip(len(stateMagic)), Unsupported},
		{"something else", p.cfg, stateKey, flip(0), Malformed},
		{"cut", p.cfg, stateKey, state[:len(state)-1], BadSignature},
		{"a stump", p.cfg, stateKey, state[:12], Malformed},
		{"nothing", p.cfg, stateKey, nil, Malformed},
		{"another suite", newPerson(t, 2, "x").cfg, stateKey, state, Malformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Restore(c.cfg, c.key, c.state)
			wantKind(t, err, c.want)
		})
	}
}
