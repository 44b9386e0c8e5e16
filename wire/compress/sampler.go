package compress

// Sampler knows whether it pays to compress what a connection sends. Most of SLIM's content is encrypted, and does not
// shrink: after a few messages in a row that did not, others go by untried, more each time, until one is tried again.
// The zero value is ready.
type Sampler struct {
	skip uint16 // messages that go by before the next is tried
	span uint16 // how many those are next time
	poor uint8  // tries in a row that did not pay
}

const (
	patience  = 4    // tries in a row without a gain until messages go by
	firstSpan = 64   // messages that go by then, at first
	lastSpan  = 4096 // and at most
)

// Try reports whether the next message is to be tried. Whoever is told so calls Tried.
func (s *Sampler) Try() bool {
	if s.skip == 0 {
		return true
	}
	s.skip--
	return false
}

// Tried notes whether it paid.
func (s *Sampler) Tried(paid bool) {
	if paid {
		*s = Sampler{}
		return
	}
	if s.poor++; s.poor < patience {
		return
	}
	s.poor = patience - 1 // one more is enough from now on
	s.span = min(max(2*s.span, firstSpan), lastSpan)
	s.skip = s.span
}
