package group

import (
	"fmt"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/session/internal/identity"
	"github.com/seed31b3bfd0/slimgo/session/internal/message"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// A commit that is due brings the moderator's leaf a fresh token where the old one is in the second half of its life and still
// good, and keys of its own, which others follow.
func TestFreshTokenOfAModerator(t *testing.T) {
	t.Parallel()
	const life = 10 * time.Minute // of all tokens, for who judges them
	for _, c := range []struct {
		age   time.Duration
		fresh bool
	}{{4 * time.Minute, false}, {6 * time.Minute, true}, {9 * time.Minute, true}, {life - 20*time.Second, false}, {life + time.Minute, false}} {
		for _, change := range []string{"add", "remove"} {
			t.Run(fmt.Sprint(change, " after ", c.age), func(t *testing.T) {
				w := newWorld(t, 1, "alice", "bob", "carol", "dave")
				w.faults.Duplicate = 0
				alice, bob := w.app("alice"), w.app("bob")
				o := alice.options(message.Group, true, fast)
				o.Verify = func(token string) (*identity.Claims, error) {
					const less = identity.TokenLife - life
					claims, err := alice.secret.Verify(token, w.Now.Add(less))
					if claims != nil {
						claims.Expires = claims.Expires.Add(-less)
					}
					return claims, err
				}
				alice.moderate(o, wire.Text("org", "ns", "channel"))
				invite := func(name string) {
					alice.step(Invite{Name: w.app(name).self.Name, Handle: "invite " + name})
					w.Run(10 * time.Second)
					alice.result("invite " + name)
				}
				invite("bob")
				invite("carol")
				leaf := func() string { return string(bob.member.(*Participant).mls.group.Member(0).Credential.Identity) }
				before := leaf()
				w.Run(c.age - 20*time.Second)
				if change == "add" {
					invite("dave")
				} else {
					alice.step(Remove{Name: w.app("carol").self.Name, Handle: "remove"})
					w.Run(10 * time.Second)
					alice.result("remove")
				}
				now := leaf()
				if (now != before) != c.fresh {
					t.Errorf("the token is another one: %v", now != before)
				}
				if claims, err := alice.secret.Verify(now, w.Now); c.fresh && (err != nil || claims.Expires.Sub(w.Now) < identity.TokenLife-time.Minute) {
					t.Errorf("the new one: %+v, %v", claims, err)
				}
				alice.publish("after that")
				w.Run(10 * time.Second)
				alice.result("after that")
			})
		}
	}
}
