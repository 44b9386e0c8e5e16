package reliable

import "testing"

// What is kept for those who were offline is bounded in bytes, too: the oldest goes first.
func TestLateBytes(t *testing.T) {
	const size, n = 1 << 20, WindowBytes>>20 + 4
	s := NewSender[string](often, 0)
	for range n {
		s.Add(anna, start)
		if _, err := s.Publish(Payload{Blob: make([]byte, size)}, "", start); err != nil {
			t.Fatal(err)
		}
		s.Remove(anna)
	}
	if s.lateBytes != WindowBytes {
		t.Errorf("%d bytes are kept, want %d", s.lateBytes, WindowBytes)
	}
	s.Add(anna, start)
	for id, there := range map[uint32]bool{1: false, 4: false, 5: true, n: true} {
		s.Out = nil
		s.Asked(id, anna, start)
		if len(s.Out) == 0 && there { // a copy is on its way
			continue
		}
		if len(s.Out) != 1 || (s.Out[0].Send.Payload != nil) != there {
			t.Errorf("message %d is there: %v", id, !there)
		}
	}
}
