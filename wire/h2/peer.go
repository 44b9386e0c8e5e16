package h2

// PeerWindow is the peer's SETTINGS_INITIAL_WINDOW_SIZE in bytes: how much a stream of a peer that has read everything
// takes at least, once its WINDOW_UPDATEs have come.
func (c *Conn) PeerWindow() int { return int(c.peerWindow) }

// Greeted reports whether the peer has sent its first SETTINGS, which come before all else (RFC 9113 section 3.4).
func (c *Conn) Greeted() bool { return c.settingsSeen }
