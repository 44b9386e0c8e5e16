package rpc

// Left is how many calls a client has that are not over, and how many sessions are being opened or closed.
func (c *Client) Left() int { return c.ch.left() }

// Left is that of a group.
func (g *Group) Left() int { return g.ch.left() }

func (ch *channel) left() (n int) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if ch.opening != nil {
		n++
	}
	if ch.link != nil {
		n += len(ch.link.pending())
	}
	return n
}

// Left is how many calls a server serves.
func (s *Server) Left() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.calls
	for l := range s.sessions {
		l.mu.Lock()
		n += len(l.calls)
		l.mu.Unlock()
	}
	return n
}
