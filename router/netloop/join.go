package netloop

import "net"

// Join makes a connected socket one of the loop that has the fewest: Enrol on it. handler makes its handler.
func (e *Engine) Join(c net.Conn, handler func(*Loop) Handler) error {
	l := e.leastLoaded()
	return l.Enrol(c, handler(l))
}
