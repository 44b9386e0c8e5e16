package mls

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
)

var errTaken = errors.New("part is of another group")

// strictPut is put for a store that takes only parts above all that are there, or that are there already.
func (s *shelf) strictPut(saved *Saved) error {
	for _, p := range saved.Parts {
		have, ok := s.parts[p.Number]
		for n := range s.parts {
			if ok && !bytes.Equal(have, p.Data) || !ok && n > p.Number {
				return errTaken
			}
		}
	}
	return s.put(saved)
}

// A store of the kind that the package comment asks for finds out that a second Group was made of it, also when the
// numbers of the first were given up since; and has nothing against one Group, whatever it does.
func TestStoresThatFindASecondGroup(t *testing.T) {
	t.Parallel()
	for _, messages := range []int{0, 1, 2 * minMessageParts, 10 * minMessageParts} {
		for _, commits := range []int{0, 1, 2 * maxPublicParts} {
			t.Run(fmt.Sprint(messages, " messages ", commits, " commits"), func(t *testing.T) {
				p := newCrowd(t, 1, 2, kept).members[0]
				p.save()
				first, second := p.restored(), p.restored()
				save := func(g *Group) error {
					return p.shelf.strictPut(must[*Saved](t)(g.Save()))
				}
				for range messages {
					must[[]byte](t)(first.Protect(nil, nil, nil))
					if err := save(first); err != nil {
						t.Fatal(err)
					}
				}
				for range commits {
					if err := must[*Change](t)(first.Commit(CommitOptions{})).Apply(); err != nil {
						t.Fatal(err)
					}
					if err := save(first); err != nil {
						t.Fatal(err)
					}
				}
				must[[]byte](t)(second.Protect(nil, nil, nil))
				if err := save(second); (err != nil) != (messages+commits > 0) {
					t.Errorf("the second group is saved: %v", err)
				}
			})
		}
	}
}

// A store that fails for long, because its disk is full, is tried again without end, and the group goes on when it is
// well again.
func TestStoresThatFailForLong(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 1, 2, kept)
	b := c.members[1]
	b.save()
	message := func() {
		t.Helper()
		must[*Received](t)(b.group.Process(must[[]byte](t)(c.members[0].group.Protect(nil, []byte("x"), nil))))
	}
	again := func(save func() (*Saved, error)) *Saved {
		t.Helper()
		s := must[*Saved](t)(save())
		for range 3 * maxUndone {
			o := must[*Saved](t)(save())
			same := func(a, b Part) bool { return a.Number == b.Number && bytes.Equal(a.Data, b.Data) }
			if !slices.EqualFunc(s.Parts, o.Parts, same) {
				t.Fatalf("%v is saved as %v, although nothing has happened", s, o)
			}
		}
		return must[*Saved](t)(save())
	}
	well := func(s *Saved) {
		t.Helper()
		if err := b.shelf.put(s); err != nil {
			t.Fatal(err)
		}
		if s := must[*Saved](t)(b.group.Save()); len(s.Parts) != 0 {
			t.Errorf("%v of a group that is saved", s)
		}
		msg := must[[]byte](t)(c.members[0].group.Protect(nil, []byte("x"), nil))
		must[*Received](t)(b.restored().Process(msg))
		must[*Received](t)(b.group.Process(msg))
	}
	message()
	well(again(b.group.Save)) // a message part
	must[*Change](t)(b.group.Commit(CommitOptions{}))
	well(again(b.group.Save)) // a secret part
	c.commit(0, CommitOptions{})
	message()
	well(again(b.group.Save)) // all three
	for range maxUndone {
		message()
		must[*Saved](t)(b.group.Save())
	}
	message()
	_, err := b.group.Save()
	wantRefusal(t, err, Busy, ": saved states in a row are not done")
	well(must[*Saved](t)(b.group.SaveAll()))
	b.save()
}

// A state that is too long to be encoded is not saved, and the group goes on when it is shorter again.
func TestStatesThatAreTooLong(t *testing.T) {
	c := newCrowd(t, 1, 2, kept)
	p := c.members[0]
	p.save()
	note := make([]byte, DefaultLimits().Message)
	for _, end := range []struct {
		name string
		make func(*Change) // of a commit
		end  func(*Change)
	}{
		{"commits that are kept", func(ch *Change) { must[struct{}](t)(struct{}{}, ch.Apply()) }, (*Change).Sent},
		{"commits on their way", func(*Change) {}, (*Change).Discard},
	} {
		t.Run(end.name, func(t *testing.T) {
			var list []*Change
			for range maxPart/len(note) + 1 {
				ch := must[*Change](t)(p.group.Commit(CommitOptions{Keep: true}))
				ch.made.note = note // one for all
				end.make(ch)
				list = append(list, ch)
			}
			for _, save := range []func() (*Saved, error){p.group.Save, p.group.SaveAll} {
				before := fmt.Sprintf("%+v", p.group.ledger.chain)
				_, err := save()
				wantRefusal(t, err, Limit, ": call Sent or Discard of commits")
				if after := fmt.Sprintf("%+v", p.group.ledger.chain); after != before {
					t.Errorf("chain\n%s, was\n%s", after, before)
				}
			}
			for _, ch := range list {
				end.end(ch)
			}
			p.save()
			if a, b := authenticator(t, p.restored()), authenticator(t, p.group); string(a) != string(b) {
				t.Error("another group was restored")
			}
		})
	}
}
