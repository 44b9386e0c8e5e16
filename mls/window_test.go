package mls

import "testing"

// Of the keys that were jumped over those of the last Window generations before the newest are kept, to the last one;
// those that are given up, or used, are overwritten (section 9.2).
func TestKeysThatWereJumpedOver(t *testing.T) {
	const window = 10
	c := newCrowd(t, 1, 2, func(c *Config) { c.Limits.Window = window })
	a, b := c.members[0].group, c.members[1].group
	var msgs [][]byte
	next := must[*ratchet](t)(b.now.messages.secrets.ratchet(0, ContentApplication)).next
	for range window + 5 {
		msgs = append(msgs, must[[]byte](t)(a.Protect(nil, nil, nil)))
	}
	must[*Received](t)(b.Process(msgs[window])) // as far as a message may jump
	r := &b.now.messages.secrets.ratchets[0].application
	keys := make([]*messageKey, window)
	for i := range keys {
		if keys[i] = r.skipped[next+uint32(i)]; keys[i] == nil {
			t.Fatalf("the key of message %d is not kept", i)
		}
	}
	must[*Received](t)(b.Process(msgs[window+2]))
	for i, k := range keys {
		if gone := *k == (messageKey{}); gone != (i < 2) {
			t.Errorf("key of message %d, %d before the newest: it is gone: %v", i, window+2-i, gone)
		}
	}
	_, err := b.Process(msgs[1])
	wantRefusal(t, err, Replayed, "9.2: message from member 0: key of generation")
	must[*Received](t)(b.Process(msgs[2]))
	if *keys[2] != (messageKey{}) {
		t.Error("a key that was used is left")
	}
	if len(r.skipped) != window-2 { // the newest two were not jumped over, or are used
		t.Errorf("%d keys are kept", len(r.skipped))
	}
}
