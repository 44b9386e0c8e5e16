package mls

import "testing"

// A store does not grow with what has happened, also when the member begins anew after each save: changes of the tree
// are together not much longer than all of it, and the keys that were used not much longer than the secrets.
func TestStoresStaySmall(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 1, 2, kept)
	a := c.members[0]
	for range 20 {
		c.commit(0, CommitOptions{})
		a.restart()
		if n := len(a.group.ledger.chain.publics); n > 4 { // each commit changes most of so small a tree
			t.Fatalf("%d public parts are stored", n)
		}
	}
	most := 0
	for range 400 {
		must[[]byte](t)(a.group.Protect(nil, nil, nil))
		a.restart()
		most = max(most, len(a.group.ledger.messages))
		if l := &a.group.ledger; l.messageBytes > 8*l.chain.secretSize+1000 {
			t.Fatalf("%d message parts of %d bytes, the secret part is of %d", len(l.messages), l.messageBytes, l.chain.secretSize)
		}
	}
	if most < minMessageParts || most > 399 {
		t.Errorf("up to %d message parts were stored", most)
	}
}
