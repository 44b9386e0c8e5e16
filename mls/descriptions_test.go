package mls

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// leavesOf are the leaves that a list is about.
func leavesOf(list []LeafChange) []LeafIndex {
	var leaves []LeafIndex
	for _, l := range list {
		leaves = append(leaves, l.Leaf)
	}
	return leaves
}

// described is what a change says of itself, in words.
func described(c *Change) string {
	var b strings.Builder
	who := func(l *LeafNode) string {
		if l == nil {
			return "nobody"
		}
		return string(l.Credential.Identity)
	}
	leaf := func(what string, l LeafChange) {
		fmt.Fprintf(&b, "%s %d: %s to %s, by %v\n", what, l.Leaf, who(l.Before), who(l.After), l.By)
	}
	fmt.Fprintf(&b, "epoch %d by %v, external %v, %q\n", c.Epoch, c.Sender, c.External, c.AAD)
	leaf("committer", c.Committer)
	if c.Replaces != nil {
		leaf("replaces", *c.Replaces)
	}
	for _, p := range c.Proposals {
		fmt.Fprintf(&b, "%v of %v, by reference %v\n", p.Proposal.Type(), p.Sender, p.ByReference)
	}
	for _, list := range []struct {
		what string
		all  []LeafChange
	}{{"added", c.Added}, {"removed", c.Removed}, {"updated", c.Updated}} {
		for _, l := range list.all {
			leaf(list.what, l)
		}
	}
	if c.Extensions != nil {
		fmt.Fprintf(&b, "extensions %v\n", c.Extensions.Extensions)
	}
	for _, k := range c.PSKs {
		fmt.Fprintf(&b, "key %s\n", k.ID)
	}
	if c.ReInit != nil {
		fmt.Fprintf(&b, "reinit to %s\n", c.ReInit.GroupID)
	}
	if c.SelfRemoved {
		fmt.Fprint(&b, "we are removed\n")
	}
	return b.String()
}

// scribble overwrites all that can be reached through exported fields.
func scribble(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			scribble(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				scribble(v.Field(i))
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			scribble(v.Index(i))
		}
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(^v.Uint() & (1<<v.Type().Bits() - 1))
	case reflect.Bool:
		v.SetBool(!v.Bool())
	}
}

