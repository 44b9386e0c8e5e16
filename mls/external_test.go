package mls

import (
	"testing"
)

func TestExternalJoin(t *testing.T) {
	for _, cs := range []CipherSuite{1, 2, 4, 65100} {
		t.Run(cs.String(), func(t *testing.T) {
			c := newCrowd(t, cs, 3)
			join := func(p *person, o ExternalOptions, withTree bool) {
				t.Helper()
				info := must[[]byte](t)(c.members[0].group.GroupInfo(withTree, true))
				if !withTree {
					o.Tree = c.members[0].group.Tree()
				}
				g, msg, err := JoinExternal(p.cfg, info, o)
				if err != nil {
					t.Fatal(err)
				}
				for _, m := range c.members {
					if m == p {
						continue
					}
					r := must[*Received](t)(m.group.Process(msg))
					if r.Sender.Type != SenderNewMemberCommit || len(r.Change.Added) != 1 || r.Change.Added[0] != g.Own() {
						t.Errorf("change %+v", r.Change)
					}
					if err := r.Change.Apply(); err != nil {
						t.Fatal(err)
					}
				}
				p.group = g
			}
			p := newPerson(t, cs, "outsider")
			join(p, ExternalOptions{}, true)
			c.members = append(c.members, p)
			c.agree()
			c.commit(3, CommitOptions{})
			c.agree()

			// Resync: the same client again, its old leaf goes.
			old := c.members[1].group.Own()
			p = newPerson(t, cs, "m1")
			p.psks["k"] = []byte("key")
			for _, m := range c.members {
				m.psks["k"] = []byte("key")
			}
			lost := c.members[1]
			c.members = append(c.members[:1:1], c.members[2:]...)
			join(p, ExternalOptions{Resync: &old, PSKs: [][]byte{[]byte("k")}}, false)
			c.members = append(c.members, p)
			c.agree()
			if lost.group.Epoch() == p.group.Epoch() {
				t.Error("the old appearance came along")
			}
		})
	}
}

func TestGroupInfoWithoutExternalPub(t *testing.T) {
	c := newCrowd(t, 1, 2)
	_, _, err := JoinExternal(newPerson(t, 1, "x").cfg, must[[]byte](t)(c.members[0].group.GroupInfo(true, false)), ExternalOptions{})
	wantKind(t, err, Missing)
	_, _, err = JoinExternal(newPerson(t, 1, "x").cfg, must[[]byte](t)(c.members[0].group.GroupInfo(false, true)), ExternalOptions{})
	wantKind(t, err, Missing)
}