// A change says all that it does, on the side of its maker and of those who receive it, and it does that also when what
// it says is changed.
func TestChangesSayWhatTheyDo(t *testing.T) {
	t.Parallel()
	anew := func(name string) Identity { return Identity{Credential: BasicCredential([]byte(name))} }
	add := func(t *testing.T, name string) *Add { return &Add{newPerson(t, 2, name).keyPackage()} }
	leaf := LeafIndex(2)
	for _, x := range []struct {
		name    string
		prepare func(*testing.T, *crowd) // may be nil
		commit  func(*testing.T, *crowd) CommitOptions
		join    *ExternalOptions // in place of a commit
		want    string
	}{
		{name: "an add", commit: func(t *testing.T, _ *crowd) CommitOptions {
			return CommitOptions{Proposals: []Proposal{add(t, "new")}, AAD: []byte("aad")}
		}, want: `epoch 2 by member 1, external false, "aad"
committer 1: m1 to m1, by member 1
add of member 1, by reference false
added 4: nobody to new, by member 1
`},
		{name: "a remove", commit: func(*testing.T, *crowd) CommitOptions {
			return CommitOptions{Proposals: []Proposal{&Remove{2}}}
		}, want: `epoch 2 by member 1, external false, ""
committer 1: m1 to m1, by member 1
remove of member 1, by reference false
removed 2: m2 to nobody, by member 1
updated 1: m1 to m1, by member 1
`},
		{name: "another identity of a member", prepare: func(t *testing.T, c *crowd) {
			c.tell(2, must[[]byte](t)(c.members[2].group.ProposeUpdate(anew("m2 anew"), nil)))
		}, commit: func(*testing.T, *crowd) CommitOptions { return CommitOptions{} }, want: `epoch 2 by member 1, external false, ""
committer 1: m1 to m1, by member 1
update of member 2, by reference true
updated 2: m2 to m2 anew, by member 2
updated 1: m1 to m1, by member 1
`},
		{name: "another identity of the committer", commit: func(*testing.T, *crowd) CommitOptions {
			return CommitOptions{Identity: anew("m1 anew")}
		}, want: `epoch 2 by member 1, external false, ""
committer 1: m1 to m1 anew, by member 1
updated 1: m1 to m1 anew, by member 1
`},
		{name: "a removal of this member, which another proposed", prepare: func(t *testing.T, c *crowd) { c.propose(2, &Remove{0}) },
			commit: func(*testing.T, *crowd) CommitOptions { return CommitOptions{} }, want: `epoch 2 by member 1, external false, ""
committer 1: m1 to m1, by member 1
remove of member 2, by reference true
removed 0: m0 to nobody, by member 2
updated 1: m1 to m1, by member 1
`},
		{name: "a member that comes again", commit: func(t *testing.T, _ *crowd) CommitOptions {
			return CommitOptions{Proposals: []Proposal{add(t, "again"), &Remove{2}}}
		}, want: `epoch 2 by member 1, external false, ""
committer 1: m1 to m1, by member 1
add of member 1, by reference false
remove of member 1, by reference false
added 2: nobody to again, by member 1
removed 2: m2 to nobody, by member 1
updated 1: m1 to m1, by member 1
`},
		{name: "extensions and a key", commit: func(t *testing.T, c *crowd) CommitOptions {
			return CommitOptions{Proposals: []Proposal{must[*PreSharedKey](t)(c.members[1].group.NewPSK([]byte("k"))),
				&GroupContextExtensions{Extensions{RequiredCapabilities{Credentials: []CredentialType{CredentialBasic}}.Extension()}}}}
		}, want: `epoch 2 by member 1, external false, ""
committer 1: m1 to m1, by member 1
psk of member 1, by reference false
group_context_extensions of member 1, by reference false
updated 1: m1 to m1, by member 1
extensions [{required_capabilities [0 0 2 0 1]}]
key k
`},
		{name: "the end", commit: func(*testing.T, *crowd) CommitOptions {
			return CommitOptions{Proposals: []Proposal{&ReInit{GroupID: []byte("next"), Version: MLS10, CipherSuite: 1}}}
		}, want: `epoch 2 by member 1, external false, ""
committer 1: m1 to m1, by member 1
reinit of member 1, by reference false
reinit to next
`},
		{name: "an external commit", join: &ExternalOptions{AAD: []byte("aad")}, want: `epoch 2 by new_member_commit, external true, "aad"
committer 4: nobody to joiner, by new_member_commit
external_init of new_member_commit, by reference false
added 4: nobody to joiner, by new_member_commit
`},
		{name: "an external commit of who was there", join: &ExternalOptions{Resync: &leaf}, want: `epoch 2 by new_member_commit, external true, ""
committer 2: nobody to m2, by new_member_commit
replaces 2: m2 to nobody, by new_member_commit
external_init of new_member_commit, by reference false
remove of new_member_commit, by reference false
added 2: nobody to m2, by new_member_commit
removed 2: m2 to nobody, by new_member_commit
`},
	} {
		t.Run(x.name, func(t *testing.T) {
			c := newCrowd(t, 2, 4)
			for _, p := range c.members {
				p.psks["k"] = []byte("key")
			}
			if x.prepare != nil {
				x.prepare(t, c)
			}
			var ours *Change
			var commit []byte
			if x.join == nil {
				ours = must[*Change](t)(c.members[1].group.Commit(x.commit(t, c)))
				commit = bytes.Clone(ours.Commit)
			} else {
				joiner := newPerson(t, 2, "joiner")
				if x.join.Resync != nil {
					joiner.cfg.Credential = c.members[2].cfg.Credential
				}
				var err error
				if joiner.group, commit, err = JoinExternal(joiner.cfg, must[[]byte](t)(c.members[0].group.GroupInfo(true, true)), *x.join); err != nil {
					t.Fatal(err)
				}
				defer func() {
					c.members = append(c.members, joiner)
					c.agree()
				}()
			}
			var stay []*person
			for i, p := range c.members {
				ch, want := ours, x.want
				if i != 1 || ours == nil {
					ch = must[*Received](t)(p.group.Process(commit)).Change
				}
				gone := strings.Contains(x.want, fmt.Sprintf("removed %d:", p.group.Own()))
				if gone {
					want += "we are removed\n"
				}
				if got := described(ch); got != want {
					t.Errorf("%s is told\n%s\nwant\n%s", p.name, got, want)
				}
				unchanged(t, p.group, func() { scribble(reflect.ValueOf(ch)) })
				if i == 1 && ours != nil {
					_, err := p.group.Process(commit)
					wantRefusal(t, err, Own, "12.4: commit is our own")
				}
				if err := ch.Apply(); err != nil {
					t.Fatal(err)
				}
				switch r := p.group.ReInit(); {
				case p.group.removed != gone, p.group.Active() == (gone || r != nil):
					t.Errorf("%s: removed %v", p.name, p.group.removed)
				case r != nil && string(r.GroupID) != "next":
					t.Errorf("reinit to %q", r.GroupID)
				case !gone && r == nil:
					stay = append(stay, p)
				}
			}
			if c.members = stay; len(stay) == 0 {
				return
			}
			if x.join == nil {
				c.agree()
				c.commit(1, CommitOptions{})
				c.agree()
			}
		})
	}
}
